//! Certificates: one for each host, and those that come by themselves from a real ACME server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use trimtab_proxy::{Acme, AcmeConfig, AcmeEvent, TlsFiles};

use crate::harness::{Instance, Load, Proxy, eventually, pool, route};

fn install_provider() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
}

/// A certificate of its own for `names`, in files named after the first.
fn certificate(dir: &Path, names: &[&str]) -> (TlsFiles, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (cert, key) = (
        dir.join(format!("{}.crt", names[0])),
        dir.join(format!("{}.key", names[0])),
    );
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (TlsFiles { cert, key }, made.cert.pem())
}

/// Whether a client that trusts `pem` alone is served under this name.
async fn trusts(port: u16, name: &str, pem: &str) -> bool {
    let client = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap())
        .resolve(name, ([127, 0, 0, 1], port).into())
        .build()
        .unwrap();
    client.get(format!("https://{name}:{port}/")).send().await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_has_its_certificate() {
    install_provider();
    let instance = Instance::start("blocks-r1").await;
    let dir = tempfile::tempdir().unwrap();
    let (first, first_pem) = certificate(dir.path(), &["localhost"]);
    let (second, second_pem) = certificate(dir.path(), &["shop.test", "*.shop.test"]);
    let proxy = Proxy::start(|config| {
        config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
        config.tls = Some(first);
        config.certificates = vec![second];
    })
    .await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let port = proxy.client.status().await.unwrap().listen_tls[0].port();
    assert!(trusts(port, "localhost", &first_pem).await);
    assert!(trusts(port, "shop.test", &second_pem).await && trusts(port, "a.shop.test", &second_pem).await);
    assert!(
        !trusts(port, "shop.test", &first_pem).await && !trusts(port, "a.b.shop.test", &second_pem).await
    );
    // One that is put into the folder serves soon, and no longer than it is there.
    let (third, third_pem) = certificate(dir.path(), &["late.test"]);
    let folder = proxy.config.dir.join("certificates");
    std::fs::create_dir_all(&folder).unwrap();
    let both = [
        std::fs::read(third.cert).unwrap(),
        std::fs::read(third.key).unwrap(),
    ]
    .concat();
    std::fs::write(folder.join("late.test.pem"), both).unwrap();
    eventually("the late one serves", || trusts(port, "late.test", &third_pem)).await;
    assert!(trusts(port, "localhost", &first_pem).await);
    std::fs::write(folder.join("broken.pem"), "nothing").unwrap();
    eventually("the status tells of the broken one", || async {
        proxy.client.status().await.unwrap().tls_error.is_some()
    })
    .await;
    assert!(trusts(port, "late.test", &third_pem).await);
    std::fs::remove_file(folder.join("late.test.pem")).unwrap();
    eventually("it is gone", || async {
        !trusts(port, "late.test", &third_pem).await
    })
    .await;
}

