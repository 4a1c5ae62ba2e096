"""Sends one trace, some metrics and one log line with the official OpenTelemetry SDK.

Arguments: grpc or http, the endpoint, the token, none or gzip.
"""

import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

protocol, endpoint, token, compression = sys.argv[1:]
options = {"headers": {"authorization": f"Bearer {token}"}}
if protocol == "grpc":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    options["headers"] = tuple(options["headers"].items())
    options["insecure"] = True
    options["compression"] = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
    paths = {"logs": endpoint, "metrics": endpoint, "traces": endpoint}
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    options["compression"] = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    paths = {signal: f"{endpoint}/v1/{signal}" for signal in ("logs", "metrics", "traces")}

# Claims to be somebody else, which must not be believed.
resource = Resource.create({"service.name": "liar", "deployment.environment.name": "moon", "host.name": "box"})

traces = TracerProvider(resource=resource)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=paths["traces"], **options)))
metrics = MeterProvider(
    resource=resource,
    metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=paths["metrics"], **options))],
)
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=paths["logs"], **options)))

meter = metrics.get_meter("sdk-test")
meter.create_counter("blocks.created", unit="{block}").add(3, {"kind": "text"})
meter.create_histogram("http.server.request.duration", unit="s").record(0.3, {"http.route": "/blocks"})

with traces.get_tracer("sdk-test").start_as_current_span("POST /blocks", kind=trace.SpanKind.SERVER) as span:
    span.set_attribute("http.response.status_code", 500)
    span.set_status(trace.StatusCode.ERROR, "boom")
    span.add_event("exception", {"exception.type": "ValueError"})
    logs.get_logger("sdk-test").emit(
        LogRecord(
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body="failed to merge block 7",
            attributes={"block": 7},
        )
    )

for provider in (traces, metrics, logs):
    assert provider.force_flush(10_000), provider
    provider.shutdown()
print("sent")
