//! What is written about the files: schemas, pages and examples say what the reader does.

use std::collections::BTreeSet;

use super::*;

/// Every property name in a schema, each once.
fn names(schema: &serde_json::Value, into: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(|p| p.as_object()) {
                into.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| names(value, into));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

fn schema_names() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    names(&json_schema(), &mut all);
    names(&server_json_schema(), &mut all);
    all
}

/// The keys of the two full files are the schemas' and nothing else, so neither can fall behind.
#[test]
fn schema_and_reader_know_the_same_fields() {
    let project = format!("{FULL}{FULL_CRON}");
    for (text, schema) in [
        (project.as_str(), json_schema()),
        (FULL_SERVER, server_json_schema()),
    ] {
        let mut known = BTreeSet::new();
        names(&schema, &mut known);
        for name in &known {
            assert!(
                text.contains(&format!("{name}:")),
                "{name} is in the schema and not in the full file"
            );
        }
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':') {
            let Some(key) = word.strip_suffix(':').filter(|key| !key.is_empty()) else {
                continue;
            };
            let is_field = !key.contains(':')
                && key
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '_' || c == '2');
            if is_field && key != "https" && key != "sha256" {
                assert!(known.contains(key), "{key} is read and not in the schema");
            }
        }
    }
}

#[test]
fn the_schema_is_strict_about_names_and_lax_about_defaults() {
    let schema = json_schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["required"],
        serde_json::json!(["service", "pipeline", "run"])
    );
    assert_eq!(schema["$defs"]["Command"]["anyOf"][0]["type"], "string");
    assert!(schema["$defs"]["Health"].get("required").is_none());
}

#[test]
fn every_field_is_documented() {
    let page = include_str!("../../../../docs/configuration.md");
    for name in schema_names() {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/configuration.md lacks `{name}`"
        );
    }
}

/// Every `yaml` block of the page parses as the file that its first line names.
#[test]
fn examples_in_the_documentation_parse() {
    let pages = [
        include_str!("../../../../docs/configuration.md"),
        include_str!("../../../../docs/strategies/overview.md"),
        include_str!("../../../../docs/strategies/blue-green.md"),
        include_str!("../../../../docs/strategies/canary.md"),
        include_str!("../../../../docs/strategies/rolling.md"),
        include_str!("../../../../docs/strategies/flags.md"),
        include_str!("../../../../docs/strategies/metrics.md"),
        include_str!("../../../../docs/strategies/together.md"),
        include_str!("../../../../docs/third-party.md"),
    ];
    let page = pages.join("\n");
    let mut seen = 0;
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if text.starts_with("# trimtab-server.yaml") {
            parse_server("docs", text).unwrap();
        } else {
            assert!(text.starts_with("# trimtab.yaml"), "say which file it is: {text}");
            parse("docs", text).unwrap();
        }
        seen += 1;
    }
    assert!(seen >= 8, "{seen} examples");
}

#[test]
fn the_examples_project_parses() {
    let text = include_str!("../../../../examples/blocks/trimtab.yaml");
    let project = parse("trimtab.yaml", text).unwrap();
    assert_eq!(project.business.len(), 5);
}

/// The schemas that editors read are these; written anew with TRIMTAB_WRITE_SCHEMAS=1.
#[test]
fn the_schemas_on_file_are_current() {
    let docs = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../docs");
    for (name, schema) in [
        ("trimtab.schema.json", json_schema()),
        ("trimtab-server.schema.json", server_json_schema()),
    ] {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("TRIMTAB_WRITE_SCHEMAS").is_some() {
            std::fs::write(docs.join(name), &text).unwrap();
        }
        let on_file = std::fs::read_to_string(docs.join(name)).unwrap();
        assert_eq!(on_file, text, "run this test once with TRIMTAB_WRITE_SCHEMAS=1");
    }
}
