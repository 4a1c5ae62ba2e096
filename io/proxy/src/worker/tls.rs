//! TLS toward clients: rustls with ring, HTTP/2 offered first. Which certificate a client gets is for the
//! host that it names to say. Certificates are read again when their files change, so that a renewed
//! one needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::WorkerError;
use crate::protocol::certificates_dir;
use crate::{ProxyConfig, TlsFiles};

/// How often the files are looked at.
pub(super) const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Certificates in the folder; more are left out.
const FOLDER_MAX: usize = 1_000;

/// The certificates that new handshakes get.
#[derive(Debug)]
pub(super) struct Certificates {
    /// For whom no other is; then those that are named.
    files: Vec<TlsFiles>,
    /// Others come and go here, chain and key in one file.
    folder: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Vec<Current>>,
}

#[derive(Debug, Clone)]
struct Current {
    files: TlsFiles,
    /// Both files as read.
    pem: [Vec<u8>; 2],
    key: Arc<CertifiedKey>,
}

impl Current {
    fn is_for(&self, name: &ServerName<'_>) -> bool {
        let leaf = self.key.cert.first();
        leaf.and_then(|leaf| ParsedCertificate::try_from(leaf).ok())
            .is_some_and(|parsed| verify_server_name(&parsed, name).is_ok())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let named = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            current.iter().find(|one| one.is_for(&name))
        });
        named
            .or(current.first())
            .map(|certificate| Arc::clone(&certificate.key))
    }
}

impl Certificates {
    /// Reads certificates and keys; none without a listener for them. Those that are named must be there.
    pub(super) fn load(config: &ProxyConfig) -> Result<Option<Arc<Self>>, WorkerError> {
        if config.listen_tls.is_empty() {
            return Ok(None);
        }
        let files: Vec<TlsFiles> = config.tls.iter().chain(&config.certificates).cloned().collect();
        let certificates = Certificates {
            folder: certificates_dir(&config.dir),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            current: RwLock::default(),
            files,
        };
        let named = certificates.files.iter().map(|files| certificates.read(files));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        certificates.current_mut(|current| *current = named);
        // What is wrong with those in the folder is told as soon as the status is asked for.
        let _told_later = certificates.reload();
        Ok(Some(Arc::new(certificates)))
    }

    /// Takes what the files hold now; whether that is new, and what could not be taken. Files that do
    /// not fit together (one was replaced, the other not yet) change nothing.
    pub(super) fn reload(&self) -> (bool, Option<WorkerError>) {
        let before = self.current_mut(|current| current.clone());
        let (mut now, mut problem) = (Vec::with_capacity(before.len()), None);
        for files in self.files.iter().cloned().chain(in_folder(&self.folder)) {
            let kept = before.iter().find(|one| one.files == files);
            match (self.reread(&files, kept), kept) {
                (Ok(read), _) => now.push(read),
                (Err(error), Some(kept)) => {
                    problem = Some(error);
                    now.push(kept.clone());
                }
                (Err(error), None) => problem = Some(error),
            }
        }
        let same = |(one, other): (&Current, &Current)| one.files == other.files && one.pem == other.pem;
        let is_new = now.len() != before.len() || !now.iter().zip(&before).all(same);
        self.current_mut(|current| *current = now);
        (is_new, problem)
    }

    fn current_mut<T>(&self, change: impl FnOnce(&mut Vec<Current>) -> T) -> T {
        change(&mut self.current.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, files: &TlsFiles) -> Result<Current, WorkerError> {
        self.reread(files, None)
    }

    fn reread(&self, files: &TlsFiles, kept: Option<&Current>) -> Result<Current, WorkerError> {
        let pem = read(files)?;
        if let Some(kept) = kept.filter(|kept| kept.pem == pem) {
            return Ok(kept.clone());
        }
        let key = parse(files, &pem, &self.provider)?;
        Ok(Current {
            files: files.clone(),
            pem,
            key,
        })
    }

    /// The configuration of a listener.
    pub(super) fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, WorkerError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&self.folder, &error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The certificates in a folder, in an order that stays.
fn in_folder(folder: &Path) -> Vec<TlsFiles> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    paths.sort();
    paths.truncate(FOLDER_MAX);
    let both = |path: PathBuf| TlsFiles {
        cert: path.clone(),
        key: path,
    };
    paths.into_iter().map(both).collect()
}

fn fail(file: &Path, reason: &dyn std::fmt::Display) -> WorkerError {
    WorkerError::Tls {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

fn read(files: &TlsFiles) -> Result<[Vec<u8>; 2], WorkerError> {
    let read = |file: &Path| std::fs::read(file).map_err(|error| fail(file, &error));
    Ok([read(&files.cert)?, read(&files.key)?])
}

fn parse(
    files: &TlsFiles,
    [cert, key]: &[Vec<u8>; 2],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, WorkerError> {
    let chain = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(&files.cert, &error))?;
    if chain.is_empty() {
        return Err(fail(&files.cert, &"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| fail(&files.key, &error))?;
    let certified =
        CertifiedKey::from_der(chain, key, provider).map_err(|error| fail(&files.cert, &error))?;
    Ok(Arc::new(certified))
}
