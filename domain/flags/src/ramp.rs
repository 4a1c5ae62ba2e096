//! A flag that is rolled out: a share of users gets the new variant, and as many without it are the
//! control.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trimtab_model::Weight;

/// Buckets of a ramp: hundredths of a per cent. Always the same number, so that a larger share keeps
/// everybody who was in the smaller one.
const BUCKETS: u16 = 10_000;

/// Why a flag cannot be rolled out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RampError {
    /// The document has no such flag.
    #[error("failed to find the flag {0:?}; add it with `trimtab flags set` first")]
    NoFlag(String),
    /// The flag has no such variant.
    #[error("failed to roll out the variant {variant:?} of {flag:?}: it has no such variant")]
    NoVariant {
        /// The flag.
        flag: String,
        /// The variant.
        variant: String,
    },
}

/// A share of users with the new variant on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// The new variant.
    pub on: String,
    /// The old one.
    pub off: String,
    /// How many of the users get the new one.
    pub share: Weight,
    /// The property of the context that users are told apart by; the targeting key when absent.
    #[serde(default)]
    pub by: Option<String>,
}

impl Ramp {
    /// As targeting that any evaluator of flagd's JSON understands.
    pub fn targeting(&self) -> Value {
        let on = self.share.basis_points();
        let parts = [json!([self.on, on]), json!([self.off, BUCKETS - on])];
        let mut arguments = Vec::with_capacity(3);
        if let Some(by) = &self.by {
            arguments.push(json!({"cat": [{"var": "$flagd.flagKey"}, {"var": by}]}));
        }
        arguments.extend(parts);
        json!({ "fractional": arguments })
    }

    /// The ramp that targeting is, if it is one.
    pub fn read(targeting: &Value) -> Option<Ramp> {
        let arguments = targeting.get("fractional")?.as_array()?;
        let (by, on, off) = match arguments.as_slice() {
            [on, off] => (None, on, off),
            [by, on, off] => (Some(by.pointer("/cat/1/var")?.as_str()?.to_owned()), on, off),
            _ => return None,
        };
        let share = u16::try_from(on.get(1)?.as_u64()?).ok()?;
        let ramp = Ramp {
            on: on.get(0)?.as_str()?.to_owned(),
            off: off.get(0)?.as_str()?.to_owned(),
            share: Weight::from_basis_points(share).ok()?,
            by,
        };
        (ramp.targeting() == *targeting).then_some(ramp)
    }

    /// The flag's definition with this ramp as its whole targeting, and switched on.
    pub fn apply(&self, document: &Value, key: &str) -> Result<Value, RampError> {
        let flag = document.get("flags").and_then(|flags| flags.get(key));
        let Some(Value::Object(flag)) = flag else {
            return Err(RampError::NoFlag(key.to_owned()));
        };
        for variant in [&self.on, &self.off] {
            if flag.get("variants").and_then(|all| all.get(variant)).is_none() {
                return Err(RampError::NoVariant {
                    flag: key.to_owned(),
                    variant: variant.clone(),
                });
            }
        }
        let mut flag = flag.clone();
        flag.insert("state".to_owned(), json!("ENABLED"));
        flag.insert("targeting".to_owned(), self.targeting());
        Ok(Value::Object(flag))
    }
}
