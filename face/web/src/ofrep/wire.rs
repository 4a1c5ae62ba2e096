//! Answers as the protocol writes them.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use trimtab_flags::{Answer, ErrorCode, Failure, Served};

use super::answered;

/// The answer for one flag.
pub(super) fn single(answer: &Answer) -> Response {
    match &answer.outcome {
        Ok(served) => answered(StatusCode::OK, &success(answer, served)),
        Err(failure) => failed(Some(&answer.key), failure),
    }
}

/// One flag among all.
pub(super) fn in_bulk(answer: &Answer) -> Value {
    match &answer.outcome {
        Ok(served) => success(answer, served),
        Err(failure) => failure_body(Some(&answer.key), failure),
    }
}

/// A failure of one flag, or of the whole request.
pub(super) fn failed(key: Option<&str>, failure: &Failure) -> Response {
    let status = match failure.code {
        ErrorCode::FlagNotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    };
    answered(status, &failure_body(key, failure))
}

fn failure_body(key: Option<&str>, failure: &Failure) -> Value {
    let mut body = json!({
        "errorCode": failure.code.as_str(),
        "errorDetails": failure.details,
    });
    if let Some(key) = key {
        body["key"] = json!(key);
    }
    body
}

fn success(answer: &Answer, served: &Served) -> Value {
    let mut metadata: Map<String, Value> = answer.metadata.clone();
    if let Some(cohort) = served.cohort {
        metadata.insert("cohort".to_owned(), json!(cohort.as_str()));
    }
    let mut body = json!({
        "key": answer.key,
        "reason": served.reason.as_str(),
        // Empty rather than left out when the code's own default applies: the official provider for
        // Python fails without the field.
        "variant": served.variant.as_deref().unwrap_or_default(),
        "metadata": metadata,
    });
    if let Some(value) = &served.value {
        body["value"] = value.clone();
    }
    body
}

/// An entity tag over these parts, each told from the next.
pub(super) fn tag(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("\"{}\"", hex::encode(&hash.finalize()[..16]))
}

/// Whether a client that sends this has the tagged answer already.
pub(super) fn matches(sent: Option<&HeaderValue>, tag: &str) -> bool {
    let Some(sent) = sent.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    sent.split(',')
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == tag || one == "*")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use trimtab_flags::Reason;

    fn answer(value: Option<Value>, reason: Reason) -> Answer {
        Answer {
            key: "f".to_owned(),
            outcome: Ok(Served {
                variant: value.as_ref().map(|_| "on".to_owned()),
                value,
                reason,
                cohort: None,
            }),
            metadata: Map::new(),
        }
    }

    #[test]
    fn a_disabled_flag_has_a_reason_and_no_value() {
        let body = in_bulk(&answer(None, Reason::Disabled));
        assert_eq!(body["reason"], "DISABLED");
        assert!(body.get("value").is_none());
        assert_eq!(single(&answer(None, Reason::Disabled)).status(), 200);
    }

    #[test]
    fn tags_differ_when_a_part_moves_to_the_next() {
        assert_ne!(tag(&[b"ab", b"c"]), tag(&[b"a", b"bc"]));
        let mine = tag(&[b"x"]);
        let sent = |text: String| HeaderValue::from_str(&text).unwrap();
        assert!(matches(Some(&sent(format!("\"other\", W/{mine}"))), &mine));
        assert!(!matches(Some(&sent("\"other\"".to_owned())), &mine));
        assert!(!matches(None, &mine));
    }
}
