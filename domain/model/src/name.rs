//! Names that people choose and ids that Trimtab gives.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a name: use 1 to 63 lower-case letters, digits, '-', '_' or '.', beginning with a letter or digit"
)]
pub struct NameError {
    /// The text as given, cut to 80 characters.
    pub text: String,
}

/// Longest name or id in bytes; names become file names, labels and parts of host names.
const NAME_BYTES_MAX: usize = 63;

fn check(text: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let begins = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && text.len() <= NAME_BYTES_MAX && text.chars().all(allowed) {
        Ok(())
    } else {
        Err(NameError {
            text: text.chars().take(80).collect(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a text that follows the rules of names: 1 to 63 of `[a-z0-9._-]`, beginning with
            /// a letter or a digit.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A service as its team calls it, for example `blocks`.
    ServiceName
);
name!(
    /// A place that releases run in, for example `staging` or `production`.
    EnvironmentName
);
name!(
    /// A release: `<service>-r<number>`, for example `blocks-r2`.
    ReleaseId
);
name!(
    /// A pipeline run: `run-<number>`.
    RunId
);
name!(
    /// A rollout: `rollout-<number>`.
    RolloutId
);
name!(
    /// An incident: `incident-<number>`.
    IncidentId
);
name!(
    /// One running copy of a release: `<release>-<environment>-<number>`.
    InstanceId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for good in ["blocks", "blocks-r2", "0ad", "a.b_c-d"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "Blocks", "a b", "../etc", "ü", &"x".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deserializing_checks_too() {
        assert!(serde_json::from_str::<ReleaseId>("\"blocks-r2\"").is_ok());
        assert!(serde_json::from_str::<ReleaseId>("\"../../x\"").is_err());
    }
}
