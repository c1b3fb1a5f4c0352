"""The page of dependencies names what the library and each extra need, and the licences in their metadata."""

import re
from importlib.metadata import distribution

import pytest

from docs.dependencies import PAGE, licence_of, needed, pulled_in, wanted

ROWS = re.findall(
    r"^\| (the library|`\w+`) \| (.+) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)
FAMILIES = {"Apache", "BSD", "MIT", "MPL", "PSF"}


def packages_of(cell: str) -> dict[str, str]:
    """Return the licences by package of a cell such as ``anyio (MIT), attrs (MIT)``."""
    return dict(re.findall(r"([\w-]+) \(([^)]+)\)", cell))


def families_of(licence: str) -> set[str]:
    return FAMILIES & set(re.findall(r"[A-Za-z]+", licence))


def test_the_page_names_what_pyproject_asks_for() -> None:
    again = "run python -m docs.dependencies"
    assert {what: sorted(packages_of(needs)) for what, needs, _ in ROWS} == wanted(), again


@pytest.mark.parametrize(("what", "needs", "pulls_in"), ROWS, ids=[row[0] for row in ROWS])
def test_the_page_names_what_is_pulled_in(what: str, needs: str, pulls_in: str) -> None:
    """At least: other versions of the same packages may need less."""
    assert set(needed()[what][1]) <= set(packages_of(pulls_in))


def test_the_licences_are_those_of_the_metadata() -> None:
    """By family, because a package's older versions say it in other words."""
    listed = {
        name: licence for _, *cells in ROWS for cell in cells for name, licence in packages_of(cell).items()
    }
    assert {"anyio", "h11", "click"} <= set(listed)
    for name, licence in listed.items():
        assert families_of(licence), name
        assert families_of(licence) == families_of(licence_of(distribution(name))), name


def test_what_is_pulled_in_is_followed_to_its_end() -> None:
    assert {"httpx", "httpcore", "h11", "idna"} <= pulled_in(["httpx"])
