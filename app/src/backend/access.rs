//! Tokens: the journal streams `token/<id>`, folded in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use trimtab_api::{Fault, Moment, NewToken, Principal, Token};
use trimtab_control::clock;
use trimtab_journal::{Expected, Journal, NewEvent};
use trimtab_model::{Actor, Role, Timestamp};
use trimtab_web::TokenHash;

use super::unavailable;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Most tokens that may exist at once.
const TOKENS_MAX: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct Created {
    name: String,
    role: Role,
    hash: String,
    expires_at: Option<Timestamp>,
}

/// Every token that was not revoked, by its hash.
pub(super) struct Tokens {
    known: RwLock<BTreeMap<TokenHash, Token>>,
    /// When each token was last shown since this process began.
    used: Mutex<BTreeMap<String, Timestamp>>,
    making: tokio::sync::Mutex<u64>,
}

impl Tokens {
    pub(super) async fn open(journal: &Journal) -> Result<Self, Fault> {
        let mut known = BTreeMap::new();
        let streams = journal.streams("token/").await.map_err(unavailable)?;
        let mut made = 0;
        for stream in streams {
            let id = stream.name.trim_start_matches("token/").to_owned();
            made = made.max(id.trim_start_matches("token-").parse().unwrap_or(0));
            for event in journal.read_stream(&stream.name, 0).await.map_err(unavailable)? {
                if event.kind != "token.created" {
                    known.retain(|_, token: &mut Token| token.id != id);
                    continue;
                }
                let created: Created = serde_json::from_value(event.body).map_err(unavailable)?;
                if let Some(hash) = TokenHash::from_hex(&created.hash) {
                    known.insert(hash, token(&id, &created, event.at, &event.actor));
                }
            }
        }
        Ok(Self {
            known: RwLock::new(known),
            used: Mutex::default(),
            making: tokio::sync::Mutex::new(made),
        })
    }

    pub(super) fn find(&self, hash: &TokenHash, now: Timestamp) -> Option<Principal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let token = known.get(hash)?;
        if token.expires_at.is_some_and(|end| end.0 <= now) {
            return None;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(token.id.clone(), now);
        drop(used);
        Some(Principal {
            name: token.name.clone(),
            role: token.role,
            token: Some(token.id.clone()),
        })
    }

    pub(super) fn list(&self) -> Vec<Token> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let last_used = |token: &Token| used.get(&token.id).copied().map(Moment);
        let mut all: Vec<Token> = known
            .values()
            .map(|token| Token {
                last_used_at: last_used(token),
                ..token.clone()
            })
            .collect();
        all.sort_by_key(|token| std::cmp::Reverse(token.created_at.millis()));
        all
    }

    pub(super) async fn create(
        &self,
        journal: &Journal,
        by: Actor,
        new: NewToken,
        hash: TokenHash,
    ) -> Result<Token, Fault> {
        let mut made = self.making.lock().await;
        if self.list().len() >= TOKENS_MAX {
            return Err(Fault::conflict(
                format!("there are {TOKENS_MAX} tokens already"),
                "revoke those that are no longer used",
            ));
        }
        let now = clock::now();
        let id = format!("token-{}", *made + 1);
        let created = Created {
            name: new.name,
            role: new.role,
            hash: hash.to_hex(),
            expires_at: new
                .days
                .map(|days| Timestamp(now.0.saturating_add(i64::from(days) * DAY_MS))),
        };
        let body = serde_json::to_value(&created).map_err(unavailable)?;
        let event = NewEvent::new(format!("token/{id}"), "token.created", now, by.clone(), body);
        journal
            .append(Expected::NoStream, vec![event])
            .await
            .map_err(unavailable)?;
        *made += 1;
        let token = token(&id, &created, now, &by);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(hash, token.clone());
        Ok(token)
    }

    pub(super) async fn revoke(&self, journal: &Journal, by: Actor, id: &str) -> Result<(), Fault> {
        if !self.list().iter().any(|token| token.id == id) {
            return Err(Fault::not_found("token", id));
        }
        let event = NewEvent::new(
            format!("token/{id}"),
            "token.revoked",
            clock::now(),
            by,
            serde_json::json!({}),
        );
        journal
            .append(Expected::Any, vec![event])
            .await
            .map_err(unavailable)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, token| token.id != id);
        Ok(())
    }
}

fn token(id: &str, created: &Created, at: Timestamp, by: &Actor) -> Token {
    Token {
        id: id.to_owned(),
        name: created.name.clone(),
        role: created.role,
        created_at: Moment(at),
        created_by: by.0.clone(),
        expires_at: created.expires_at.map(Moment),
        last_used_at: None,
    }
}
