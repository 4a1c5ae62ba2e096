//! Reads how a flag is rolled out with a release.

use schemars::JsonSchema;
use serde::Serialize;

use super::Step;
use super::route::header;
use super::strategy::{STEP_WATCH, plain, steps};
use crate::Percent;
use crate::read::Value;

/// Longest name of a flag, of a variant, or of a property.
const NAME_CHARS_MAX: usize = 200;

/// The flag that a release is rolled out behind.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FlagRollout {
    /// The flag's key; made as a flag with the variants `on` and `off` when there is none.
    pub key: String,
    /// The variant that is rolled out.
    pub on: String,
    /// The variant of everyone else.
    pub off: String,
    /// The property that users are told apart by; the targeting key when left out.
    pub by: Option<String>,
    /// The header of users' requests that names them as flags are asked for: what the proxy sees of their
    /// requests is compared, instead of the service's own spans.
    pub user_header: Option<String>,
    /// The steps; `weight` is the share of users who have the flag on. Everyone follows the last.
    pub steps: Vec<Step>,
}

/// `production.flag:`.
pub(super) fn flag(value: Value<'_>) -> Option<FlagRollout> {
    let fields = value.fields(&["key", "on", "off", "by", "user_header", "steps"])?;
    let key = fields.need("key", "the flag's key: 'key: new-search'", name);
    let flag = FlagRollout {
        key: key?,
        on: fields.maybe("on", name).unwrap_or_else(|| "on".to_owned()),
        off: fields.maybe("off", name).unwrap_or_else(|| "off".to_owned()),
        by: fields.maybe("by", name),
        user_header: fields.maybe("user_header", header),
        steps: fields
            .maybe("steps", |v| steps(v, STEP_WATCH))
            .unwrap_or_else(default_steps),
    };
    if flag.on == flag.off {
        fields.clash(
            "on",
            "both variants are the same",
            "name the variant that is new in 'on', and the old one in 'off'",
        );
    }
    Some(flag)
}

/// 10 %, then 50 %, then everyone (B.F2, B.F6, B.F7).
fn default_steps() -> Vec<Step> {
    [10, 50]
        .map(|percent| plain(Percent::constant(percent), STEP_WATCH))
        .into()
}

fn name(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control) {
        return Some(text);
    }
    let what = format!("a name of 1 to {NAME_CHARS_MAX} characters without line breaks is needed");
    sink.report(node.place, &path, what, "for example new-search");
    None
}
