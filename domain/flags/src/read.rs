//! Reads a flag set, and tells every mistake in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::bucketing::Bucketing;
use crate::compile::Compiler;
use crate::flag::{Flag, FlagSet, FlagState};
use crate::logic::Rule;
use crate::problem::{Problem, Problems, meant, quoted};
use crate::{DOCUMENT_BYTES_MAX, FLAGS_MAX, KEY_BYTES_MAX, VARIANTS_MAX};

const SECTIONS: [&str; 4] = ["$schema", "flags", "$evaluators", "metadata"];
const FIELDS: [&str; 6] = [
    "state",
    "variants",
    "defaultVariant",
    "targeting",
    "metadata",
    "description",
];
/// The set's own metadata that says how users are drawn.
const BUCKETING: &str = "bucketing";

impl FlagSet {
    /// Reads a document; all of its mistakes come at once.
    pub fn parse(text: &str) -> Result<FlagSet, Vec<Problem>> {
        let mut problems = Problems::default();
        if text.len() > DOCUMENT_BYTES_MAX {
            problems.add(
                "",
                format!("the document has {} bytes", text.len()),
                format!("at most {DOCUMENT_BYTES_MAX} are taken: divide the flags among services"),
            );
            return Err(problems.finish());
        }
        match serde_json::from_str(text) {
            Ok(value) => FlagSet::from_value(&value),
            Err(error) => {
                problems.add(
                    "",
                    format!("it is no JSON: {error}"),
                    "mend the text at that line and column",
                );
                Err(problems.finish())
            }
        }
    }

    /// Reads a document that is JSON already.
    pub fn from_value(document: &Value) -> Result<FlagSet, Vec<Problem>> {
        let mut problems = Problems::default();
        let nothing = Map::new();
        let Some(top) = document.as_object() else {
            problems.add("", "the document is no object", "write {\"flags\": {…}}");
            return Err(problems.finish());
        };
        for name in top.keys().filter(|name| !SECTIONS.contains(&name.as_str())) {
            problems.add(
                name,
                "there is no such section",
                meant(name, SECTIONS.into_iter()),
            );
        }
        let evaluators = section(top, "$evaluators", &mut problems).unwrap_or(&nothing);
        let metadata = section(top, "metadata", &mut problems).unwrap_or(&nothing);
        let mut set = FlagSet {
            flags: BTreeMap::new(),
            bucketing: bucketing(metadata, &mut problems),
            metadata: read_metadata(metadata, "metadata", &mut problems),
        };
        set.metadata.remove(BUCKETING);
        let mut compiler = Compiler::new(evaluators);
        compiler.read_shared(&mut problems);
        if !top.contains_key("flags") {
            problems.add("flags", "it is missing", "add \"flags\": {}");
        }
        let flags = section(top, "flags", &mut problems).unwrap_or(&nothing);
        if flags.len() > FLAGS_MAX {
            problems.add(
                "flags",
                format!("there are {}", flags.len()),
                format!("at most {FLAGS_MAX} are taken"),
            );
        }
        for (key, value) in flags {
            problems.flag = Some(key.clone());
            if let Some(flag) = read_flag(key, value, &mut compiler, &mut problems) {
                set.flags.insert(key.clone(), flag);
            }
        }
        match problems.finish() {
            found if found.is_empty() => Ok(set),
            found => Err(found),
        }
    }
}

fn section<'d>(
    top: &'d Map<String, Value>,
    name: &str,
    problems: &mut Problems,
) -> Option<&'d Map<String, Value>> {
    let value = top.get(name)?;
    if value.as_object().is_none() {
        problems.add(name, "it is no object", "write {…}");
    }
    value.as_object()
}

fn bucketing(metadata: &Map<String, Value>, problems: &mut Problems) -> Bucketing {
    let Some(value) = metadata.get(BUCKETING) else {
        return Bucketing::default();
    };
    serde_json::from_value(value.clone()).unwrap_or_else(|_| {
        problems.add(
            "metadata.bucketing",
            format!("{value} is no way to draw users"),
            "use \"text\" or \"cbor\"; changing it moves users between variants",
        );
        Bucketing::default()
    })
}

fn read_metadata(metadata: &Map<String, Value>, path: &str, problems: &mut Problems) -> Map<String, Value> {
    for (name, value) in metadata {
        if !(value.is_string() || value.is_number() || value.is_boolean()) {
            problems.add(
                &format!("{path}.{name}"),
                "it is neither text, number nor boolean",
                "metadata is flat",
            );
        }
    }
    metadata.clone()
}

