//! Attributes as plain JSON, which other tools read, and beside it the exact form for the few that
//! plain JSON cannot hold (bytes, NaN and infinities).

use trimtab_telemetry::{AttributeValue, Attributes};

/// The plain form, and the exact one where it says more. None for no attributes.
pub(crate) fn write(attributes: &Attributes) -> (Option<String>, Option<String>) {
    if attributes.is_empty() {
        return (None, None);
    }
    let object: serde_json::Map<String, serde_json::Value> = attributes
        .iter()
        .map(|(name, value)| (name.clone(), value.to_json()))
        .collect();
    let plain = serde_json::Value::Object(object).to_string();
    let exact = if attributes.values().all(is_plain) {
        None
    } else {
        serde_json::to_string(attributes).ok()
    };
    (Some(plain), exact)
}

/// What [`write`] wrote.
pub(crate) fn read(plain: Option<&str>, exact: Option<&str>) -> Result<Attributes, String> {
    if let Some(exact) = exact {
        return serde_json::from_str(exact).map_err(|error| error.to_string());
    }
    let Some(plain) = plain else {
        return Ok(Attributes::new());
    };
    match serde_json::from_str(plain).map_err(|error| error.to_string())? {
        serde_json::Value::Object(object) => Ok(object
            .into_iter()
            .map(|(name, value)| (name, from_json(value)))
            .collect()),
        _ => Err("attributes are no JSON object".to_owned()),
    }
}

fn is_plain(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::Empty
        | AttributeValue::Text(_)
        | AttributeValue::Bool(_)
        | AttributeValue::Int(_) => true,
        AttributeValue::Double(value) => value.is_finite(),
        AttributeValue::Bytes(_) => false,
        AttributeValue::List(list) => list.iter().all(is_plain),
        AttributeValue::Map(map) => map.values().all(is_plain),
    }
}

fn from_json(value: serde_json::Value) -> AttributeValue {
    match value {
        serde_json::Value::Null => AttributeValue::Empty,
        serde_json::Value::Bool(value) => AttributeValue::Bool(value),
        serde_json::Value::Number(number) => number.as_i64().map_or_else(
            || AttributeValue::Double(number.as_f64().unwrap_or(f64::NAN)),
            AttributeValue::Int,
        ),
        serde_json::Value::String(text) => AttributeValue::Text(text),
        serde_json::Value::Array(list) => AttributeValue::List(list.into_iter().map(from_json).collect()),
        serde_json::Value::Object(map) => AttributeValue::Map(
            map.into_iter()
                .map(|(name, value)| (name, from_json(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = AttributeValue> {
        let leaf = prop_oneof![
            Just(AttributeValue::Empty),
            any::<String>().prop_map(AttributeValue::Text),
            any::<bool>().prop_map(AttributeValue::Bool),
            any::<i64>().prop_map(AttributeValue::Int),
            any::<f64>()
                .prop_filter("a NaN is not equal to itself", |value| !value.is_nan())
                .prop_map(AttributeValue::Double),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(AttributeValue::Bytes),
        ];
        leaf.prop_recursive(2, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::List),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(AttributeValue::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_attribute_comes_back(attributes in prop::collection::btree_map("[a-z.]{1,9}", value(), 0..5)) {
            let (plain, exact) = write(&attributes);
            prop_assert_eq!(read(plain.as_deref(), exact.as_deref()).unwrap(), attributes);
        }
    }

    #[test]
    fn the_plain_form_is_what_people_write() {
        let attributes = Attributes::from([
            ("code".to_owned(), 200.into()),
            ("share".to_owned(), 0.5.into()),
            ("path".to_owned(), "/blocks".into()),
        ]);
        assert_eq!(
            write(&attributes),
            (
                Some(r#"{"code":200,"path":"/blocks","share":0.5}"#.to_owned()),
                None
            )
        );
    }
}
