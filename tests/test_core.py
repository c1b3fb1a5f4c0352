"""The core tests, those of the folders below, need no extra and nothing but the dependency group "test"."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

FOLDERS = ["client", "engine", "http", "limits", "providers"]

NEED_EXTRAS = ("statuslookup.sandbox", "statuslookup.cli", "benchmarks", "examples")

CORE_PACKAGES = {"statuslookup", "tests", *sys.stdlib_module_names} | {
    re.split(r"[^\w-]", requirement)[0].replace("-", "_")
    for requirement in [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["test"]]
}


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a program imports, wherever in it, but those for type checkers alone."""
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module, names):
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.If(ast.Name("TYPE_CHECKING"), _, otherwise):
            yield from (name for below in otherwise for name in imports(below))
        case _:
            yield from (name for below in ast.iter_child_nodes(node) for name in imports(below))


@cache
def imports_of(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8"))))


def module_file(name: str) -> Path:
    """Return the file of a module of the tests, or of the module that has the name in it."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.exists() else path.parent.with_suffix(".py")


def too_much(path: Path) -> set[str]:
    """Return what a test imports beyond the core, also through other modules of the tests."""
    files, found = [path], set()
    for file in files:
        for name in imports_of(file):
            top = name.split(".")[0]
            if top not in CORE_PACKAGES or name.startswith(NEED_EXTRAS):
                found.add(name)
            elif top == "tests" and module_file(name) not in files:
                files.append(module_file(name))
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_core_tests_need_no_extra(folder: str) -> None:
    paths = sorted((ROOT / "tests" / folder).glob("test_*.py"))
    assert paths
    assert {path.name: too_much(path) for path in paths if too_much(path)} == {}
