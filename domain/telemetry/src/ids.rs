//! Ids of traces and spans.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text or bytes cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id of {expected} bytes is {digits} hex digits, not all zero", digits = expected * 2)]
pub struct IdError {
    expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// From raw bytes; all zero is not an id.
            pub fn new(bytes: [u8; $bytes]) -> Result<Self, IdError> {
                if bytes == [0; $bytes] {
                    Err(IdError { expected: $bytes })
                } else {
                    Ok(Self(bytes))
                }
            }

            /// From raw bytes of any length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                <[u8; $bytes]>::try_from(bytes)
                    .map_err(|_| IdError { expected: $bytes })
                    .and_then(Self::new)
            }

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError { expected: $bytes })?;
                Self::new(bytes)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// The id of a trace: 16 bytes, shown as 32 lower-case hex digits.
    TraceId,
    16
);
id!(
    /// The id of a span: 8 bytes, shown as 16 lower-case hex digits.
    SpanId,
    8
);
