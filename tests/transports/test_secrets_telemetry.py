"""OpenTelemetry records no secret, whatever it is told to capture."""

from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
from opentelemetry.instrumentation import httpx as otel_httpx
from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.credentials import BOTH, Case, SMSFireCase
from tests.support.echo_server import Behaviour, Server, answering, dropped_after_reading, found, quota
from tests.support.watch import Watch, end_of

pytestmark = pytest.mark.usefixtures("no_environment")


class Telemetry:
    """OpenTelemetry's recorders, which capture all there is."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])

    def show_to(self, watch: Watch) -> str:
        metrics = self.reader.get_metrics_data()
        shown = [span.to_json() for span in self.exporter.get_finished_spans()]
        shown.append(metrics.to_json() if metrics is not None else "")
        for span in self.exporter.get_finished_spans():
            watch.add(span.attributes, *(event.attributes for event in span.events), span.status.description)
        watch.add(*shown)
        return "\n".join(shown)

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture(params=["", "http", "http/dup"], ids=["old names", "new names", "both names"])
def telemetry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", ".*")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)
    # It reads the variable once a process.
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


TELEMETRY_PATHS: dict[str, Behaviour] = {
    "found": found,
    "refused": answering(401),
    "quota": quota,
    "dropped": dropped_after_reading,
}


def check_telemetry(case: Case, telemetry: Telemetry, watch: Watch, server: Server) -> None:
    shown = telemetry.show_to(watch)
    assert server.heads
    assert all(case.wire in head for head in server.heads)
    assert "http.request.header.accept_encoding" in shown
    assert "duration" in shown or server.behave is dropped_after_reading
    assert ("http.request.header.authorization" in shown) == isinstance(case, SMSFireCase)
    assert "***" in shown


@BOTH
@pytest.mark.parametrize("path", TELEMETRY_PATHS)
async def test_global_instrumentation_records_no_secret(
    case: Case, path: str, telemetry: Telemetry, watch: Watch
) -> None:
    async def look_at(span: Any, request: Any, *_: Any) -> None:
        watch.add(request, request.headers, list(request.headers.items()), request.extensions, request.url)

    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.tracers,
        meter_provider=telemetry.meters,
        async_request_hook=look_at,
        async_response_hook=look_at,
    )
    try:
        with Server(TELEMETRY_PATHS[path]) as server:
            await end_of(case, server.url, watch)
    finally:
        instrumentor.uninstrument()
    check_telemetry(case, telemetry, watch, server)


# The transport, and what OpenTelemetry wraps around it; its types know httpx's alone.
INSTRUMENTED: dict[str, tuple[Any, Any]] = {
    "httpx": (httpx.AsyncHTTPTransport, otel_httpx.AsyncOpenTelemetryTransport),
    "httpx2": (httpx2.AsyncHTTPTransport, otel_httpx.AsyncOpenTelemetryTransportHttpx2),
}


@BOTH
@pytest.mark.parametrize("path", TELEMETRY_PATHS)
@pytest.mark.parametrize("library", INSTRUMENTED)
async def test_an_instrumented_transport_records_no_secret(
    case: Case, library: str, path: str, telemetry: Telemetry, watch: Watch
) -> None:
    new_transport, instrumented = INSTRUMENTED[library]
    inner = new_transport()
    transport = instrumented(inner, tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    with Server(TELEMETRY_PATHS[path]) as server:
        await end_of(case, server.url, watch, transport=transport)
        await inner.aclose()
    check_telemetry(case, telemetry, watch, server)
