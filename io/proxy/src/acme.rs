//! Certificates that come by themselves (RFC 8555): ordered from an ACME server, proven by HTTP-01, which
//! the proxy's workers answer, renewed at two thirds of their life.
//!
//! Runs in `serve`. Everything between the two processes is files: a worker answers a challenge from
//! `challenges/`, and presents what lies in `certificates/`. So nothing of it is lost with a process,
//! and what was begun is begun again.

mod directory;
mod validity;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder,
    OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use crate::protocol::{certificates_dir, challenges_dir};

/// A failed order is tried again after this, then twice as long, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(12 * 3600);
/// How long the server may take to look at a challenge or to sign.
const ORDER_PATIENCE: Duration = Duration::from_secs(90);
/// The files are looked at as often as this, whatever the plan was: the clock may have been set.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Whom to ask for which certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeConfig {
    /// The server's directory, an `https` address.
    pub directory: String,
    /// PEM file of the authority that vouches for the directory itself, where the system's do not.
    #[serde(default)]
    pub directory_ca: Option<PathBuf>,
    /// Addresses that the authority may write to, as `mailto:…`.
    #[serde(default)]
    pub contact: Vec<String>,
    /// The hosts, each with a certificate of its own.
    pub hosts: Vec<String>,
}

/// What happened to a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcmeEvent {
    /// A certificate came and is presented from now on.
    Issued {
        /// The host.
        host: String,
        /// When it ends, seconds since 1970.
        not_after: u64,
        /// When it will be renewed.
        renew_at: u64,
    },
    /// None came; the one before it serves on, if there is one.
    Failed {
        /// The host.
        host: String,
        /// Why.
        reason: String,
        /// When it is tried again.
        again_in: Duration,
    },
}

/// Why no certificate came; each finishes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// A file or folder could not be used.
    #[error("use {path}: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server, or the way to it.
    #[error("order a certificate for {host} from {directory}: {reason}")]
    Order {
        /// The host.
        host: String,
        /// The server.
        directory: String,
        /// What it said.
        reason: String,
    },
}

/// Orders and renews the certificates of one proxy.
#[derive(Debug)]
pub struct Acme {
    config: AcmeConfig,
    account_file: PathBuf,
    challenges: PathBuf,
    certificates: PathBuf,
    /// Failures in a row, and when each host is tried again.
    failures: BTreeMap<String, (u32, SystemTime)>,
    retry_first: Duration,
}

/// The account as it is kept: its key is worth as much as the certificates.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    format: u16,
    directory: String,
    credentials: AccountCredentials,
}

const ACCOUNT_FORMAT: u16 = 1;

impl Acme {
    /// For the proxy in `proxy_dir`; the account is kept in `account_file`.
    pub fn new(config: AcmeConfig, proxy_dir: &Path, account_file: PathBuf) -> Self {
        Acme {
            config,
            account_file,
            challenges: challenges_dir(proxy_dir),
            certificates: certificates_dir(proxy_dir),
            failures: BTreeMap::new(),
            retry_first: RETRY_FIRST,
        }
    }

    /// Tries again sooner or later after a failure than a minute.
    #[must_use]
    pub fn retry_first(mut self, pause: Duration) -> Self {
        self.retry_first = pause;
        self
    }

    /// Keeps every host's certificate fresh, for ever; says what happens.
    pub async fn run(mut self, mut tell: impl FnMut(AcmeEvent)) {
        loop {
            for host in self.config.hosts.clone() {
                if self.is_due(&host) {
                    tell(self.renew(&host).await);
                }
            }
            let now = SystemTime::now();
            let next = self.config.hosts.iter().map(|host| self.due_at(host)).min();
            let pause = next.map_or(LOOK_EVERY, |next| next.duration_since(now).unwrap_or_default());
            tokio::time::sleep(pause.clamp(Duration::from_millis(100), LOOK_EVERY)).await;
        }
    }

    fn is_due(&self, host: &str) -> bool {
        self.due_at(host) <= SystemTime::now()
    }

    /// When a host's certificate is to be ordered: at once if there is none that can be read.
    fn due_at(&self, host: &str) -> SystemTime {
        let kept = std::fs::read(certificate_file(&self.certificates, host)).ok();
        let validity = kept.and_then(|pem| validity::of_pem(&pem));
        let wanted = validity.map_or(UNIX_EPOCH, |validity| {
            UNIX_EPOCH + Duration::from_secs(validity.renew_at())
        });
        let again = self.failures.get(host).map_or(UNIX_EPOCH, |(_, again)| *again);
        wanted.max(again)
    }

    async fn renew(&mut self, host: &str) -> AcmeEvent {
        match self.obtain(host).await {
            Ok(validity) => {
                self.failures.remove(host);
                AcmeEvent::Issued {
                    host: host.to_owned(),
                    not_after: validity.not_after,
                    renew_at: validity.renew_at(),
                }
            }
            Err(error) => {
                let times = self.failures.get(host).map_or(0, |(times, _)| *times);
                let again_in = (self.retry_first * 2_u32.saturating_pow(times.min(16))).min(RETRY_MAX);
                self.failures
                    .insert(host.to_owned(), (times + 1, SystemTime::now() + again_in));
                AcmeEvent::Failed {
                    host: host.to_owned(),
                    reason: error.to_string(),
                    again_in,
                }
            }
        }
    }

