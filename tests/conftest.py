"""Which event loop a test runs on, and what the tests of several files begin and end with."""

import asyncio
import gc
import logging
import os
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from statuslookup import DeliveryState
from statuslookup._limits import budgets as register
from tests.support.fakes import listen, ticks
from tests.support.virtual_time import HandClock, VirtualTimeLoop

if TYPE_CHECKING:
    from statuslookup.sandbox import Sandbox
    from tests.support.watch import Watch

# On a busy machine, an example can take long, and so can its making; pytest-timeout ends what hangs.
settings.register_profile("no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no deadline")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore] # since 3.12
    return loop


def _every_loop() -> dict[str, LoopFactory]:
    loops: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if sys.version_info >= (3, 12):
        loops["eager"] = _eager_loop
    if sys.platform != "win32":
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos",
        type=int,
        default=20_000,
        metavar="N",
        help="lookups of test_chaos.py, and more examples elsewhere (default: 20,000)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if config.getoption("capture") == "no" and config.getoption("numprocesses", None):
        # Somebody wants to see what is printed, and the output of several processes is lost.
        config.option.numprocesses = 0


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes share the tests, where the command line does not say it.

    Most tests wait for processes, sockets and rate limits, about twice as long as they compute: three for
    each core keep it busy, and more would only make them late. On a machine of many cores the longest test
    is what takes the time.
    """
    cores = os.cpu_count() or 1
    return min(3 * cores, cores + 8)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes some seconds, so it is begun first")
    config.addinivalue_line("markers", "virtual_time: run on a loop whose clock jumps")
    config.addinivalue_line("markers", "every_loop: run on asyncio, eager tasks and uvloop")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual_time": VirtualTimeLoop}
    if item.get_closest_marker("every_loop"):
        return _every_loop()
    return {"asyncio": asyncio.new_event_loop}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    # The processes that share the tests must agree on the names, and a compressed body holds its time.
    return argname if isinstance(val, bytes) and not val.isascii() else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every process begin with its share of the long tests, so that none is alone at the end.

    pytest-xdist first gives each a stretch of the list, all equally long, or one less at the beginning.
    """
    long = [item for item in items if item.get_closest_marker("long")]
    others = iter([item for item in items if not item.get_closest_marker("long")])
    processes: int = getattr(config, "workerinput", {}).get("workercount", 1)
    rest = len(items)
    items.clear()
    for process in range(processes):
        length = rest // (processes - process)
        rest -= length
        share = long[process::processes]
        items += share
        items += islice(others, max(0, length - len(share)))


def pytest_collection_finish() -> None:
    # What is imported by now stays to the end, and no garbage collection need look through it again: many
    # tests collect, and it would cost each of them a tenth of a second.
    gc.collect()
    gc.freeze()


@pytest.fixture
def is_thorough(pytestconfig: pytest.Config) -> bool:
    """Whether --chaos asks for more than usual."""
    return int(pytestconfig.getoption("chaos")) > 100_000


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def no_noise() -> AsyncIterator[None]:
    """The event loop reports nothing by itself, such as an error that was never retrieved."""
    noise: list[dict[str, Any]] = []
    listen(noise)
    yield
    gc.collect()
    await ticks()
    assert noise == []


@pytest.fixture
def empty_register() -> Iterator[None]:
    """Other tests' clients, and those of a test here, are nothing to the next one."""
    gc.collect()
    register._left_behind.clear()
    yield
    gc.collect()
    register._left_behind.clear()
    assert list(register._budgets) == []


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def no_environment(no_proxies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ssl_cert_file", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    for name in [name for name in os.environ if name.startswith(("SMSFIRE_", "GREEN_API_", "OTEL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> "Iterator[Watch]":
    """Watch a test, and fail it if a secret was to be seen anywhere."""
    from tests.support.watch import LOGGERS, Watch

    watch = Watch()
    levels = {name: logging.getLogger(name).level for name in (None, *LOGGERS)}
    for name in levels:
        logging.getLogger(name).setLevel(1)
    logging.getLogger().addHandler(watch)
    monkeypatch.setattr(sys, "unraisablehook", watch.note)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield watch
            gc.collect()
        for warning in caught:
            watch.add(warning.message, warning.source, str(warning))
        watch.texts += capfd.readouterr()
    finally:
        logging.getLogger().removeHandler(watch)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert watch.found() == []


@pytest.fixture(scope="module")
def served() -> "Iterator[tuple[Sandbox, str]]":
    """A sandbox on a socket: 3,000 messages with a customId and three states in turn, and one story."""
    from statuslookup.sandbox import Sandbox

    sandbox = Sandbox(rate_limit=None)
    states = (DeliveryState.READ, DeliveryState.SENT, DeliveryState.REJECTED)
    for id in range(1, 3001):
        sandbox.add_message(id, custom_id=f"c{id}", state=states[id % 3])
    instance = sandbox.add_instance(rate_limit=None)
    instance.add_statistic("STORY1", DeliveryState.READ, DeliveryState.DELIVERED)
    with sandbox.serve() as url:
        yield sandbox, url


@pytest.fixture
def sandbox(served: "tuple[Sandbox, str]") -> "Iterator[Sandbox]":
    sandbox, _ = served
    sandbox.reset_counts()
    yield sandbox
    sandbox.fault = None
    sandbox.instances[1101000001].quota = None
    sandbox.instances[1101000001].fault = None


@pytest.fixture
def url(served: "tuple[Sandbox, str]", sandbox: "Sandbox") -> str:
    return served[1]
