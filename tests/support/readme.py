"""The README as the tests see it: its sections, its commands and its programs."""

import re
from pathlib import Path
from typing import Any

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)


def section(heading: str) -> str:
    """Return the text under a heading, as far as the next heading of its level or above."""
    headings = [
        (match.start(), len(match[1]), match[2]) for match in _HEADING.finditer(_without_code(README))
    ]
    (index,) = (index for index, (_, _, text) in enumerate(headings) if text == heading)
    start, level, _ = headings[index]
    following = (other for other, other_level, _ in headings[index + 1 :] if other_level <= level)
    return README[start : next(following, len(README))]


def subheadings(heading: str) -> list[str]:
    """Return the headings one level below a heading."""
    return re.findall(r"^### (.*)$", _without_code(section(heading)), re.MULTILINE)


def _without_code(text: str) -> str:
    """Return the text with its code blanked out: a comment in a program is no heading."""
    return re.sub(r"^```.*?^```", lambda code: " " * len(code[0]), text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def load_recipe(heading: str) -> dict[str, Any]:
    """Run the one program under a heading as an import would, and return its names."""
    (program,) = blocks(section(heading), "python")
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(program, f"README.md: {heading}", "exec"), names)  # noqa: S102 # the README's own program
    return names