/// A real ACME server, ended when dropped.
struct Pebble {
    process: Child,
    directory: String,
    ca: PathBuf,
    management: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts Debian's pebble, which looks for hosts at `http_port` and signs for `seconds`; none where it is
/// not installed.
async fn pebble(http_port: u16, seconds: u64) -> Option<Pebble> {
    let dir = tempfile::tempdir().unwrap();
    let (tls, ca_pem) = certificate(dir.path(), &["localhost"]);
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, ca_pem).unwrap();
    let (acme, management) = (free_port(), free_port());
    let config = serde_json::json!({"pebble": {
        "listenAddress": format!("127.0.0.1:{acme}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": tls.cert, "privateKey": tls.key,
        "httpPort": http_port, "tlsPort": free_port(), "ocspResponderURL": "",
        "externalAccountBindingRequired": false, "certificateValidityPeriod": seconds,
    }});
    let path = dir.path().join("pebble.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let process = Command::new("pebble")
        .arg("-config")
        .arg(&path)
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    eventually("pebble listens", || async {
        TcpStream::connect(("127.0.0.1", acme)).await.is_ok()
            && TcpStream::connect(("127.0.0.1", management)).await.is_ok()
    })
    .await;
    Some(Pebble {
        process,
        directory: format!("https://localhost:{acme}/dir"),
        ca,
        management,
        _dir: dir,
    })
}

impl Pebble {
    /// The root that it signs with today.
    async fn root(&self) -> String {
        let ca = std::fs::read(&self.ca).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .build()
            .unwrap();
        let url = format!("https://localhost:{}/roots/0", self.management);
        client.get(url).send().await.unwrap().text().await.unwrap()
    }
}

/// The serial number's worth of a certificate: its bytes, as a new handshake shows them.
async fn presented(port: u16, root: &str) -> Option<Vec<u8>> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.ok()?;
    let leaf = stream.get_ref().1.peer_certificates()?.first()?.clone();
    Some(leaf.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_come_and_are_renewed_by_themselves() {
    install_provider();
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|config| {
        config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
        config.awaits_certificates = true;
    })
    .await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let port = proxy.client.status().await.unwrap().listen_tls[0].port();
    let Some(pebble) = pebble(proxy.address.port(), 15).await else {
        assert!(
            std::env::var_os("CI").is_none(),
            "pebble is not installed: `cargo xtask setup`"
        );
        return;
    };
    let keys = tempfile::tempdir().unwrap();
    let account = keys.path().join("account.json");
    let config = |directory: &str| AcmeConfig {
        directory: directory.to_owned(),
        directory_ca: Some(pebble.ca.clone()),
        contact: vec!["mailto:team@example.org".to_owned()],
        hosts: vec!["localhost".to_owned()],
    };
    let events: Arc<Mutex<Vec<AcmeEvent>>> = Arc::default();
    let start = |directory: &str| {
        let acme = Acme::new(config(directory), &proxy.config.dir, account.clone());
        let told = Arc::clone(&events);
        let tell = move |event| told.lock().unwrap().push(event);
        tokio::spawn(acme.retry_first(Duration::from_millis(300)).run(tell))
    };
    // A server that is not there is told, tried again, and costs nothing else.
    let running = start(&format!("https://localhost:{}/dir", free_port()));
    eventually("it fails twice", || async { events.lock().unwrap().len() >= 2 }).await;
    running.abort();
    let failed = std::mem::take(&mut *events.lock().unwrap());
    assert!(
        failed
            .iter()
            .all(|event| matches!(event, AcmeEvent::Failed { again_in, .. } if !again_in.is_zero())),
        "{failed:?}"
    );
    assert!(!account.exists());

    let running = start(&pebble.directory);
    let issued = |count: usize| {
        let events = Arc::clone(&events);
        move || {
            let events = Arc::clone(&events);
            async move {
                let events = events.lock().unwrap();
                assert!(
                    events
                        .iter()
                        .all(|event| matches!(event, AcmeEvent::Issued { .. })),
                    "{events:?}"
                );
                events.len() >= count
            }
        }
    };
    eventually("a certificate comes", issued(1)).await;
    let root = pebble.root().await;
    eventually("it serves", || async { presented(port, &root).await.is_some() }).await;
    let first = presented(port, &root).await;
    let load = Load::start(proxy.address, 4, "/");
    // Killed between two certificates, it goes on with the account that it had.
    running.abort();
    let kept = std::fs::read(&account).unwrap();
    let running = start(&pebble.directory);
    let until = std::time::Instant::now() + Duration::from_secs(40);
    let (mut served, mut failed) = (0, Vec::new());
    let second = loop {
        assert!(
            std::time::Instant::now() < until,
            "never renewed: {:?}",
            events.lock().unwrap()
        );
        match presented(port, &root).await {
            Some(now) if Some(&now) != first.as_ref() => break now,
            Some(_) => served += 1,
            None => failed.push(events.lock().unwrap().clone()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(
        failed.is_empty() && served > 5 && !second.is_empty(),
        "{failed:?}"
    );
    let (ok, failures) = load.stop().await;
    assert!(ok > 0 && failures.is_empty(), "{failures:?}");
    running.abort();
    assert_eq!(std::fs::read(&account).unwrap(), kept);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = proxy.config.dir.join("certificates");
    assert_eq!(mode(&account), 0o600);
    assert_eq!(mode(&folder.join("localhost.pem")), 0o600);
    let left: Vec<_> = std::fs::read_dir(proxy.config.dir.join("challenges"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // What is no challenge here goes where everything goes.
    let other = proxy.get("/.well-known/acme-challenge/none").await;
    assert_eq!(other.body(), "blocks-r1");
}
