//! The API over HTTP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trimtab_api::Fault;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks one server with one token.
#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// A client of the server at `base`; without a token, the administrator's file in the data folder is read.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(base: &str, token: Option<String>) -> Result<Client> {
        let data = std::env::var_os("TRIMTAB_DATA").map_or_else(|| PathBuf::from("data"), PathBuf::from);
        let token = token
            .filter(|token| !token.is_empty())
            .or_else(|| read_token(&data));
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .context("failed to make an HTTP client")?;
        Ok(Client {
            base: base.trim_end_matches('/').to_owned(),
            token,
            http,
        })
    }

    /// What is at a path.
    ///
    /// # Errors
    /// When the server does not answer, or answers with a fault.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.http.get(self.address(path))).await
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value> {
        self.send(self.http.post(self.address(path)).json(body)).await
    }

    /// Deletes what is at a path.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value> {
        self.send(self.http.delete(self.address(path))).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.with_context(|| {
            format!(
                "failed to reach {} (is `trimtab serve` running? set TRIMTAB_URL)",
                self.base
            )
        })?;
        let status = answer.status();
        let bytes = answer.bytes().await.context("failed to read the answer")?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .context("failed to read the answer: it is not JSON (does TRIMTAB_URL point to Trimtab?)");
        }
        let hint = match (status.as_u16(), &self.token) {
            (401, None) => " (set TRIMTAB_TOKEN, or TRIMTAB_DATA to the server's data folder)",
            _ => "",
        };
        match serde_json::from_slice::<Fault>(&bytes) {
            Ok(fault) => bail!("{fault}{hint}"),
            Err(_) => bail!("{} answered {status}{hint}", self.base),
        }
    }
}

/// The administrator's token of a data folder.
pub(crate) fn read_token(data: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data.join("keys/admin.token")).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

/// A path with a query of what is set.
pub(crate) fn with_query(path: &str, query: &impl Serialize) -> String {
    let mut address = path.to_owned();
    let fields = match serde_json::to_value(query) {
        Ok(Value::Object(fields)) => fields,
        _ => return address,
    };
    let mut separator = '?';
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        address.push(separator);
        address.push_str(&trimtab_api::routes::fill("{name}={value}", &[&name, &text]));
        separator = '&';
    }
    address
}

/// An answer as what it should be.
///
/// # Errors
/// When the server speaks of something else.
pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> Result<T> {
    T::deserialize(answer).context("failed to understand the answer (client and server differ in version)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_and_leave_out_what_is_not_set() {
        let query = serde_json::json!({"a": null, "q": "sum(x) & y", "limit": 3});
        assert_eq!(with_query("/p", &query), "/p?limit=3&q=sum%28x%29%20%26%20y");
    }
}
