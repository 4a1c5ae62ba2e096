//! The two OTLP listeners.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use trimtab_series::Series;
use trimtab_store::SignalStore;

use crate::{Identities, IngestError, IngestStats, Intake, Sink, grpc, http};

/// How long requests under way may take once the listeners stop.
const STOP_WAIT_MAX: Duration = Duration::from_secs(3);

/// Where to listen, and the limits.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// Address of OTLP over gRPC; port 0 takes any.
    pub grpc_addr: SocketAddr,
    /// Address of OTLP over HTTP.
    pub http_addr: SocketAddr,
    /// Most bytes of one request as it is sent.
    pub body_bytes_max: usize,
    /// Most bytes of one request after decompression.
    pub decoded_bytes_max: usize,
}

impl Default for IngestConfig {
    /// Loopback, the protocol's own ports, 16 MiB.
    fn default() -> Self {
        IngestConfig {
            grpc_addr: SocketAddr::from(([127, 0, 0, 1], 4317)),
            http_addr: SocketAddr::from(([127, 0, 0, 1], 4318)),
            body_bytes_max: 16 << 20,
            decoded_bytes_max: 16 << 20,
        }
    }
}

/// The listeners. They stop when this is dropped.
#[derive(Debug)]
pub struct Ingest {
    intake: Intake,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    stop: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Ingest {
    /// Listens on both addresses.
    ///
    /// # Errors
    /// An address that cannot be listened on; the error names it and the setting.
    pub async fn start(
        config: IngestConfig,
        identities: Arc<dyn Identities>,
        series: Series,
        store: Arc<dyn SignalStore>,
        sink: Sink,
    ) -> Result<Self, IngestError> {
        let grpc = bind("OTLP over gRPC", "otlp_grpc", config.grpc_addr).await?;
        let http = bind("OTLP over HTTP", "otlp_http", config.http_addr).await?;
        let addresses = (grpc.local_addr(), http.local_addr());
        let intake = Intake::new(identities, series, store, sink);
        let stop = watch::Sender::new(());
        let stopped = |mut receiver: watch::Receiver<()>| async move {
            // An error says that the sender is gone, which means the same.
            let _ = receiver.changed().await;
        };

        let routes = grpc::routes(&intake, config.decoded_bytes_max);
        let serving = tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(grpc).with_nodelay(Some(true)),
                stopped(stop.subscribe()),
            );
        let grpc_task = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "OTLP over gRPC stopped");
            }
        });

        let router = http::router(intake.clone(), config.body_bytes_max, config.decoded_bytes_max);
        let serving = axum::serve(http, router).with_graceful_shutdown(stopped(stop.subscribe()));
        let http_task = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "OTLP over HTTP stopped");
            }
        });
        Ok(Ingest {
            intake,
            grpc_addr: addresses.0.unwrap_or(config.grpc_addr),
            http_addr: addresses.1.unwrap_or(config.http_addr),
            stop,
            tasks: vec![grpc_task, http_task],
        })
    }

    /// The way in that the listeners use, for rows of Trimtab's own.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Figures since the start.
    pub fn stats(&self) -> IngestStats {
        self.intake.stats()
    }

    /// Where OTLP over gRPC is listened for.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where OTLP over HTTP is listened for.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Stops listening and waits a little for the requests under way.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        for task in self.tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(STOP_WAIT_MAX, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

async fn bind(
    what: &'static str,
    setting: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, IngestError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => IngestError::PortInUse {
                what,
                address,
                setting,
            },
            _ => IngestError::Listen {
                what,
                address,
                setting,
                source,
            },
        })
}
