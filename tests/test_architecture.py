"""Who may import whom: a room imports only rooms below it, and each dependency sits in one room."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import statuslookup

PACKAGE = Path(statuslookup.__file__).parent

FLOORS = {
    "errors": 0,
    "_arguments": 0,
    "_cells": 0,
    "_clock": 0,
    "_json": 0,
    "_wire": 0,
    "_model": 1,
    "_exit_codes": 1,
    "_provider": 2,
    "_http": 2,
    "_limiter": 2,
    "_batcher": 2,
    "_retry": 2,
    "_deadlines": 2,
    "_register": 3,
    "_unlimited": 3,
    "_dispatch": 3,
    "_division": 3,
    "smsfire": 4,
    "greenapi": 4,
    "_lookup": 4,
    "_bulk": 5,
    "_client": 6,
    "sandbox": 7,
    "__init__": 7,
    "_demo": 8,
    "_rows": 2,
    "_results": 3,
    "_files": 4,
    "_check": 7,
    "_display": 7,
    "_options": 7,
    "_check_command": 8,
    "_commands": 9,
    "_cli": 10,
    "__main__": 11,
}

HOMES = {
    "httpx": {"_http"},
    "cattrs": {"_json"},
    "starlette": {"sandbox"},
    "uvicorn": {"sandbox"},
    "click": {"_check_command", "_cli", "_commands", "_options"},
    "rich": {"_check_command", "_cli", "_commands", "_demo", "_display"},
}


def rooms() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Return the rooms and the foreign packages that a file imports, wherever in the file."""
    own: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            depth = len(path.relative_to(PACKAGE).parts) - node.level
            if depth == 0:
                own |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    if "statuslookup" in foreign:
        own.add("__init__")
    return own, foreign


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in rooms()} == set(FLOORS)


@pytest.mark.parametrize("path", rooms(), ids=str)
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    own, _ = imports(path)
    above = {other for other in own - {room} if FLOORS.get(other, 99) >= FLOORS[room]}
    assert not above


@pytest.mark.parametrize("dependency", HOMES)
def test_each_dependency_sits_in_its_room(dependency: str) -> None:
    assert {room_of(path) for path in rooms() if dependency in imports(path)[1]} == HOMES[dependency]


def test_the_package_imports_no_extra() -> None:
    extras = {"click", "rich", "starlette", "uvicorn", "redis", "pytest", "respx"}
    extras |= {"fastapi", "opentelemetry", "prometheus_client"}
    # httpx imports click and rich for a command line of its own where they are installed.
    program = (
        "import sys, httpx; before = set(sys.modules); import statuslookup;"
        f" print(sorted({extras!r} & set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_and_functions_stay_small() -> None:
    for path in rooms():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{path.name} asks to be two"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 50, f"{path.name}: {node.name} asks to be two"
