//! Sends spans in batches, as OTLP/HTTP in JSON, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::Address;
use crate::telemetry::Finished;

/// Spans that wait; more are lost.
pub const QUEUE_MAX: usize = 4_096;
const BATCH_MAX: usize = 512;
const BATCH_PAUSE: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Exporter {
    address: Address,
    headers: Vec<(String, String)>,
    resource: Value,
}

impl Exporter {
    /// From the environment; none: nobody wants spans.
    pub fn from_environment() -> Option<Self> {
        let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT")
            .ok()
            .filter(|text| !text.is_empty())?;
        let headers = std::env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "blocks".to_owned());
        let mut resource = Map::from_iter([("service.name".to_owned(), name.into())]);
        let given = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        resource.extend(
            pairs(&given)
                .into_iter()
                .map(|(name, value)| (name, value.into())),
        );
        Some(Exporter {
            address: Address::parse(&endpoint).ok()?,
            headers: pairs(&headers),
            resource: attributes(&resource),
        })
    }

    pub async fn run(self, mut spans: mpsc::Receiver<Finished>) {
        let mut batch = Vec::new();
        while spans.recv_many(&mut batch, BATCH_MAX).await > 0 {
            // Wait a little for more, so that a request's spans travel together.
            tokio::time::sleep(BATCH_PAUSE).await;
            while batch.len() < BATCH_MAX
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            let body = self.body(&batch).to_string();
            batch.clear();
            let _ = tokio::time::timeout(TIMEOUT, self.post(&body)).await;
        }
    }

    fn body(&self, batch: &[Finished]) -> Value {
        let spans: Vec<Value> = batch.iter().map(span).collect();
        json!({"resourceSpans": [{
            "resource": {"attributes": self.resource},
            "scopeSpans": [{"scope": {"name": "blocks"}, "spans": spans}],
        }]})
    }

    async fn post(&self, body: &str) -> std::io::Result<()> {
        let Address { host, port, path } = &self.address;
        let mut head = format!(
            "POST {path}/v1/traces HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n",
            body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4_096).read_to_end(&mut answer).await?;
        Ok(())
    }
}

/// `name=value,…`, as OpenTelemetry writes headers and attributes: values are percent-encoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let clean = |text: &str| text.trim().replace(['\r', '\n'], "");
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (clean(name), clean(&crate::client::percent_decode(value))))
        .collect()
}

fn attributes(map: &Map<String, Value>) -> Value {
    let value = |value: &Value| match value {
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    map.iter()
        .map(|(name, one)| json!({"key": name, "value": value(one)}))
        .collect()
}

fn span(span: &Finished) -> Value {
    let nanos = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos()
            .to_string()
    };
    let mut json = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": if span.server { 2 } else { 1 },
        "startTimeUnixNano": nanos(span.start),
        "endTimeUnixNano": nanos(span.end),
        "attributes": attributes(&span.attributes),
        "status": {},
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        json["status"] = json!({"code": 2, "message": error});
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_decoded() {
        let expected = [
            ("authorization".to_owned(), "Bearer a b".to_owned()),
            ("x".to_owned(), "1".to_owned()),
        ];
        assert_eq!(pairs("authorization=Bearer%20a%20b, x=1"), expected);
    }
}
