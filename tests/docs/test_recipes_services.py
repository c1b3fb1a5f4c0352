"""The recipes for services keep what they promise, with the real frameworks and the sandbox."""

import asyncio
import gc
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import attrs
import httpx
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest, make_asgi_app
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Receive, Scope, Send

from examples import fastapi_service, prometheus_metrics, several_accounts
from statuslookup import ClientStats, DeliveryState, ProviderError, RetryPolicy, SMSFire, StatusClient
from statuslookup.sandbox import Sandbox
from statuslookup.sandbox._serving import serving
from tests.support.redis_servers import free_port

TOKEN = "canary-token"


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox(token=TOKEN, counting="spacing")
    sandbox.add_message(42, custom_id="firezap0001", state=DeliveryState.SENT)
    return sandbox


@pytest.fixture
def served(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve the sandbox where a program that reads the environment finds it."""
    with sandbox.serve() as base_url:
        monkeypatch.setenv("SMSFIRE_URL", base_url)
        monkeypatch.setenv("SMSFIRE_TOKEN", TOKEN)
        yield sandbox


def run(example: str) -> "subprocess.CompletedProcess[str]":
    """Run an example in a process of its own, in this environment."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", f"examples.{example}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- FastAPI --------------------------------------------------------------------------------------


class Log(logging.Handler):
    """Keeps what a logger says, and holds up the thread that says it until it is let go."""

    def __init__(self, logger: str) -> None:
        super().__init__(logging.INFO)
        self.messages: queue.Queue[tuple[str, str]] = queue.Queue()
        self.go_on = threading.Event()
        self.logger = logging.getLogger(logger)

    def emit(self, record: logging.LogRecord) -> None:
        self.go_on.wait(10)
        self.messages.put((record.levelname, record.getMessage()))

    def __enter__(self) -> "Log":
        self.logger.addHandler(self)
        self.logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self)
        self.logger.setLevel(logging.NOTSET)

    async def next(self) -> tuple[str, str]:
        return await asyncio.to_thread(self.messages.get, timeout=10)


def clients_of(base_url: str) -> list[str]:
    """Return what every client that talks to the URL shows of itself."""
    clients = [thing for thing in gc.get_objects() if isinstance(thing, StatusClient)]
    return [shown for shown in map(repr, clients) if f" {base_url} " in shown]


async def test_fastapi_has_one_client_from_start_to_shutdown(served: Sandbox) -> None:
    with serving(fastapi_service.app, "127.0.0.1", 0) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            found, unknown = await asyncio.gather(http.get("/messages/42"), http.get("/messages/7"))
            assert (await http.get("/messages/-1")).status_code == 422
            assert (await http.get(f"/messages/{10**40}")).status_code == 422
        [client] = clients_of(os.environ["SMSFIRE_URL"])
        assert "StatusClient open" in client
        assert served.rejections == 0
    [client] = clients_of(os.environ["SMSFIRE_URL"])
    assert "StatusClient closed" in client
    assert (found.status_code, unknown.status_code) == (200, 404)
    date = served.messages[42].status_date
    assert date is not None
    assert found.json() == {"id": 42, "state": "SENT", "status_date": date.isoformat()}


async def test_fastapi_answers_a_webhook_before_it_reads_it(served: Sandbox) -> None:
    served.change_state(42, DeliveryState.READ)
    with Log("messages") as log, serving(fastapi_service.app, "127.0.0.1", 0) as url:
        posted = await served.post_webhooks(f"{url}/webhooks/smsfire")
        assert posted.delivered == 1
        assert log.messages.empty()
        log.go_on.set()
        assert await log.next() == ("INFO", "message 42 is READ")


async def test_fastapi_logs_a_webhook_that_cannot_be_read(served: Sandbox) -> None:
    with Log("messages") as log, serving(fastapi_service.app, "127.0.0.1", 0) as url:
        log.go_on.set()
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{url}/webhooks/smsfire", content=b"nonsense")
        assert answer.status_code == 200
        level, message = await log.next()
    assert level == "ERROR"
    assert message.startswith("a webhook of 8 bytes cannot be read: SMSFire: ")


class OneTry(RetryPolicy):
    """Gives up at once, also after a 429."""

    def delay(self, error: ProviderError, attempts: int) -> None:
        return None


