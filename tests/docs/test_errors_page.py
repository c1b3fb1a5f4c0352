"""The pages say of every error and of every exit code what to do, and say the truth about them."""

import re
from pathlib import Path

import pytest

from statuslookup import FleetError, StatusLookupError, errors
from statuslookup.cli import exit_codes
from statuslookup.cli.exit_codes import exit_code_of
from tests.support.pages import DOCS, name_of

PAGE = DOCS / "errors.md"
BASES = {"StatusLookupError", "ProviderError"}
CLASSES = {name: getattr(errors, name) for name in errors.__all__}
CODES = {0} | {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
OF_NO_COMMAND = {"IncompleteError", "WrongLoopError", "ClosedError", "WaitTimeoutError"}
"""Errors that no command of the command line ends with."""
OF_EITHER_CODE = {"StoreError", "StoreLockedError"}
"""Errors whose code is one of two: a command that tracks says which."""


def rows(page: Path, first: str) -> list[tuple[str, ...]]:
    """Return the cells of all rows of a page's tables whose first cell is like ``first``."""
    lines = re.findall(rf"^\| {first} \|.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [tuple(cell.strip() for cell in line[1:-1].split("|")) for line in lines]


def names_in(text: str) -> list[str]:
    return re.findall(r"`(\w+Error)`", text)


@pytest.mark.parametrize("page", [PAGE, DOCS / "pt-br.md"], ids=name_of)
def test_every_error_has_a_row_with_what_to_do(page: Path) -> None:
    found = rows(page, r"`\w+Error`")
    assert sorted(row[0].strip("`") for row in found) == sorted(CLASSES.keys() - BASES)
    assert all(len(row) == 3 and all(row) for row in found)
    assert BASES & set(names_in(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("fact", ["is_transient", "ends_all"])
def test_the_facts_about_errors_are_told_as_they_are(fact: str) -> None:
    ((_, named),) = rows(PAGE, f"`{fact}`")
    assert sorted(names_in(named)) == [name for name, error in CLASSES.items() if getattr(error, fact)]


@pytest.mark.parametrize("page", [PAGE, DOCS / "command-line.md", DOCS / "pt-br.md"], ids=name_of)
def test_every_exit_code_has_a_row(page: Path) -> None:
    assert {int(code) for code, *_ in rows(page, r"\d+")} == CODES


def test_every_error_stands_beside_its_exit_code() -> None:
    named = {(name, int(code)) for code, why, _ in rows(PAGE, r"\d+") for name in names_in(why)}
    named = {(name, code) for name, code in named if name not in OF_EITHER_CODE}
    either_or_none = BASES | OF_NO_COMMAND | OF_EITHER_CODE | {"FleetError"}
    classes: dict[str, type[StatusLookupError]] = {
        name: error for name, error in CLASSES.items() if name not in either_or_none
    }
    found = {(name, exit_code_of(error.__new__(error))) for name, error in classes.items()}
    either = [FleetError("", is_transient=True), FleetError("")]
    assert named == found | {("FleetError", exit_code_of(error)) for error in either}
