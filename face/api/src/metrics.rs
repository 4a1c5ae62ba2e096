//! Metrics by PromQL, in the shapes of Prometheus' HTTP API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET|POST /api/v1/query`. Times are seconds since the epoch or RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InstantQuery {
    /// PromQL.
    pub query: String,
    /// At which time; now when absent.
    pub time: Option<String>,
}

/// `GET|POST /api/v1/query_range`. Times are seconds since the epoch or RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RangeQuery {
    /// PromQL.
    pub query: String,
    /// From when.
    pub start: String,
    /// Until when.
    pub end: String,
    /// Step: seconds or a duration such as `15s`.
    pub step: String,
}

/// One series at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VectorSample {
    /// Its labels.
    pub metric: BTreeMap<String, String>,
    /// Seconds since the epoch and the value as text (`"NaN"`, `"+Inf"` occur).
    pub value: (f64, String),
}

/// One series over a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixSeries {
    /// Its labels.
    pub metric: BTreeMap<String, String>,
    /// Seconds since the epoch and the value as text.
    pub values: Vec<(f64, String)>,
}

/// Result by its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum QueryResult {
    /// Many series, one time.
    Vector(Vec<VectorSample>),
    /// Many series over a time.
    Matrix(Vec<MatrixSeries>),
    /// A number.
    Scalar((f64, String)),
    /// A text.
    String((f64, String)),
}

/// What the `data` of an answer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum QueryData {
    /// Of a query.
    Result(QueryResult),
    /// Of label names or values.
    Names(Vec<String>),
}

/// The envelope that Prometheus' clients expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusAnswer {
    /// `success` or `error`.
    pub status: String,
    /// The result, on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<QueryData>,
    /// Kind of error, for example `bad_data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
