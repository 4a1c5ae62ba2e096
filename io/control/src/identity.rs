//! Tokens that instances send their telemetry with. A token names its instance and proves it; who
//! the instance is comes from the fleet, never from what a sender claims.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::RwLock;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use trimtab_ingest::Identities;
use trimtab_model::{Identity, InstanceId};

/// Begins every ingest token, so that one that leaks is recognised.
const PREFIX: &str = "ti_";
const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[error("failed to read or make the key {path}: {reason}")]
pub struct KeyError {
    /// The key's file.
    pub path: String,
    /// What went wrong.
    pub reason: String,
}

/// Reads a key file, or makes it (mode 0600) with fresh random bytes.
pub fn key_file(path: &Path) -> Result<[u8; KEY_BYTES], KeyError> {
    let failed = |reason: String| KeyError {
        path: path.display().to_string(),
        reason,
    };
    if let Ok(bytes) = std::fs::read(path) {
        return bytes.try_into().map_err(|_| {
            failed(format!(
                "it does not hold {KEY_BYTES} bytes; restore it or delete it"
            ))
        });
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| failed(error.to_string()))?;
    crate::files::replace_secret(path, &key).map_err(|error| failed(error.to_string()))?;
    Ok(key)
}

/// Knows every instance's token and identity.
pub struct InstanceTokens {
    key: [u8; KEY_BYTES],
    known: RwLock<BTreeMap<InstanceId, Identity>>,
}

impl InstanceTokens {
    /// Signs with `key`; knows nobody yet.
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self {
            key,
            known: RwLock::new(BTreeMap::new()),
        }
    }

    /// The token of an instance.
    pub fn token(&self, instance: &InstanceId) -> String {
        format!(
            "{PREFIX}{instance}.{}",
            hex::encode(self.mac(instance).finalize().into_bytes())
        )
    }

    /// Says who an instance is from now on.
    pub fn know(&self, instance: InstanceId, identity: Identity) {
        self.known
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(instance, identity);
    }

    /// Who an instance is.
    pub fn identity(&self, instance: &InstanceId) -> Option<Identity> {
        self.known
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(instance)
            .cloned()
    }

    /// Forgets an instance: its token opens nothing any more.
    pub fn forget(&self, instance: &InstanceId) {
        self.known
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(instance);
    }

    fn mac(&self, instance: &InstanceId) -> Hmac<Sha256> {
        let mut block = [0; 64];
        block[..KEY_BYTES].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(b"ingest\n");
        mac.update(instance.as_str().as_bytes());
        mac
    }
}

impl Identities for InstanceTokens {
    fn identify(&self, token: &str) -> Option<Identity> {
        let (instance, signature) = token.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let instance = InstanceId::new(instance).ok()?;
        let signature = hex::decode(signature).ok()?;
        self.mac(&instance).verify_slice(&signature).ok()?;
        self.identity(&instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_own_known_instance_only() -> Result<(), Box<dyn std::error::Error>> {
        let tokens = InstanceTokens::new([7; KEY_BYTES]);
        let (mine, other) = (
            InstanceId::new("blocks-r1-production-1")?,
            InstanceId::new("blocks-r2-production-1")?,
        );
        let token = tokens.token(&mine);
        assert_eq!(tokens.identify(&token), None, "not known yet");
        let identity = Identity {
            instance: Some(mine.clone()),
            ..Identity::default()
        };
        tokens.know(mine.clone(), identity.clone());
        tokens.know(other.clone(), Identity::default());
        assert_eq!(tokens.identify(&token), Some(identity));
        assert_eq!(
            tokens.identify(&token.replace("-r1-", "-r2-")),
            None,
            "another's name"
        );
        assert_eq!(
            InstanceTokens::new([8; KEY_BYTES]).identify(&token),
            None,
            "another key"
        );
        tokens.forget(&mine);
        assert_eq!(tokens.identify(&token), None, "forgotten");
        Ok(())
    }
}
