"""Who may import whom: a part imports only parts on lower floors, and each dependency sits in one part."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import statuslookup

PACKAGE = Path(statuslookup.__file__).parent

# A part is a folder, or a file at the top. Within a part, files may import each other, but never in a circle.
FLOORS = {
    "_problems": 0,
    "errors": 1,
    "_arguments": 1,
    "_clock": 1,
    "_urls": 1,
    "_wire": 1,
    "_model": 2,
    "_http": 2,
    "providers": 3,
    "_limits": 3,
    "sandbox": 4,
    "_engine": 4,
    "_client": 5,
    "fleet": 5,
    "tracker": 6,
    "__init__": 7,
    "webhooks": 7,
    "cli": 8,
    "__main__": 9,
}

HOMES = {
    "httpx": {"_http"},
    "cattrs": {"providers"},
    "msgspec": {"providers"},
    "starlette": {"sandbox", "webhooks"},
    "uvicorn": {"sandbox", "cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "dotenv": {"cli"},
    "sqlite3": {"tracker"},
    "redis": {"fleet"},
}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> tuple[str, ...]:
    """Return the names that lead from the package to a module; a folder's own is the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts


MODULES = {module_of(path): path for path in files()}


def part_of(module: tuple[str, ...]) -> str:
    return module[0] if module else "__init__"


@cache
def imports(path: Path) -> tuple[set[tuple[str, ...]], set[str]]:
    """Return the modules of the package and the foreign packages that a file imports, wherever in it."""
    own: set[tuple[str, ...]] = set()
    foreign: set[str] = set()
    folder = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1]
            base = (*above, *(node.module or "").split(".")) if node.module else above
            for alias in node.names:
                own.add((*base, alias.name) if (*base, alias.name) in MODULES else base)
    if "statuslookup" in foreign:
        own.add(("__init__",))
    return own, foreign


def test_every_part_has_a_floor() -> None:
    assert {part_of(module) for module in MODULES} == set(FLOORS)


@pytest.mark.parametrize("part", FLOORS)
def test_a_part_imports_only_parts_below_it(part: str) -> None:
    for module, path in MODULES.items():
        if part_of(module) == part:
            others = {part_of(other) for other in imports(path)[0]} - {part}
            above = {other for other in others if FLOORS[other] >= FLOORS[part]}
            assert not above, f"{path} imports {above}"


def test_no_files_import_each_other_in_a_circle() -> None:
    below = {module: imports(path)[0] - {module} for module, path in MODULES.items()}
    while leaves := {module for module, others in below.items() if not others & set(below)}:
        below = {module: others for module, others in below.items() if module not in leaves}
    assert not below, f"a circle of imports among {sorted(below)}"


@pytest.mark.parametrize("dependency", HOMES)
def test_each_dependency_sits_in_its_part(dependency: str) -> None:
    users = {part_of(module) for module, path in MODULES.items() if dependency in imports(path)[1]}
    assert users == HOMES[dependency]


def test_of_the_command_line_only_the_table_needs_no_extra() -> None:
    for module, path in MODULES.items():
        if module[:2] == ("cli", "table"):
            assert not imports(path)[1] & {"click", "rich"}, path


def test_the_package_imports_no_extra() -> None:
    extras = {"click", "rich", "msgspec", "starlette", "uvicorn", "redis", "pytest", "respx"}
    extras |= {"fastapi", "opentelemetry", "prometheus_client"}
    # Nor does it wait for what only a tracker needs.
    extras |= {"sqlite3", "uuid", "statuslookup.tracker"}
    # httpx imports click and rich for a command line of its own where they are installed.
    program = (
        "import sys, httpx; before = set(sys.modules); import statuslookup;"
        f" print(sorted({extras!r} & set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_and_functions_stay_small() -> None:
    for path in files():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{path.name} asks to be two"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 50, f"{path.name}: {node.name} asks to be two"
