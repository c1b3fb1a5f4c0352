"""OpenTelemetry records no secret, whatever it instruments and whatever it is told to capture."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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

from tests.support.credentials import BOTH, Case, GreenAPICase, SMSFireCase, new_client
from tests.support.echo_server import Behaviour, Server, answering, dropped_after_reading, found, quota
from tests.support.senders import BY_PATH, answer_of, new_sender
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


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    # The old names of attributes and the new ones.
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup")
    # It reads the variable once a process.
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


# What OpenTelemetry knows of each library; its types know httpx's alone.
LIBRARIES: dict[str, tuple[Any, Any, Any]] = {
    "httpx": (httpx, HTTPXClientInstrumentor, otel_httpx.AsyncOpenTelemetryTransport),
    "httpx2": (httpx2, otel_httpx.HTTPX2ClientInstrumentor, otel_httpx.AsyncOpenTelemetryTransportHttpx2),
}
CAPTURED = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST"
REDACTED = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS"
HEADERS: dict[str, dict[str, str]] = {
    "no headers": {},
    "some headers": {CAPTURED: "accept.*, user-agent"},
    "all headers": {CAPTURED: ".*"},
    "one header of many": {CAPTURED: "x-a, AUTHORIZATION", REDACTED: "cookie"},
    "all headers, this one redacted": {CAPTURED: ".*", REDACTED: "cookie, Auth.*"},
}


@asynccontextmanager
async def instrumented(way: str, library: str, telemetry: Telemetry) -> AsyncIterator[Any]:
    """Instrument, and give the transport to lend."""
    module, instrumentor, wrapper = LIBRARIES[library]
    providers = {"tracer_provider": telemetry.tracers, "meter_provider": telemetry.meters}
    if way == "globally":
        instrumentor().instrument(**providers)
    async with module.AsyncHTTPTransport() as transport:
        client = module.AsyncClient(transport=transport)
        if way == "a client":
            instrumentor.instrument_client(client, **providers)
        try:
            yield wrapper(transport, **providers) if way == "a transport" else transport
        finally:
            if way == "globally":
                instrumentor().uninstrument()


@BOTH
@pytest.mark.parametrize("way", ["globally", "a client", "a transport"])
@pytest.mark.parametrize(
    ("library", "headers"), [*(("httpx", headers) for headers in HEADERS), ("httpx2", "all headers")]
)
async def test_no_span_holds_a_secret(
    case: Case,
    way: str,
    library: str,
    headers: str,
    telemetry: Telemetry,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in HEADERS[headers].items():
        monkeypatch.setenv(name, value)
    async with instrumented(way, library, telemetry) as transport:
        with Server(found) as server:
            await end_of(case, server.url, watch, transport=transport)
    assert len(server.heads) == 2
    assert all(case.wire in head for head in server.heads)
    shown = telemetry.show_to(watch)
    # Nobody records a request whose span would hold the secret.
    in_header = isinstance(case, SMSFireCase) and headers not in ("all headers", "one header of many")
    assert ("/whatsapp/status/" in shown) == ("duration" in shown) == in_header
    assert ("REDACTED" in shown) == (in_header and headers == "all headers, this one redacted")


@BOTH
@pytest.mark.parametrize(
    "behave", [answering(401), quota, dropped_after_reading], ids=["401", "466", "dropped"]
)
async def test_no_failure_is_recorded_with_a_secret(
    case: Case, behave: Behaviour, telemetry: Telemetry, watch: Watch
) -> None:
    async with instrumented("globally", "httpx", telemetry):
        with Server(behave) as server:
            await end_of(case, server.url, watch)
    assert all(case.wire in head for head in server.heads)
    assert ("/whatsapp/status/" in telemetry.show_to(watch)) == isinstance(case, SMSFireCase)


async def test_other_requests_are_recorded_all_the_while(telemetry: Telemetry, watch: Watch) -> None:
    async with instrumented("globally", "httpx", telemetry), httpx.AsyncClient() as others:
        with Server(found) as server:
            async with new_client(GreenAPICase().provider(server.url)) as client:
                await client.get(GreenAPICase.key)
                await others.get(server.url)
            sender = new_sender(server.url)
            await answer_of(sender, BY_PATH)
            await others.get(server.url)
            await sender.aclose()
    assert len(server.heads) == 4
    assert len(telemetry.exporter.get_finished_spans()) == 2
