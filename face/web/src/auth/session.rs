//! Browser sessions: signed, so that they outlive a restart without being stored; looked up again on
//! each request, so that a revoked token ends them at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use trimtab_model::Timestamp;

use crate::TokenHash;

/// Ended sessions that are remembered until they would have expired.
const ENDED_MAX: usize = 10_000;
/// Longest cookie that is looked at.
const COOKIE_BYTES_MAX: usize = 1_024;

/// On whose behalf a session acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// Of a token, by its hash in hex.
    #[serde(rename = "t")]
    Token(String),
    /// Of whoever had the one-time admin link.
    #[serde(rename = "a")]
    AdminLink,
}

impl Subject {
    pub(crate) fn token(hash: TokenHash) -> Self {
        Subject::Token(hash.to_hex())
    }
}

/// What a session's cookie says once its signature holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "i")]
    pub(crate) id: String,
    #[serde(rename = "s")]
    pub(crate) subject: Subject,
    #[serde(rename = "e")]
    ends: Timestamp,
}

/// Makes, reads and ends sessions.
pub(crate) struct Sessions {
    key: [u8; 32],
    pub(crate) lifetime: Duration,
    ended: Mutex<HashMap<String, Timestamp>>,
}

impl Sessions {
    pub(crate) fn new(key: [u8; 32], lifetime: Duration) -> Self {
        Sessions {
            key,
            lifetime,
            ended: Mutex::default(),
        }
    }

    /// The cookie of a new session.
    pub(crate) fn begin(&self, subject: Subject, now: Timestamp) -> Result<String, getrandom::Error> {
        let session = Session {
            version: 1,
            id: crate::random_text()?,
            subject,
            ends: now.plus(self.lifetime),
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&session).unwrap_or_default());
        let signature = self.sign("session", &payload);
        Ok(format!("{payload}.{signature}"))
    }

    /// The session that a cookie carries; none when it is forged, over, or was ended.
    pub(crate) fn read(&self, cookie: &str, now: Timestamp) -> Option<Session> {
        if cookie.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let (payload, signature) = cookie.split_once('.')?;
        if !self.verify("session", payload, signature) {
            return None;
        }
        let session: Session = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        self.holds(&session, now).then_some(session)
    }

    /// Whether a session that was read is not over.
    pub(crate) fn holds(&self, session: &Session, now: Timestamp) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        session.version == 1 && session.ends > now && !ended.contains_key(&session.id)
    }

    /// Ends a session before its time. A restart forgets this, the expiry stays.
    pub(crate) fn end(&self, session: &Session, now: Timestamp) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, ends| *ends > now);
        if ended.len() < ENDED_MAX {
            ended.insert(session.id.clone(), session.ends);
        }
    }

    /// The token that forms and scripts of this session must send.
    pub(crate) fn csrf(&self, session: &Session) -> String {
        self.sign("csrf", &session.id)
    }

    /// Whether `token` is this session's.
    pub(crate) fn csrf_holds(&self, session: &Session, token: &str) -> bool {
        self.verify("csrf", &session.id, token)
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        #[expect(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac
    }

    fn sign(&self, purpose: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(purpose, text).finalize().into_bytes())
    }

    fn verify(&self, purpose: &str, text: &str, signature: &str) -> bool {
        URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|bytes| self.mac(purpose, text).verify_slice(&bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn sessions(key: u8) -> Sessions {
        Sessions::new([key; 32], Duration::from_secs(60))
    }

    #[test]
    fn a_session_is_read_until_it_ends() {
        let sessions = sessions(1);
        let cookie = sessions.begin(Subject::AdminLink, NOW).unwrap();
        let session = sessions.read(&cookie, NOW).unwrap();
        assert_eq!(session.subject, Subject::AdminLink);
        assert!(
            sessions
                .read(&cookie, NOW.plus(Duration::from_secs(60)))
                .is_none(),
            "too old"
        );
        sessions.end(&session, NOW);
        assert!(sessions.read(&cookie, NOW).is_none(), "ended");
    }

    #[test]
    fn forged_sessions_are_refused() {
        let cookie = sessions(1).begin(Subject::AdminLink, NOW).unwrap();
        assert!(sessions(2).read(&cookie, NOW).is_none(), "another key");
        let (payload, signature) = cookie.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(
            String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap())
                .unwrap()
                .replace("\"v\":1", "\"v\":1 "),
        );
        assert!(
            sessions(1).read(&format!("{other}.{signature}"), NOW).is_none(),
            "another payload"
        );
        for junk in ["", ".", "a.b", "%%%.%%%"] {
            assert!(sessions(1).read(junk, NOW).is_none());
        }
    }

    #[test]
    fn csrf_tokens_belong_to_one_session() {
        let sessions = sessions(1);
        let read = || {
            let cookie = sessions.begin(Subject::AdminLink, NOW).unwrap();
            sessions.read(&cookie, NOW).unwrap()
        };
        let (one, two) = (read(), read());
        assert!(sessions.csrf_holds(&one, &sessions.csrf(&one)));
        assert!(!sessions.csrf_holds(&two, &sessions.csrf(&one)));
        assert!(!sessions.csrf_holds(&one, ""));
    }
}
