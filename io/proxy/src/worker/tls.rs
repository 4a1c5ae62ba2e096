//! TLS toward clients: rustls with ring, HTTP/2 offered first. Certificate and key are read again
//! when their files change, so that a renewed certificate needs no restart.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::WorkerError;
use crate::TlsFiles;

/// How often the files are looked at.
pub(super) const RELOAD_EVERY: Duration = Duration::from_secs(2);

/// The certificate that new handshakes get.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    /// Both files as read.
    pem: [Vec<u8>; 2],
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.key))
    }
}

impl Certificates {
    /// Reads certificate and key.
    pub(super) fn load(files: &TlsFiles) -> Result<Arc<Self>, WorkerError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pem = read(files)?;
        let key = parse(files, &pem, &provider)?;
        Ok(Arc::new(Certificates {
            files: files.clone(),
            provider,
            current: RwLock::new(Current { pem, key }),
        }))
    }

    /// Takes what the files hold now; true if that is new. Files that do not fit together (one was
    /// replaced, the other not yet) change nothing.
    pub(super) fn reload(&self) -> Result<bool, WorkerError> {
        let pem = read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).pem == pem {
            return Ok(false);
        }
        let key = parse(&self.files, &pem, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { pem, key };
        Ok(true)
    }

    /// The configuration of a listener.
    pub(super) fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, WorkerError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&self.files.cert, &error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
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
