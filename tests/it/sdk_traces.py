"""Sends spans as a program does that is instrumented with OpenTelemetry for Python: SCHEME PORT."""

import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

kind, port = sys.argv[1:]
if kind == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces", compression=Compression.Gzip)
provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
provider.add_span_processor(BatchSpanProcessor(exporter))
tracer = trace.get_tracer("tests", tracer_provider=provider)
for order in range(10):
    with tracer.start_as_current_span("order", kind=trace.SpanKind.SERVER) as root:
        root.set_attribute("http.route", "/orders/{id}")
        with tracer.start_as_current_span(f"step-{kind}-{order}") as step:
            print(f"{step.get_span_context().trace_id:032x} {step.get_span_context().span_id:016x}")
provider.shutdown()
