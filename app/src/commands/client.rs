//! The API over HTTP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trimtab_api::{Fault, FaultCode};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream that people follow has no end of its own.
const STREAM_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest line of a stream of events.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why the server gave no answer, or a fault for one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nothing answers there.
    #[error(
        "failed to reach a server at {base}: {reason}\n  \
         start one with `trimtab serve`, or set TRIMTAB_URL to where it answers"
    )]
    Unreachable {
        /// Where it was looked for.
        base: String,
        /// What the network said.
        reason: String,
    },
    /// The server says no.
    #[error("{}{}", .0.message, if .0.mend.is_empty() { String::new() } else { format!("\n  {}", .0.mend) })]
    Refused(Fault),
    /// Something answers, and it is not Trimtab.
    #[error("failed to understand {base}: {what}\n  set TRIMTAB_URL to where `trimtab serve` answers")]
    Foreign {
        /// Where.
        base: String,
        /// What came.
        what: String,
    },
}

impl CallError {
    /// The program's exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            CallError::Unreachable { .. } | CallError::Foreign { .. } => 3,
            CallError::Refused(fault) => match fault.code {
                FaultCode::Unauthenticated | FaultCode::Forbidden => 4,
                FaultCode::NotFound => 5,
                FaultCode::Conflict => 6,
                _ => 1,
            },
        }
    }
}

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
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .context("failed to make an HTTP client")?;
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") {
            base.to_owned()
        } else {
            format!("http://{base}")
        };
        Ok(Client { base, token, http })
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

    /// Server-sent events at a path, as they come.
    ///
    /// # Errors
    /// As `get`.
    pub(crate) async fn events(&self, path: &str) -> Result<Events> {
        let request = self.http.get(self.address(path)).timeout(STREAM_TIMEOUT);
        let answer = self.ask(request).await?;
        Ok(Events {
            answer,
            bytes: Vec::new(),
        })
    }

    /// Where the server answers.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let answer = self.ask(request).await?;
        let bytes = answer.bytes().await.context("failed to read the answer")?;
        serde_json::from_slice(&bytes).map_err(|_| self.foreign("the answer is not JSON"))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.map_err(|error| CallError::Unreachable {
            base: self.base.clone(),
            reason: root_cause(&error),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = answer.bytes().await.unwrap_or_default();
        let fault = serde_json::from_slice::<Fault>(&bytes)
            .map_err(|_| self.foreign(&format!("it answered {status} without a reason")))?;
        Err(CallError::Refused(self.mended(fault)).into())
    }

    fn foreign(&self, what: &str) -> anyhow::Error {
        let what = what.to_owned();
        let base = self.base.clone();
        CallError::Foreign { base, what }.into()
    }

    /// The server cannot know how its caller finds a token.
    fn mended(&self, mut fault: Fault) -> Fault {
        if fault.code == FaultCode::Unauthenticated {
            fault.mend = match self.token {
                None => "set TRIMTAB_TOKEN, or TRIMTAB_DATA to the server's data folder on this machine",
                Some(_) => {
                    "ask an admin for a new one (`trimtab token create NAME --role ROLE`) and set TRIMTAB_TOKEN"
                }
            }
            .to_owned();
        }
        fault
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A stream of server-sent events.
pub(crate) struct Events {
    answer: reqwest::Response,
    bytes: Vec<u8>,
}

impl Events {
    /// The data of the next event; none when the server ended the stream.
    ///
    /// # Errors
    /// When the connection breaks, or a line is longer than anything the server sends.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                // Names of events and keep-alives are of no interest here.
                if let Some(data) = line.strip_prefix(b"data:") {
                    return Ok(Some(serde_json::from_slice(data)?));
                }
            }
            if self.bytes.len() > LINE_BYTES_MAX {
                anyhow::bail!("failed to follow the stream: a line is longer than {LINE_BYTES_MAX} bytes");
            }
            match self.answer.chunk().await.context("failed to follow the stream")? {
                Some(chunk) => self.bytes.extend_from_slice(&chunk),
                None => return Ok(None),
            }
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
