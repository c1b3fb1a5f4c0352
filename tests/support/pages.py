"""The README and the pages of docs/ as the tests see them: files with fenced blocks."""

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]

_FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Fence:
    """A fenced block: ``language`` is what stands behind its first fence, ``line`` where its text begins."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences_of(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    return [
        Fence(name_of(page), text.count("\n", 0, match.start("text")) + 1, match["language"], match["text"])
        for match in _FENCE.finditer(text)
    ]


def section(page: Path, heading: str) -> str:
    """Return the text under a heading of the second level, as far as the next one."""
    _, _, after = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    return after.partition("\n## ")[0]
