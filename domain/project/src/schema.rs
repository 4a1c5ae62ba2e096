//! What editors are told of a file.

/// Makes a derived schema say what the reader does: every field with a default may be left out, no
/// unknown field may be there, and a command may be one line.
pub(crate) fn strict_schema(mut schema: serde_json::Value) -> serde_json::Value {
    const NEEDED: [&str; 26] = [
        "service", "pipeline", "run", "artifact", "paths", "command", "name", "query", "path", "cert", "key",
        "from", "to", "until", "day", "lasts", "weight", "webhook", "url", "secret", "smtp", "account",
        "token", "services", "http", "hosts",
    ];
    fn walk(node: &mut serde_json::Value, needed: &[&str]) {
        if let Some(object) = node.as_object_mut() {
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), false.into());
                let required: Vec<serde_json::Value> = object
                    .get("required")
                    .and_then(|required| required.as_array())
                    .into_iter()
                    .flatten()
                    .filter(|name| name.as_str().is_some_and(|name| needed.contains(&name)))
                    .cloned()
                    .collect();
                object.remove("required");
                if !required.is_empty() {
                    object.insert("required".to_owned(), required.into());
                }
            }
            object.values_mut().for_each(|value| walk(value, needed));
        } else if let Some(items) = node.as_array_mut() {
            items.iter_mut().for_each(|value| walk(value, needed));
        }
    }
    walk(&mut schema, &NEEDED);
    let definitions = schema.get_mut("$defs").and_then(|defs| defs.as_object_mut());
    if let Some(definitions) = definitions {
        if let Some(command) = definitions.get("Command").cloned() {
            let either = serde_json::json!({ "anyOf": [{ "type": "string" }, command] });
            definitions.insert("Command".to_owned(), either);
        }
        if let Some(step) = definitions.get("Step").cloned() {
            let share = serde_json::json!({ "$ref": "#/$defs/Percent" });
            let either = serde_json::json!({ "anyOf": [share, step] });
            definitions.insert("Step".to_owned(), either);
        }
        for health in ["Health", "Liveness", "Metrics", "Route"] {
            if let Some(object) = definitions.get_mut(health).and_then(|d| d.as_object_mut()) {
                object.remove("required");
            }
        }
        if let Some(words) = definitions
            .get_mut("Run")
            .and_then(|run| run.pointer_mut("/properties/command"))
        {
            let list = words.clone();
            *words = serde_json::json!({ "anyOf": [{ "type": "string" }, list] });
        }
    }
    schema
}