    /// Orders a certificate and puts it where the workers find it.
    async fn obtain(&self, host: &str) -> Result<validity::Validity, AcmeError> {
        let fail = |reason: String| AcmeError::Order {
            host: host.to_owned(),
            directory: self.config.directory.clone(),
            reason,
        };
        for dir in [&self.challenges, &self.certificates] {
            make_private_dir(dir).map_err(|source| AcmeError::File {
                path: dir.clone(),
                source,
            })?;
        }
        let account = self.account(&fail).await?;
        let pem = self.order(&account, host, &fail).await?;
        let validity = validity::of_pem(pem.as_bytes())
            .ok_or_else(|| fail("the certificate that came cannot be read".to_owned()))?;
        let path = certificate_file(&self.certificates, host);
        write_private(&path, pem.as_bytes()).map_err(|source| AcmeError::File { path, source })?;
        Ok(validity)
    }

    /// The account that is kept, or a new one.
    async fn account(&self, fail: &impl Fn(String) -> AcmeError) -> Result<Account, AcmeError> {
        let http = directory::client(self.config.directory_ca.as_deref()).map_err(fail)?;
        let builder = Account::builder_with_http(http);
        let kept = std::fs::read(&self.account_file).ok();
        let kept = kept.and_then(|json| serde_json::from_slice::<KeptAccount>(&json).ok());
        if let Some(kept) = kept.filter(|kept| kept.directory == self.config.directory) {
            let account = builder.from_credentials(kept.credentials).await;
            return account.map_err(|error| fail(error.to_string()));
        }
        let contact: Vec<&str> = self.config.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder
            .create(&new, self.config.directory.clone(), None)
            .await
            .map_err(|error| fail(error.to_string()))?;
        let kept = KeptAccount {
            format: ACCOUNT_FORMAT,
            directory: self.config.directory.clone(),
            credentials,
        };
        let json = serde_json::to_vec(&kept).map_err(|error| fail(error.to_string()))?;
        write_private(&self.account_file, &json).map_err(|source| AcmeError::File {
            path: self.account_file.clone(),
            source,
        })?;
        Ok(account)
    }

    /// Proves that the host is ours and has its certificate signed; chain and key as PEM.
    async fn order(
        &self,
        account: &Account,
        host: &str,
        fail: &impl Fn(String) -> AcmeError,
    ) -> Result<String, AcmeError> {
        let told = |error: instant_acme::Error| fail(error.to_string());
        let names = [Identifier::Dns(host.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(told)?;
        let mut answers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(told)?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let mut challenge = authorization
                .challenge(ChallengeType::Http01)
                .ok_or_else(|| fail("it offers no http-01".to_owned()))?;
            let answer = Answer::write(
                &self.challenges,
                &challenge.token,
                challenge.key_authorization().as_str(),
            );
            answers.push(answer.map_err(|source| AcmeError::File {
                path: self.challenges.clone(),
                source,
            })?);
            challenge.set_ready().await.map_err(told)?;
        }
        let patience = RetryPolicy::new().timeout(ORDER_PATIENCE);
        let status = order.poll_ready(&patience).await.map_err(told)?;
        if status != OrderStatus::Ready {
            let seen = refusal(&mut order).await;
            return Err(fail(format!(
                "the order is {status:?}{seen}; is port 80 of {host} this proxy's?"
            )));
        }
        let key = order.finalize().await.map_err(told)?;
        let chain = order.poll_certificate(&patience).await.map_err(told)?;
        Ok(format!("{chain}{key}"))
    }
}

/// What the server found when it looked, if it says.
async fn refusal(order: &mut instant_acme::Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let said = authorization.challenges.iter().find_map(|one| one.error.as_ref());
        if let Some(problem) = said {
            return format!(" ({problem})");
        }
    }
    String::new()
}

/// A challenge's answer, for as long as it is asked for.
struct Answer(PathBuf);

impl Answer {
    fn write(dir: &Path, token: &str, text: &str) -> io::Result<Self> {
        if !is_token(token) {
            return Err(io::Error::other("the challenge's token is malformed"));
        }
        let path = dir.join(token);
        write_private(&path, text.as_bytes())?;
        Ok(Answer(path))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // One that stays answers a question that nobody asks.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// RFC 8555 §8.3: base64url, so that it can be no path.
pub(crate) fn is_token(token: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&token.len()) && token.bytes().all(fine)
}

/// Chain and key of a host in one file, so that they are replaced together.
fn certificate_file(dir: &Path, host: &str) -> PathBuf {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
            c
        } else {
            '_'
        }
    };
    dir.join(format!("{}.pem", host.chars().map(safe).collect::<String>()))
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that only its user can read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let next = path.with_extension("new");
    // One that is left of a crash may be readable by others.
    let _none = std::fs::remove_file(&next);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, path)
}
