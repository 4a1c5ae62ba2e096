//! What all three signals share: attributes within limits, and the sender's identity over its claims.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use trimtab_model::Identity;

use super::{AHEAD_MS_MAX, ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, NAME_BYTES_MAX};
use crate::{ATTRIBUTE_DEPTH_MAX, AttributeValue, Attributes, identity_attributes};

/// Cuts a text to at most `bytes_max` bytes between characters.
pub(crate) fn cut(text: &mut String, bytes_max: usize, cuts: &mut u64) {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.shrink_to_fit();
        *cuts += 1;
    }
}

pub(super) fn name(mut text: String, cuts: &mut u64) -> String {
    cut(&mut text, NAME_BYTES_MAX, cuts);
    text
}

pub(super) fn attributes(pairs: Vec<KeyValue>, cuts: &mut u64) -> Attributes {
    nested(pairs, 0, cuts)
}

pub(super) fn value(any: AnyValue, cuts: &mut u64) -> AttributeValue {
    value_at(any, 0, cuts)
}

fn nested(pairs: Vec<KeyValue>, depth: usize, cuts: &mut u64) -> Attributes {
    let mut attributes = Attributes::new();
    for pair in pairs {
        let value = pair
            .value
            .map_or(AttributeValue::Empty, |any| value_at(any, depth, cuts));
        let key = name(pair.key, cuts);
        if key.is_empty() || (attributes.len() == ATTRIBUTES_MAX && !attributes.contains_key(&key)) {
            *cuts += 1;
        } else {
            attributes.insert(key, value);
        }
    }
    attributes
}

fn value_at(any: AnyValue, depth: usize, cuts: &mut u64) -> AttributeValue {
    match any.value {
        Some(Value::ArrayValue(_) | Value::KvlistValue(_)) if depth == ATTRIBUTE_DEPTH_MAX => {
            *cuts += 1;
            AttributeValue::Empty
        }
        None | Some(Value::StringValueStrindex(_)) => AttributeValue::Empty,
        Some(Value::StringValue(mut text)) => {
            cut(&mut text, ATTRIBUTE_BYTES_MAX, cuts);
            AttributeValue::Text(text)
        }
        Some(Value::BoolValue(value)) => AttributeValue::Bool(value),
        Some(Value::IntValue(value)) => AttributeValue::Int(value),
        Some(Value::DoubleValue(value)) => AttributeValue::Double(value),
        Some(Value::BytesValue(mut bytes)) => {
            if bytes.len() > ATTRIBUTE_BYTES_MAX {
                bytes.truncate(ATTRIBUTE_BYTES_MAX);
                *cuts += 1;
            }
            AttributeValue::Bytes(bytes)
        }
        Some(Value::ArrayValue(list)) => {
            let dropped = list.values.len().saturating_sub(ATTRIBUTES_MAX);
            *cuts += dropped as u64;
            let kept = list.values.into_iter().take(ATTRIBUTES_MAX);
            AttributeValue::List(kept.map(|item| value_at(item, depth + 1, cuts)).collect())
        }
        Some(Value::KvlistValue(list)) => AttributeValue::Map(nested(list.values, depth + 1, cuts)),
    }
}

/// The sender's attributes with what Trimtab knows written over what it claims. Of a sender whose
/// service is known, no claim about version, environment or instance stays either.
pub(super) fn resource(resource: Option<Resource>, identity: &Identity, cuts: &mut u64) -> Arc<Attributes> {
    let mut stamped = attributes(resource.map(|r| r.attributes).unwrap_or_default(), cuts);
    stamped.retain(|name, _| !name.starts_with("trimtab."));
    if identity.service.is_some() {
        for claim in [
            "service.name",
            "service.namespace",
            "service.version",
            "service.instance.id",
            "deployment.environment.name",
            "deployment.environment",
        ] {
            stamped.remove(claim);
        }
    }
    stamped.extend(identity_attributes(identity));
    Arc::new(stamped)
}

pub(super) fn scope(scope: Option<InstrumentationScope>, cuts: &mut u64) -> String {
    name(scope.map(|scope| scope.name).unwrap_or_default(), cuts)
}

/// Whether a time lies too far ahead of the receiver's clock.
pub(super) fn ahead(nanos: u64, received_nanos: u64) -> bool {
    nanos > received_nanos.saturating_add(AHEAD_MS_MAX * 1_000_000)
}
