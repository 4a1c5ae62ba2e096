//! Who did something.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a person or token may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Starts runs and deploys.
    Developer,
    /// Approves and rejects gates.
    Approver,
    /// Promotes, aborts, rolls back, silences, lifts quarantines.
    Operator,
    /// Makes tokens and changes settings.
    Admin,
}

impl Role {
    /// All roles, least first.
    pub const ALL: [Role; 5] = [
        Role::Viewer,
        Role::Developer,
        Role::Approver,
        Role::Operator,
        Role::Admin,
    ];

    /// The role's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Developer => "developer",
            Role::Approver => "approver",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no role: use viewer, developer, approver, operator or admin"))
    }
}

/// Who caused an event: a person, a token by its name, or Trimtab itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(pub String);

impl Actor {
    /// Trimtab acting by itself.
    pub fn trimtab() -> Self {
        Actor("trimtab".to_owned())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
