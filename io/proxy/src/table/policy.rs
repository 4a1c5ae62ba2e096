//! What a route does besides sharing out its traffic. Everything is off unless it is asked for.

use serde::{Deserialize, Serialize};
use trimtab_model::ReleaseId;

/// More tester rules on a route than this are refused.
const TESTERS_MAX: usize = 100;

/// How a route treats its requests, besides the split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Requests that go to a release whatever the coin would say; the first rule that fits wins.
    pub testers: Vec<Tester>,
}

/// Sends requests with a header or a cookie of a certain value to a release. They are testers' and
/// in no cell.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tester {
    /// Where the value stands.
    pub by: TesterBy,
    /// The value, compared as a whole.
    pub value: String,
    /// The release that serves these requests, if the route has it; else the coin decides.
    pub release: ReleaseId,
}

/// Where a tester's mark stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TesterBy {
    /// In this header, its name in lower case.
    Header(String),
    /// In this cookie.
    Cookie(String),
}

impl std::fmt::Debug for Tester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever knows the value reaches the release.
        write!(
            f,
            "Tester {{ by: {:?}, value: …, release: {} }}",
            self.by, self.release
        )
    }
}

impl Policy {
    pub(super) fn problem(&self) -> Option<String> {
        if self.testers.len() > TESTERS_MAX {
            return Some(format!("more than {TESTERS_MAX} tester rules"));
        }
        self.testers.iter().find_map(|tester| {
            let (TesterBy::Header(name) | TesterBy::Cookie(name)) = &tester.by;
            let is_header = matches!(tester.by, TesterBy::Header(_));
            if tester.value.is_empty() {
                return Some(format!("the tester rule by {name} has no value"));
            }
            (!is_name(name, is_header)).then(|| format!("a tester rule's name {name:?} is malformed"))
        })
    }
}

/// A token of RFC 9110 §5.6.2; headers are compared in lower case.
pub(super) fn is_name(name: &str, lower: bool) -> bool {
    let allowed = |byte: u8| {
        (byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
            && !(lower && byte.is_ascii_uppercase())
    };
    !name.is_empty() && name.bytes().all(allowed)
}
