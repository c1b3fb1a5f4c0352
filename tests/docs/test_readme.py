"""The README's programs run as they are, against the sandbox where they would go to a provider."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

import pytest

from statuslookup import DeliveryState
from statuslookup.sandbox import Sandbox
from tests.support.readme import README, blocks, load_recipe, section, subheadings

# Recipes run with their frameworks in tests of their own.
PROGRAMS = blocks(README.replace(section("Recipes"), ""), "python")

# The programs talk to the real provider. Here its address is the sandbox's, and so is the token.
PREAMBLE = """
import httpx, statuslookup
from statuslookup.sandbox import Sandbox
_sandbox = Sandbox(token="...")
for _id in range(1, 100):
    _sandbox.add_message(_id, custom_id=f"firezap{_id:04}")
_instance = _sandbox.add_instance(1101000001, "...")
_instance.add_statistic("BAE57C4EEC000000", statuslookup.DeliveryState.READ)
_own = statuslookup.StatusClient
def _client(provider, **options):
    options.setdefault("transport", httpx.ASGITransport(_sandbox))
    return _own(provider, **options)
statuslookup.StatusClient = _client
"""


@pytest.mark.parametrize("program", PROGRAMS, ids=[f"program{n}" for n in range(len(PROGRAMS))])
def test_a_program_runs(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_a_command_is_one_line(heading: str) -> None:
    (command,) = blocks(section(heading), "sh")
    assert command.count("\n") == 1


def test_what_is_to_be_installed_exists() -> None:
    lines = re.findall(r"^pip install ([^#\n]*)", README, re.MULTILINE)
    names = [name for line in lines for name in shlex.split(line)]
    assert ".[cli,sandbox]" in names
    extras = set(distribution("statuslookup").metadata.get_all("Provides-Extra") or [])
    for name in names:
        if name.startswith("."):
            assert set(re.findall(r"\w+", name)) <= extras
        else:
            assert distribution(re.split(r"[\[<>=]", name)[0]).version


def run_in_shell(commands: str, folder: Path) -> str:
    scripts = sysconfig.get_path("scripts")
    return subprocess.run(
        ["bash", "-e", "-u", "-c", commands],
        env={"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_the_commands_of_the_command_line_run(tmp_path: Path) -> None:
    commands, completion = blocks(section("The command line"), "sh")
    (tmp_path / "campaign.csv").write_text("id,note\n42,hello\n1,\n")
    sandbox = Sandbox(token="...", rate_limit=None)
    sandbox.add_message(42, state=DeliveryState.READ)
    sandbox.add_message(1, custom_id="firezap0001")
    sandbox.add_instance(1101000001, "...").add_statistic("BAE57C4EEC000000", DeliveryState.READ)
    with sandbox.serve() as url:
        commands = commands.replace("https://api.green-api.com", url)
        output = run_in_shell(f"export SMSFIRE_URL={url}\n{commands}", tmp_path)
    assert "READ" in output
    assert (tmp_path / "result.csv").read_text().count("\n") == 3
    run_in_shell(completion, tmp_path)


RECIPES = subheadings("Recipes")


@pytest.mark.parametrize("heading", RECIPES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a framework's own; its recipe's test judges it
def test_a_recipe_loads(heading: str) -> None:
    assert load_recipe(heading)["__name__"] == "recipe"


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_has_a_test_of_its_own(heading: str) -> None:
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_recipes_*.py")]
    assert any(f'"{heading}"' in text for text in tests)


def test_no_recipe_is_without_a_heading() -> None:
    assert blocks(section("Recipes"), "python") == [
        program for heading in RECIPES for program in blocks(section(heading), "python")
    ]
