"""What stands in the README and the pages is true: their blocks run, their links lead somewhere."""

import ast
import asyncio
import codeop
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

import statuslookup
from statuslookup import DeliveryState
from statuslookup.cli.main import commands
from statuslookup.sandbox import Sandbox
from tests.docs.test_documented import modules
from tests.support.pages import DOCS, PAGES, README, ROOT, Fence, fences_of, name_of, section
from tests.support.redis_servers import RedisServer, binaries
from tests.test_architecture import FLOORS

FENCES = [fence for page in PAGES for fence in fences_of(page)]

NOT_RUN = {
    "pip install": "it changes the environment; what it names exists, says a test here",
    "python3 -m venv .venv": "it makes an environment, as scripts/ do",
    ". .venv/bin/activate": "it is for the shell of a person",
    "python -m benchmarks.": "it takes minutes; the module exists, says a test here",
    "statuslookup sandbox --webhooks": "it serves until it is ended; a test of the command runs it",
    "uvicorn examples.": "it serves until it is ended; a test of the recipe runs it",
    "scripts/benchmarks": "it installs, and takes minutes; a test runs all of it in small",
    "scripts/demo": "it installs; .ci/run and the demo's own tests run what it starts",
    "scripts/test": "it is these tests; .ci/run runs it",
}
"""How a line of a shell block begins that no test runs, and why. A block with one has no other lines."""

SHOWN = {"text": "it is what a program prints"}
"""Languages of blocks that nothing could run, and why. Sphinx runs those in braces."""

PROVIDERS = re.compile(r"https://api\.green-api\.com|https://api-v2\.smsfire\.com\.br")
"""Where the sandbox stands in for the providers."""

INPUTS = {
    "campaign.csv": b"id,note\n42,hello\n1,\n",
    "campanha.csv": "id;nome;valor\r\n42;João;12,50\r\n1;“Zé”;1.234,00\r\n".encode("cp1252"),
    "pedidos.csv": "Protocolo;nome\r\nfirezap0042;João\r\n1;Zoé\r\n".encode("cp1252"),
    "token.txt": b"SMSFIRE_TOKEN=...\n",
}
"""The files that commands of pages read, some as a Portuguese Excel saves them: two rows a table."""


def is_python(fence: Fence) -> bool:
    return fence.language == "python"


def is_shell(fence: Fence) -> bool:
    return fence.language == "sh" and not fence.text.startswith(tuple(NOT_RUN))


PYTHON_PAGES = [page for page in PAGES if any(map(is_python, fences_of(page)))]
SHELL_PAGES = [page for page in PAGES if any(map(is_shell, fences_of(page)))]


def test_every_block_is_run_or_has_a_reason() -> None:
    """And the other tests here do find blocks."""
    assert len(PYTHON_PAGES) >= 8
    assert len(SHELL_PAGES) >= 2
    for fence in FENCES:
        directive = fence.language.startswith("{") and fence.page != name_of(README)
        assert fence.language in ("python", "sh", *SHOWN) or directive, fence.place
        if fence.language == "sh" and not is_shell(fence):
            for line in fence.text.splitlines():
                assert line.startswith(tuple(NOT_RUN)), fence.place


@pytest.fixture
def sandbox() -> Sandbox:
    """What every example asks for, at both providers, with the token that it shows."""
    sandbox = Sandbox(token="...", rate_limit=None)
    for id in range(1, 101):
        sandbox.add_message(id, custom_id=f"firezap{id:04}", state=DeliveryState.READ)
    sandbox.add_instance(1101000001, "...").add_statistic("BAE57C4EEC000000", DeliveryState.READ)
    return sandbox


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """The URL of a Redis; one that is nowhere if none can run here."""
    if not (servers := binaries()):
        yield "redis://127.0.0.1:1/0"
        return
    with RedisServer(next(iter(servers.values()))) as server:
        yield server.url


