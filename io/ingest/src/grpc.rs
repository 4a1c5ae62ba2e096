//! OTLP over gRPC: the three export services.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response as HttpResponse};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower_service::Service;
use trimtab_model::Identity;
use trimtab_telemetry::otlp::{self, Decoded};

use crate::intake::{Answer, now_nanos};
use crate::{Intake, Signal, Trouble};

pub(crate) fn routes(intake: &Intake, decoded_bytes_max: usize) -> Routes {
    let door = Door(intake.clone());
    let logs = LogsServiceServer::new(door.clone())
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(decoded_bytes_max);
    let metrics = MetricsServiceServer::new(door.clone())
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(decoded_bytes_max);
    let traces = TraceServiceServer::new(door)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(decoded_bytes_max);
    Routes::new(Guarded::new(intake, logs))
        .add_service(Guarded::new(intake, metrics))
        .add_service(Guarded::new(intake, traces))
}

/// Asks for the token before the body is read, and counts what the codec refuses.
#[derive(Clone)]
struct Guarded<S> {
    intake: Intake,
    inner: S,
}

impl<S> Guarded<S> {
    fn new(intake: &Intake, inner: S) -> Self {
        Guarded {
            intake: intake.clone(),
            inner,
        }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = HttpResponse<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let intake = self.intake.clone();
        let Some(identity) = intake.identify(request.headers()) else {
            let status =
                Status::unauthenticated("a known token is needed: send `authorization: Bearer TOKEN`");
            return Box::pin(async move { Ok(status.into_http()) });
        };
        request.extensions_mut().insert(identity);
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let Some(_turn) = intake.turn().await else {
                return Ok(Status::unavailable("too many requests at once: come back later").into_http());
            };
            let response = inner.call(request).await?;
            if let Some(trouble) = Status::from_header_map(response.headers()).and_then(|s| trouble(s.code()))
            {
                intake.counters().refuse(trouble);
            }
            Ok(response)
        })
    }
}

/// What the codec's answer means; an overload is counted where it happens.
fn trouble(code: Code) -> Option<Trouble> {
    match code {
        Code::OutOfRange | Code::ResourceExhausted => Some(Trouble::TooLarge),
        Code::Unimplemented => Some(Trouble::Unsupported),
        Code::Internal | Code::InvalidArgument | Code::Unknown | Code::DataLoss => Some(Trouble::Malformed),
        _ => None,
    }
}

#[derive(Clone)]
struct Door(Intake);

impl Door {
    fn identity<T>(request: &tonic::Request<T>) -> Result<Identity, Status> {
        let identity = request.extensions().get::<Identity>().cloned();
        identity.ok_or_else(|| Status::unauthenticated("a known token is needed"))
    }

    async fn take(&self, signal: Signal, decoded: Decoded) -> Result<Answer, Status> {
        let taken = self.0.take(signal, decoded).await;
        taken.map_err(|error| Status::unavailable(error.to_string()))
    }
}

fn rejected(answer: &Answer) -> Option<i64> {
    (answer.rejected > 0).then(|| i64::try_from(answer.rejected).unwrap_or(i64::MAX))
}

#[tonic::async_trait]
impl LogsService for Door {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let identity = Door::identity(&request)?;
        let decoded = otlp::logs(request.into_inner(), &identity, now_nanos());
        let answer = self.take(Signal::Logs, decoded).await?;
        Ok(tonic::Response::new(ExportLogsServiceResponse {
            partial_success: rejected(&answer).map(|rejected_log_records| ExportLogsPartialSuccess {
                rejected_log_records,
                error_message: answer.message,
            }),
        }))
    }
}

#[tonic::async_trait]
impl MetricsService for Door {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let identity = Door::identity(&request)?;
        let (request, now) = (request.into_inner(), now_nanos());
        let decoded = self
            .0
            .with_deltas(now, |deltas| otlp::metrics(request, &identity, now, deltas));
        let answer = self.take(Signal::Metrics, decoded).await?;
        Ok(tonic::Response::new(ExportMetricsServiceResponse {
            partial_success: rejected(&answer).map(|rejected_data_points| ExportMetricsPartialSuccess {
                rejected_data_points,
                error_message: answer.message,
            }),
        }))
    }
}

#[tonic::async_trait]
impl TraceService for Door {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let identity = Door::identity(&request)?;
        let decoded = otlp::traces(request.into_inner(), &identity, now_nanos());
        let answer = self.take(Signal::Traces, decoded).await?;
        Ok(tonic::Response::new(ExportTraceServiceResponse {
            partial_success: rejected(&answer).map(|rejected_spans| ExportTracePartialSuccess {
                rejected_spans,
                error_message: answer.message,
            }),
        }))
    }
}
