//! Listeners on free ports over stores in a folder of their own, and a plain HTTP client.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use trimtab_ingest::{Identities, Ingest, IngestConfig, IngestError, Sink};
use trimtab_model::{Arm, Identity};
use trimtab_series::{Series, SeriesConfig};
use trimtab_store::{LogQuery, SignalStore, Store, StoreConfig};
use trimtab_telemetry::{LogRecord, MatchOp, Matcher, SeriesData};

pub(crate) const TOKEN: &str = "instance-token";

pub(crate) fn identity() -> Identity {
    Identity {
        service: Some("blocks".parse().unwrap()),
        environment: Some("production".parse().unwrap()),
        release: Some("blocks-r2".parse().unwrap()),
        instance: Some("blocks-r2-production-1".parse().unwrap()),
        rollout: Some("rollout-4".parse().unwrap()),
        cohort: Some(Arm::Candidate),
    }
}

struct OneToken;

impl Identities for OneToken {
    fn identify(&self, token: &str) -> Option<Identity> {
        (token == TOKEN).then(identity)
    }
}

pub(crate) struct Rig {
    pub(crate) ingest: Ingest,
    pub(crate) series: Series,
    pub(crate) store: Arc<dyn SignalStore>,
    pub(crate) folder: TempDir,
}

pub(crate) fn open(folder: &TempDir) -> (Series, Arc<dyn SignalStore>) {
    let series = Series::open(folder.path().join("series"), SeriesConfig::default()).unwrap();
    let store = Store::open(folder.path().join("store"), StoreConfig::default()).unwrap();
    (series, Arc::new(store))
}

pub(crate) async fn start() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let (series, store) = open(&folder);
    start_with(folder, series, store, Sink::new(16)).await
}

pub(crate) async fn start_with(
    folder: TempDir,
    series: Series,
    store: Arc<dyn SignalStore>,
    sink: Sink,
) -> Rig {
    let ingest = listen(free(), free(), series.clone(), Arc::clone(&store), sink)
        .await
        .unwrap();
    Rig {
        ingest,
        series,
        store,
        folder,
    }
}

pub(crate) fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn listen(
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    series: Series,
    store: Arc<dyn SignalStore>,
    sink: Sink,
) -> Result<Ingest, IngestError> {
    let config = IngestConfig {
        grpc_addr,
        http_addr,
        body_bytes_max: 4 << 20,
        decoded_bytes_max: 8 << 20,
    };
    Ingest::start(config, Arc::new(OneToken), series, store, sink).await
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Rig {
    /// Posts with the token.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        post(self.ingest.http_addr(), path, &all, body.into()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &str) -> Answer {
        self.post(path, &[("content-type", "application/json")], body.to_owned())
            .await
    }

    pub(crate) async fn logs(&self) -> Vec<LogRecord> {
        self.store.scan_logs(LogQuery::default()).await.unwrap()
    }

    /// All series of a metric.
    pub(crate) async fn metric(&self, pattern: &str) -> Vec<SeriesData> {
        let matcher = Matcher::new("__name__", MatchOp::Regex, pattern).unwrap();
        self.series.select(&[matcher], 0, i64::MAX / 2).await.unwrap()
    }
}

pub(crate) async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(path).header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender
        .send_request(request.body(Full::new(body)).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}
