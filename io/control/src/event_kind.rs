//! What an event is called in the journal.

/// `traffic_shifted` for an event encoded as `{"TrafficShifted": …}`, `"TrafficShifted"` or with a
/// `kind` or `type` field of that value.
pub(crate) fn event_name(body: &serde_json::Value) -> String {
    let tag = match body {
        serde_json::Value::String(tag) => Some(tag.as_str()),
        serde_json::Value::Object(fields) => ["kind", "type", "event"]
            .iter()
            .find_map(|name| fields.get(*name))
            .and_then(tag_of)
            .or_else(|| fields.keys().next().map(String::as_str)),
        _ => None,
    };
    snake_case(tag.unwrap_or("happened"))
}

fn tag_of(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::String(tag) => Some(tag),
        serde_json::Value::Object(fields) => fields.keys().next().map(String::as_str),
        _ => None,
    }
}

fn snake_case(text: &str) -> String {
    let mut snake = String::with_capacity(text.len() + 4);
    for (place, c) in text.chars().enumerate() {
        if c.is_ascii_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_from_the_events_tag() {
        for (body, kind) in [
            (
                serde_json::json!({"TrafficShifted": {"at": 1}}),
                "traffic_shifted",
            ),
            (serde_json::json!("Started"), "started"),
            (
                serde_json::json!({"at": 3, "kind": {"JobFinished": {}}}),
                "job_finished",
            ),
            (serde_json::json!({"at": 3, "kind": "paused"}), "paused"),
        ] {
            assert_eq!(event_name(&body), kind);
        }
    }
}