@pytest.fixture
def _asks_the_sandbox(
    sandbox: Sandbox, redis: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Lead every client to the sandbox, every fleet to a Redis, and every file to a new folder."""
    monkeypatch.chdir(tmp_path)
    own = statuslookup.StatusClient

    def client(provider: Any, **options: Any) -> Any:
        if provider.base_url.startswith("https:"):
            options.setdefault("transport", httpx.ASGITransport(sandbox))
        return own(provider, **options)

    monkeypatch.setattr(statuslookup, "StatusClient", client)
    monkeypatch.setenv("SMSFIRE_TOKEN", "...")
    monkeypatch.setenv("STATUSLOOKUP_FLEET", redis)
    monkeypatch.delenv("SMSFIRE_URL", raising=False)
    yield
    for name in ("SMSFIRE_TOKEN", "SMSFIRE_URL"):
        os.environ.pop(name, None)  # where an example sets it


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
@pytest.mark.usefixtures("_asks_the_sandbox")
@pytest.mark.long
def test_the_python_of_a_page_runs(
    page: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks one after another, as at the prompt of ``python -m asyncio``, which knows await.

    Other libraries' clients find the sandbox by its URL, in place of the providers'.
    """
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    with sandbox.serve() as url, asyncio.Runner() as runner:
        for fence in filter(is_python, fences_of(page)):
            text = PROVIDERS.sub(url, fence.text)
            code = compile(text, fence.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if awaitable := eval(code, names):  # noqa: S307 # the page's own program
                runner.run(awaitable)


def can_be_pasted(text: str) -> bool:
    """Whether the prompt of ``python -m asyncio`` takes the text line by line, then an empty line.

    It is so until Python 3.12: a blank line ends a block, and nothing else does.
    """
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    typed: list[str] = []
    for line in [*text.splitlines(), ""]:
        typed.append(line)
        try:
            if compiler("\n".join(typed), symbol="single") is not None:
                typed.clear()
        except SyntaxError:
            return False
    return not any(typed)


def test_what_awaits_at_a_prompt_can_be_pasted_there() -> None:
    """But for classes, of which the tutorial says so."""
    assert can_be_pasted("if 1:\n    x = 2\n\nx")
    assert not can_be_pasted("if 1:\n    x = 2\nx")
    assert not can_be_pasted("if 1:\n    x = 2\n\n    x = 3")
    blocks = [fence for fence in FENCES if is_python(fence) and not re.search("^class ", fence.text, re.M)]
    awaiting = [fence for fence in blocks if awaits(fence.text)]
    assert len(awaiting) >= 20
    assert [fence.place for fence in awaiting if not can_be_pasted(fence.text)] == []


def awaits(text: str) -> bool:
    """Whether there is an ``await`` outside of functions, so that it is no program of its own."""
    code = compile(text, "a page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return bool(code.co_flags & inspect.CO_COROUTINE)


def run_shell(page: Path, sandbox: Sandbox, redis: str, folder: Path) -> tuple[str, list[Path]]:
    """Run all shell blocks of a page one after another; return what they print, and the files they write."""
    for name, content in INPUTS.items():
        (folder / name).write_bytes(content)
    shell = "".join(fence.text for fence in fences_of(page) if is_shell(fence))
    with sandbox.serve() as url:
        here = PROVIDERS.sub(url, shell).replace("redis://127.0.0.1:6379/0", redis)
        # Any free port, because several runs of these tests may go on at once.
        here = here.replace("--listen 127.0.0.1:8080", "--listen 127.0.0.1:0")
        done = subprocess.run(
            ["bash", "-e", "-u", "-c", here],
            env={
                "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(Path.cwd()),
                "SMSFIRE_URL": url,
            },
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout, [folder / name for name in dict.fromkeys(re.findall(r" -o (\S+)", shell))]


@pytest.mark.parametrize("page", SHELL_PAGES, ids=name_of)
def test_the_shell_of_a_page_runs(page: Path, sandbox: Sandbox, redis: str, tmp_path: Path) -> None:
    printed, results = run_shell(page, sandbox, redis, tmp_path)
    assert "READ" in printed
    assert results
    for result in results:
        lines = result.read_text(encoding="utf-8-sig").splitlines()
        assert len(lines) == 3
        assert all("READ" in line for line in lines[1:])


def test_a_table_of_excel_comes_back_as_the_page_in_portuguese_says(
    sandbox: Sandbox, redis: str, tmp_path: Path
) -> None:
    _, (result, *_) = run_shell(DOCS / "pt-br.md", sandbox, redis, tmp_path)
    assert result.read_bytes().startswith(b"\xef\xbb\xbfid;nome;valor;")
    rows = result.read_text(encoding="utf-8-sig").splitlines()
    assert rows[1].startswith("42;João;12,50;")
    assert rows[2].startswith("1;“Zé”;1.234,00;")


@pytest.mark.parametrize(("heading", "name"), [("Try it", "demo"), ("Run the tests", "test")])
def test_a_command_of_the_readme_is_one_script(heading: str, name: str) -> None:
    """``.ci/run`` and whoever reads the README run it as it stands there."""
    script = f"scripts/{name}"
    assert re.findall(r"^```sh\n(.*?)^```$", section(README, heading), re.M | re.S) == [f"{script}\n"]
    assert os.access(ROOT / script, os.X_OK)


def test_what_is_to_be_installed_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = [line for fence in FENCES for line in fence.text.splitlines() if line.startswith("pip install")]
    assert len(lines) >= 8
    for line in lines:
        names = shlex.split(line)[2:]
        groups = {names.pop(index + 1) for index, name in enumerate(names) if name == "--group"}
        assert groups <= set(project["dependency-groups"])
        for name in names:
            if name.startswith("."):
                assert set(re.findall(r"\w+", name)) <= set(project["project"]["optional-dependencies"])
            elif not name.startswith("--"):
                assert distribution(re.split(r"[\[<>=]", name)[0]).version


def test_every_benchmark_that_is_named_exists() -> None:
    named = {name for fence in FENCES for name in re.findall(r"python -m (benchmarks\.\w+)", fence.text)}
    assert named == {"benchmarks.fleet", "benchmarks.fleet_soak", "benchmarks.limiter_simulation"}
    assert all(find_spec(name) for name in named)


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """Sphinx looks at those of the pages."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text(encoding="utf-8"))
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 140


def test_every_example_is_shown_and_tested() -> None:
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__"}
    included = [fence.language for fence in FENCES if fence.language.startswith("{literalinclude}")]
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_recipes_*.py"))
    assert sorted(Path(each).stem for each in included) == sorted(examples)
    assert {name for name in examples if re.search(rf"\b{name}\b", tests)} == examples


def entries() -> set[str]:
    """Return what the reference has entries of, by the whole names: those of a whole module, too."""
    reference = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("api/*.md"))
    found = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", reference, re.MULTILINE))
    whole = re.findall(r"^\.\. automodule:: ([\w.]+)\n   :members:", reference, re.MULTILINE)
    return found | {
        f"{module}.{name}" for module in whole for name in importlib.import_module(module).__all__
    }


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name(module: ModuleType) -> None:
    """Of each module that a user may import; a name of several has one entry, by one of these."""
    homes = {
        name: [other.__name__ for other in modules() if name in other.__all__] for name in module.__all__
    }
    has_entry = {name: any(f"{home}.{name}" in entries() for home in homes[name]) for name in homes}
    assert [name for name, has in has_entry.items() if not has] == []


def test_every_command_is_told_of_on_its_page() -> None:
    text = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert len(commands.commands) >= 4
    assert [name for name in commands.commands if f"statuslookup {name}" not in text] == []


def test_the_floors_of_the_parts_are_told_as_they_are() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", (DOCS / "internals.md").read_text(encoding="utf-8"), re.M)
    assert {part: int(floor) for floor, part in rows} == FLOORS
