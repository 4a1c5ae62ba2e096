//! What every failed request answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of failure it was; decides the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The request makes no sense (400).
    Invalid,
    /// No valid token or session (401).
    Unauthenticated,
    /// The role does not allow it, or a check against forged requests failed (403).
    Forbidden,
    /// There is no such thing (404).
    NotFound,
    /// The path exists, but not for this method (405).
    WrongMethod,
    /// The thing is not in a state that allows it (409).
    Conflict,
    /// The body or query is larger than its limit (413).
    TooLarge,
    /// Too many requests for now (429).
    TooMany,
    /// Something Trimtab depends on does not answer (503).
    Unavailable,
    /// A fault of Trimtab's own (500).
    Internal,
}

impl FaultCode {
    /// The HTTP status code that goes with it.
    pub fn status(self) -> u16 {
        match self {
            FaultCode::Invalid => 400,
            FaultCode::Unauthenticated => 401,
            FaultCode::Forbidden => 403,
            FaultCode::NotFound => 404,
            FaultCode::WrongMethod => 405,
            FaultCode::Conflict => 409,
            FaultCode::TooLarge => 413,
            FaultCode::TooMany => 429,
            FaultCode::Internal => 500,
            FaultCode::Unavailable => 503,
        }
    }
}

/// A failure as it travels: what went wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}{}", if mend.is_empty() { String::new() } else { format!(" ({mend})") })]
pub struct Fault {
    /// The kind of failure.
    pub code: FaultCode,
    /// What went wrong, finishing the sentence "failed to …" where it can.
    pub message: String,
    /// What to do about it; empty when nothing helps.
    #[serde(default)]
    pub mend: String,
}

impl Fault {
    /// A failure of kind `code`.
    pub fn new(code: FaultCode, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Fault {
            code,
            message: message.into(),
            mend: mend.into(),
        }
    }

    /// There is no `what` called `id`.
    pub fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Fault::new(
            FaultCode::NotFound,
            format!("failed to find {what} {id:?}"),
            format!("list what exists: each {what} has its id in its list"),
        )
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Fault::new(FaultCode::Invalid, message, mend)
    }

    /// The thing is not in a state that allows it.
    pub fn conflict(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Fault::new(FaultCode::Conflict, message, mend)
    }

    /// A fault of Trimtab's own.
    pub fn internal(message: impl Into<String>) -> Self {
        Fault::new(
            FaultCode::Internal,
            message,
            "look at the server's log, or run `trimtab doctor`",
        )
    }
}
