//! The labels and attributes that say where a row comes from, written over what the sender claims.

use trimtab_model::Identity;

use crate::{Attributes, Labels, Sample};

/// The labels that only Trimtab writes. A label of that name from the sender gets `exported_` before
/// its name, as Prometheus does when it scrapes.
pub const IDENTITY_LABELS: [&str; 5] = ["service", "environment", "release", "instance", "cohort"];

/// Renames the sender's labels that would pass for ours, and adds ours.
pub(crate) fn stamp(labels: &mut Vec<(String, String)>, identity: &Identity) {
    for (name, _) in labels.iter_mut() {
        if IDENTITY_LABELS.contains(&name.as_str()) {
            name.insert_str(0, "exported_");
        }
    }
    let known = [
        identity.service.as_ref().map(|n| n.as_str()),
        identity.environment.as_ref().map(|n| n.as_str()),
        identity.release.as_ref().map(|n| n.as_str()),
        identity.instance.as_ref().map(|n| n.as_str()),
        identity.cohort.map(|arm| arm.as_str()),
    ];
    for (name, value) in IDENTITY_LABELS.into_iter().zip(known) {
        labels.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
}

/// A sample of one of Trimtab's own series about something with an identity.
pub fn stamped_sample(
    metric: &str,
    labels: &[(&str, &str)],
    identity: &Identity,
    at_ms: i64,
    value: f64,
) -> Sample {
    let mut pairs: Vec<(String, String)> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    stamp(&mut pairs, identity);
    pairs.push((crate::METRIC_NAME.to_owned(), metric.to_owned()));
    Sample {
        labels: Labels::from_pairs(pairs),
        at_ms,
        value,
    }
}

/// An identity as attributes by OpenTelemetry's semantic conventions: the release is the service's
/// version; what has no convention begins with `trimtab.`.
pub fn identity_attributes(identity: &Identity) -> Attributes {
    let known = [
        ("service.name", identity.service.as_ref().map(|n| n.as_str())),
        ("service.version", identity.release.as_ref().map(|n| n.as_str())),
        (
            "service.instance.id",
            identity.instance.as_ref().map(|n| n.as_str()),
        ),
        (
            "deployment.environment.name",
            identity.environment.as_ref().map(|n| n.as_str()),
        ),
        ("trimtab.rollout", identity.rollout.as_ref().map(|n| n.as_str())),
        ("trimtab.cohort", identity.cohort.map(|arm| arm.as_str())),
    ];
    known
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text?.into())))
        .collect()
}
