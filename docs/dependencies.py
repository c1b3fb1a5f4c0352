"""Write the table of docs/dependencies.md from what is installed: ``python -m docs.dependencies``.

It says which packages the library and each of its extras need, what these pull in, and their licences. A test
compares the page with ``pyproject.toml`` and with the metadata of the installed packages.
"""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

PAGE: Final = Path(__file__).with_name("dependencies.md")
PROJECT: Final = Path(__file__).parent.parent / "pyproject.toml"

# The oldest Python needs the most; nobody here asks for extras of other packages.
_ENVIRONMENT: Final = {"python_version": "3.11", "python_full_version": "3.11.9", "extra": ""}
_CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_TABLE: Final = re.compile(r"^\| for \|.*?\n(?=\n)", re.DOTALL | re.MULTILINE)


def name_of(requirement: str) -> str:
    """Return the name of a package as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", Requirement(requirement).name).lower()


def wanted() -> dict[str, list[str]]:
    """Return the packages that ``pyproject.toml`` asks for: for the library, and for each extra."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    found = {"the library": project["dependencies"]} | {f"`{extra}`": names for extra, names in extras}
    return {what: sorted(map(name_of, requirements)) for what, requirements in found.items()}


def pulled_in(names: Iterable[str]) -> set[str]:
    """Return the names of packages and of all that they need, and these need, on Linux."""
    found: set[str] = set()
    to_visit = list(names)
    while to_visit:
        name = to_visit.pop()
        if name not in found:
            found.add(name)
            requirements = map(Requirement, distribution(name).requires or [])
            to_visit += [
                name_of(str(each))
                for each in requirements
                if each.marker is None or each.marker.evaluate(_ENVIRONMENT)
            ]
    return found


def licence_of(package: Distribution) -> str:
    """Return a package's licence as its metadata have it, short."""
    metadata = package.metadata
    expression = metadata["License-Expression"] or metadata["License"]
    if expression and len(expression) < 40:
        return str(expression)
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", [])]
    return " or ".join(_CLASSIFIERS[each] for each in classifiers if each in _CLASSIFIERS)


def needed() -> dict[str, tuple[list[str], list[str]]]:
    """Return what the library and each extra ask for, and what that pulls in beside what the library has."""
    needs = wanted()
    of_library = pulled_in(needs["the library"])
    found = {}
    for what, names in needs.items():
        others = pulled_in(names) - set(names) - (set() if what == "the library" else of_library)
        found[what] = names, sorted(others)
    return found


def table() -> str:
    """Return the table of the page."""
    lines = ["| for | needs | which pull in |", "| --- | --- | --- |"]
    for what, groups in needed().items():
        cells = [
            ", ".join(f"{name} ({licence_of(distribution(name))})" for name in group) for group in groups
        ]
        lines.append(f"| {what} | {cells[0]} | {cells[1]} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
