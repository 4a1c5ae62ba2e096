//! Who may talk to the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trimtab_model::Role;

use crate::Moment;

/// Whoever a request comes from, once it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Principal {
    /// The name that goes into the audit log, for example `qa`.
    pub name: String,
    /// What it may do.
    #[schemars(with = "String")]
    pub role: Role,
    /// The token's id; none for the one-time admin link.
    pub token: Option<String>,
}

/// A token as lists show it: never its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its id; revoke by it.
    pub id: String,
    /// Whom it stands for, for example `qa`.
    pub name: String,
    /// What it may do.
    #[schemars(with = "String")]
    pub role: Role,
    /// When it was made.
    pub created_at: Moment,
    /// Who made it.
    pub created_by: String,
    /// When it ends; never when absent.
    pub expires_at: Option<Moment>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Moment>,
}

/// Body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// Whom it stands for.
    pub name: String,
    /// What it may do.
    #[schemars(with = "String")]
    pub role: Role,
    /// How many days it lives; for ever when absent.
    #[serde(default)]
    pub days: Option<u32>,
}

/// Answer of a token's making: the only time its secret is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCreated {
    /// The token.
    pub token: Token,
    /// The secret to send as `Authorization: Bearer …`.
    pub secret: String,
}

/// `GET /api/v1/whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// The caller.
    pub principal: Principal,
    /// The server's version.
    pub version: String,
}