fn read_flag<'d>(
    key: &str,
    value: &'d Value,
    compiler: &mut Compiler<'d>,
    problems: &mut Problems,
) -> Option<Flag> {
    let path = format!("flags.{key}");
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) {
        problems.add(
            &path,
            format!("a key has 1 to {KEY_BYTES_MAX} bytes and no control characters"),
            "rename the flag",
        );
    }
    let Some(fields) = value.as_object() else {
        problems.add(&path, "a flag is an object", "write {\"state\": \"ENABLED\", …}");
        return None;
    };
    for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
        problems.add(
            &format!("{path}.{name}"),
            "a flag has no such field",
            meant(name, FIELDS.into_iter()),
        );
    }
    let state = read_state(fields, &path, problems);
    let variants = read_variants(fields, &path, problems);
    let default_variant = read_default(fields, &variants, &path, problems);
    let metadata = match fields.get("metadata").map(Value::as_object) {
        Some(Some(metadata)) => read_metadata(metadata, &format!("{path}.metadata"), problems),
        Some(None) => {
            problems.add(&format!("{path}.metadata"), "it is no object", "write {…}");
            Map::new()
        }
        None => Map::new(),
    };
    let path = format!("{path}.targeting");
    let targeting = match fields.get("targeting") {
        None | Some(Value::Null) => None,
        Some(Value::Object(empty)) if empty.is_empty() => None,
        Some(written) => {
            let rule = compiler.rule(written, &path, problems)?;
            check_outcomes(&rule, &variants, &path, problems);
            Some(rule)
        }
    };
    Some(Flag {
        state: state?,
        variants,
        default_variant,
        metadata,
        targeting,
    })
}

fn read_state(fields: &Map<String, Value>, path: &str, problems: &mut Problems) -> Option<FlagState> {
    let path = format!("{path}.state");
    match fields.get("state").map(|state| (state, state.as_str())) {
        Some((_, Some("ENABLED"))) => Some(FlagState::Enabled),
        Some((_, Some("DISABLED"))) => Some(FlagState::Disabled),
        Some((other, _)) => {
            problems.add(
                &path,
                format!("{other} is no state"),
                "use \"ENABLED\" or \"DISABLED\"",
            );
            None
        }
        None => {
            problems.add(&path, "it is missing", "add \"ENABLED\" or \"DISABLED\"");
            None
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn read_variants(
    fields: &Map<String, Value>,
    path: &str,
    problems: &mut Problems,
) -> BTreeMap<String, Value> {
    let path = format!("{path}.variants");
    let Some(variants) = fields.get("variants").and_then(Value::as_object) else {
        problems.add(
            &path,
            "it is missing or no object",
            "add {\"on\": true, \"off\": false}",
        );
        return BTreeMap::new();
    };
    if variants.is_empty() || variants.len() > VARIANTS_MAX {
        problems.add(
            &path,
            format!("there are {} variants", variants.len()),
            format!("give 1 to {VARIANTS_MAX}"),
        );
    }
    let mut first: Option<(&str, &'static str)> = None;
    for (name, value) in variants {
        let (of, place) = (kind(value), format!("{path}.{name}"));
        if name.is_empty() || name.len() > KEY_BYTES_MAX {
            problems.add(
                &place,
                format!("a variant's name has 1 to {KEY_BYTES_MAX} bytes"),
                "rename it",
            );
        }
        if matches!(value, Value::Null | Value::Array(_)) {
            problems.add(
                &place,
                format!("a {of} is no value of a flag"),
                "use a boolean, a text, a number or an object",
            );
            continue;
        }
        match first {
            Some((other, wanted)) if wanted != of => problems.add(
                &place,
                format!("it is of the kind {of}, and {other:?} of the kind {wanted}"),
                "all variants of a flag are of one kind",
            ),
            Some(_) => {}
            None => first = Some((name, of)),
        }
    }
    variants
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn read_default(
    fields: &Map<String, Value>,
    variants: &BTreeMap<String, Value>,
    path: &str,
    problems: &mut Problems,
) -> Option<String> {
    let path = format!("{path}.defaultVariant");
    match fields.get("defaultVariant") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if variants.contains_key(name) => Some(name.clone()),
        Some(other) => {
            let name = other.as_str().unwrap_or_default();
            problems.add(
                &path,
                format!("{other} is no variant"),
                meant(name, variants.keys().map(String::as_str)),
            );
            None
        }
    }
}

fn check_outcomes(rule: &Rule, variants: &BTreeMap<String, Value>, path: &str, problems: &mut Problems) {
    for outcome in rule.outcomes() {
        let name = match outcome {
            Value::Null => continue,
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        if !variants.contains_key(&name) {
            problems.add(
                path,
                format!("it may choose {}, which is no variant", quoted(&name)),
                meant(&name, variants.keys().map(String::as_str)),
            );
        }
    }
}