@pytest.mark.parametrize(("fault", "code"), [(403, 502), (418, 502), (429, 503), (500, 503), (None, 504)])
async def test_fastapi_says_whose_fault_it_was(
    fault: int | None, code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, get_client = fastapi_service.app, fastapi_service.get_client
    sandbox = Sandbox(token=TOKEN, latency=0.0 if fault else 60.0)
    sandbox.fault = lambda number: fault
    async with StatusClient(
        SMSFire(TOKEN, base_url="http://localhost"),
        transport=httpx.ASGITransport(sandbox),
        retry=OneTry(),
        timeout=10.0 if fault else 0.1,
    ) as client:
        monkeypatch.setitem(app.dependency_overrides, get_client, lambda: client)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.get("/messages/42")
    assert answer.status_code == code
    assert "SMSFire" in answer.json()["detail"]
    [record] = [record for record in caplog.records if record.name == "messages"]
    assert "/messages/42" in record.getMessage()


# --- several accounts -----------------------------------------------------------------------------


class Accounts:
    """Lets the tokens of several accounts in at one sandbox, which has one limit for all of them."""

    def __init__(self, sandbox: Sandbox, tokens: set[str]) -> None:
        self.sandbox: ASGIApp = sandbox
        self.expected = {f"Basic {token}".encode(): token for token in tokens}
        self.seen: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/waInstance"):
            headers = dict(scope["headers"])
            self.seen.add(self.expected[headers[b"authorization"]])
            headers[b"authorization"] = f"Basic {TOKEN}".encode()
            scope = {**scope, "headers": list(headers.items())}
        await self.sandbox(scope, receive, send)


async def test_accounts_share_what_the_provider_counts_together(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = Accounts(sandbox, {"token-of-shop", "token-of-support"})
    north = sandbox.add_instance(1101000001, "north")
    south = sandbox.add_instance(1101000002, "south")
    north.add_statistic("BAE57C4EEC000000", DeliveryState.READ)
    with serving(accounts, "127.0.0.1", 0) as url:
        for account in ("SHOP", "SUPPORT"):
            monkeypatch.setenv(f"{account}_SMSFIRE_TOKEN", f"token-of-{account.lower()}")
            monkeypatch.setenv(f"{account}_SMSFIRE_URL", url)
        for account, instance in (("NORTH", north), ("SOUTH", south)):
            monkeypatch.setenv(f"{account}_GREEN_API_ID_INSTANCE", str(instance.id_instance))
            monkeypatch.setenv(f"{account}_GREEN_API_TOKEN", account.lower())
            monkeypatch.setenv(f"{account}_GREEN_API_URL", url)
        await several_accounts.main()
    assert accounts.seen == {"token-of-shop", "token-of-support"}
    assert (sandbox.requests, north.requests, south.requests) == (2, 1, 1)
    assert sandbox.rejections == 0
    assert sandbox.arrivals[1] - sandbox.arrivals[0] >= 0.5
    assert abs(north.arrivals[0] - south.arrivals[0]) < 0.9
    shop, support, first, second = capsys.readouterr().out.splitlines()
    assert shop == support == str(sandbox.messages[42])
    assert "id_message='BAE57C4EEC000000', receipts=(Receipt(" in first
    assert "id_message='BAE57C4EEC000001', receipts=()" in second
    gc.collect()  # a client that was not closed would warn now, which is an error here


async def test_accounts_are_closed_if_one_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://one.localhost"
    monkeypatch.setenv("SHOP_SMSFIRE_TOKEN", TOKEN)
    monkeypatch.setenv("SHOP_SMSFIRE_URL", url)
    with pytest.raises(ValueError, match="SMSFIRE_TOKEN must be set"):
        await several_accounts.main()
    gc.collect()


# --- OpenTelemetry --------------------------------------------------------------------------------


def spans_of(done: "subprocess.CompletedProcess[str]") -> tuple[list[Any], list[Any]]:
    """Return the spans that a program wrote: those of its lookups, and those of its requests."""
    decoder, text = json.JSONDecoder(), done.stdout.strip()
    spans = []
    while text:
        span, end = decoder.raw_decode(text)
        spans.append(span)
        text = text[end:].lstrip()
    lookups = [span for span in spans if span["kind"] == "SpanKind.INTERNAL"]
    return lookups, [span for span in spans if span["kind"] == "SpanKind.CLIENT"]


def test_opentelemetry_shows_lookups_and_requests_and_no_secret(
    served: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", ".*")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "authorization")
    done = run("opentelemetry_spans")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    [one, many], requests = spans_of(done)
    assert (one["name"], many["name"]) == ("get status", "get statuses")
    assert one["attributes"] == {"message.key": "42", "message.found": True, "message.state": "SENT"}
    assert many["attributes"] == {"messages.asked": 300, "messages.found": 1}
    assert len(requests) == served.requests == 3
    assert all(span["parent_id"] is None for span in (one, many, *requests))
    assert len({span["context"]["trace_id"] for span in (one, many, *requests)}) == 5
    assert all("[REDACTED]" in str(span["attributes"]) for span in requests)
    assert TOKEN not in done.stdout


def test_opentelemetry_shows_why_a_lookup_failed(served: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSFIRE_TOKEN", "another-canary")
    done = run("opentelemetry_spans")
    assert done.returncode == 1
    [lookup], [request] = spans_of(done)
    assert lookup["status"]["status_code"] == "ERROR"
    assert lookup["attributes"] == {"message.key": "42"}
    [event] = lookup["events"]
    assert event["attributes"]["exception.type"] == "statuslookup.errors.AuthenticationError"
    assert 401 in request["attributes"].values()
    assert "another-canary" not in done.stdout + done.stderr


async def test_a_requests_span_is_a_child_of_what_was_current_when_the_client_was_made(
    served: Sandbox,
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    try:
        with tracer.start_as_current_span("making"):
            client = StatusClient(SMSFire.from_env())
        async with client:
            with tracer.start_as_current_span("asking"):
                await client.get(42)
    finally:
        HTTPXClientInstrumentor().uninstrument()
        provider.shutdown()
    making, request, asking = exporter.get_finished_spans()
    assert (making.name, asking.name) == ("making", "asking")
    assert request.parent == making.context
    assert asking.parent is None


# --- Prometheus -----------------------------------------------------------------------------------

# The field of ClientStats for each metric, as a dashboard would name it.
METRICS = {
    "statuslookup_lookups_total": "lookups",
    "statuslookup_coalesced_lookups_total": "coalesced",
    "statuslookup_requests_total": "requests",
    "statuslookup_sent_keys_total": "keys_sent",
    "statuslookup_retried_keys_total": "retries",
    "statuslookup_rejected_requests_total": "rejections",
    "statuslookup_told_keys_total": "told",
    "statuslookup_paced_seconds_total": "seconds_paced",
    "statuslookup_queued_keys": "queued",
    "statuslookup_in_flight_keys": "in_flight",
}


def samples_of(text: str) -> dict[tuple[str, str], float]:
    """Return the recipe's metrics by name and account."""
    return {
        (sample.name, sample.labels["account"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name.startswith("statuslookup_")
    }


class Still:
    """Stands for a client with these counts."""

    def __init__(self, stats: ClientStats) -> None:
        self.stats = lambda: stats


def test_prometheus_has_every_count_of_every_client() -> None:
    fields = [field.name for field in attrs.fields(ClientStats)]
    assert sorted(METRICS.values()) == sorted(fields)
    counts = {
        account: ClientStats(**{field: first + number for number, field in enumerate(fields)})
        for account, first in (("shop", 1), ("support", 101))
    }
    registry = CollectorRegistry(auto_describe=True)
    clients: Any = {account: Still(stats) for account, stats in counts.items()}
    registry.register(prometheus_metrics.StatusLookupCollector(clients))
    assert samples_of(generate_latest(registry).decode()) == {
        (metric, account): getattr(stats, field)
        for metric, field in METRICS.items()
        for account, stats in counts.items()
    }


async def test_prometheus_reads_a_client_that_works(served: Sandbox) -> None:
    registry = CollectorRegistry(auto_describe=True)
    transport = httpx.ASGITransport(make_asgi_app(registry))
    async with (
        StatusClient(SMSFire.from_env()) as client,
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        registry.register(prometheus_metrics.StatusLookupCollector({"shop": client}))
        await asyncio.gather(client.get(42), client.get(42), client.get(7))
        samples = samples_of((await http.get("/metrics")).text)
        assert samples == {(metric, "shop"): getattr(client.stats(), METRICS[metric]) for metric in METRICS}
    assert samples["statuslookup_coalesced_lookups_total", "shop"] == 1


def test_prometheus_is_served_on_a_port(served: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("METRICS_PORT", str(port))
    samples: dict[tuple[str, str], float] = {}
    with subprocess.Popen([sys.executable, "-W", "error", "-m", "examples.prometheus_metrics"]) as process:
        try:
            until = time.monotonic() + 60
            while samples.get(("statuslookup_sent_keys_total", "shop")) != 300 and time.monotonic() < until:
                assert process.poll() is None
                try:
                    samples = samples_of(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
                except httpx.TransportError:
                    time.sleep(0.05)
        finally:
            process.kill()
    assert samples["statuslookup_sent_keys_total", "shop"] == served.keys == 300
    assert samples["statuslookup_requests_total", "shop"] == served.requests == 2
