"""Draw the picture of the parts from their floors and from what the files import: ``python -m docs.parts``.

It writes ``docs/parts.svg``, and a test compares that file with what the imports say. Each part is a box on
its floor. An arrow leads from a part to one that it imports; what other arrows lead to already has none. What
users import or run is blue.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from math import fsum
from pathlib import Path
from typing import Final

from attrs import field, frozen

PICTURE: Final = Path(__file__).with_name("parts.svg")

_LEFT: Final = 34  # the numbers of the floors stand left of it
_MARGIN: Final = 8
_LEAST_WIDTH: Final = 380  # of the whole picture: a phone shows it as it is
_LETTER: Final = 7.4
_BOX: Final = 30  # the height of a box
_BETWEEN: Final = 34  # floors
_GAP: Final = 8  # between neighbours on a floor
_WAY: Final = 8  # the width of an arrow that passes a floor
_SWEEPS: Final = 24

_STYLE: Final = """<style>
:root { --paper: #ffffff; --ink: #1f2328; --line: #6e7781; --public: #ddf4ff; --edge: #0969da; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --line: #8b949e;
  --public: #10304f; --edge: #58a6ff; } }
text { fill: var(--ink); text-anchor: middle; font-family: monospace; font-size: 12px; }
text.floor { fill: var(--line); font-family: sans-serif; }
rect.part { fill: var(--paper); stroke: var(--line); }
rect.public { fill: var(--public); stroke: var(--edge); }
path.import { fill: none; stroke: var(--line); stroke-width: 1.2; } path.head { fill: var(--line); }
</style>"""


@frozen(order=True)
class Place:
    """A part on its own floor, or on a floor above it the way of the arrows that lead to it."""

    part: str
    floor: int
    is_way: bool = field(default=False, kw_only=True)

    @property
    def is_private(self) -> bool:
        return self.part.startswith("_") and not self.part.startswith("__")

    @property
    def width(self) -> float:
        return _WAY if self.is_way else round(len(self.part) * _LETTER) + 14


Rows = list[list[Place]]
Segments = set[tuple[Place, Place]]


def reduced(below: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return what each part imports, without what it reaches by way of another part."""

    def reached(part: str) -> set[str]:
        return below[part].union(*map(reached, below[part]))

    return {part: others - set().union(*map(reached, others)) for part, others in below.items()}


def places(floors: Mapping[str, int], below: Mapping[str, set[str]]) -> tuple[Rows, Segments]:
    """Return the places of each floor, the highest first, and which two are joined by a piece of an arrow."""
    heights = sorted(set(floors.values()), reverse=True)
    rows = {height: {Place(part, height) for part in floors if floors[part] == height} for height in heights}
    segments: Segments = set()
    for part, others in reduced(below).items():
        for other in others:
            passed = [height for height in heights if floors[other] < height < floors[part]]
            ways = [Place(other, height, is_way=True) for height in passed]
            for way in ways:
                rows[way.floor].add(way)
            segments |= set(pairwise([Place(part, floors[part]), *ways, Place(other, floors[other])]))
    return [sorted(row) for row in rows.values()], segments


def crossings(rows: Rows, segments: Segments) -> int:
    """Return how many pairs of pieces cross, if each row stands in its order."""
    at = {place: position for row in rows for position, place in enumerate(row)}
    return sum(
        (at[above] - at[other_above]) * (at[below] - at[other_below]) < 0
        for (above, below), (other_above, other_below) in combinations(sorted(segments), 2)
        if above.floor == other_above.floor and below.floor == other_below.floor
    )


def ordered(rows: Rows, segments: Segments) -> Rows:
    """Return the rows in an order in which few pieces cross: no swap of two in a row would help."""
    rows = [list(row) for row in rows]
    fewest = crossings(rows, segments)
    improved = True
    while improved:
        improved = False
        for row in rows:
            for left, right in combinations(range(len(row)), 2):
                row[left], row[right] = row[right], row[left]
                now = crossings(rows, segments)
                if now < fewest:
                    fewest, improved = now, True
                else:
                    row[left], row[right] = row[right], row[left]
    return rows


def settled(row: Sequence[Place], wanted: Sequence[float], right: float) -> list[float]:
    """Return the middles of a row's places, as near to the wanted ones as widths and the picture allow."""
    offsets = [0.0]
    for place, neighbour in pairwise(row):
        offsets.append(offsets[-1] + (place.width + neighbour.width) / 2 + _GAP)
    # Pool those that would stand in each other's way; a pool goes where its members want to be on average.
    pools: list[list[float]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        pools.append([want - offset])
        while len(pools) > 1 and fsum(pools[-2]) / len(pools[-2]) > fsum(pools[-1]) / len(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    least, most = _LEFT + row[0].width / 2, right - row[-1].width / 2 - offsets[-1]
    starts = [min(max(fsum(pool) / len(pool), least), most) for pool in pools for _ in pool]
    return [float(round(start + offset)) for start, offset in zip(starts, offsets, strict=True)]


def middles(rows: Rows, segments: Segments, right: float) -> dict[Place, float]:
    """Return where the middle of each place is, from the left: near to what it is joined to."""
    joined: dict[Place, list[Place]] = {place: [] for row in rows for place in row}
    for above, below in sorted(segments):
        joined[above].append(below)
        joined[below].append(above)
    at = dict.fromkeys(joined, (_LEFT + right) / 2)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            wanted = [
                fsum(at[other] for other in joined[place]) / len(joined[place])
                if joined[place]
                else at[place]
                for place in row
            ]
            at |= zip(row, settled(row, wanted, right), strict=True)
    return at


def _arrows(
    rows: Rows, segments: Segments, at: Mapping[Place, float], top: Mapping[int, int]
) -> Iterator[str]:
    for place in (place for row in rows for place in row):
        targets = sorted(
            (below for above, below in segments if above == place), key=lambda below: (at[below], below)
        )
        step = min(12.0, (place.width - 12) / max(len(targets), 1))
        for position, below in enumerate(targets):
            start = at[place] + (0 if place.is_way else round((position - (len(targets) - 1) / 2) * step))
            leave, arrive = top[place.floor] + _BOX, top[below.floor] - (0 if below.is_way else 5)
            bend = round((arrive - leave) * 0.6)
            yield (
                f'<path class="import" d="M{start:g} {leave}C{start:g} {leave + bend}'
                f' {at[below]:g} {arrive - bend} {at[below]:g} {arrive}"/>'
            )
        middle, y = at[place], top[place.floor]
        if place.is_way:
            yield f'<path class="import" d="M{middle:g} {y}v{_BOX}"/>'
        elif any(below == place for _, below in segments):
            yield f'<path class="head" d="M{middle:g} {y}l-4 -7h8z"/>'


def picture(floors: Mapping[str, int], below: Mapping[str, set[str]]) -> str:
    """Return the picture as SVG, for light and dark pages, from each part's floor and what it imports."""
    rows, segments = places(floors, below)
    rows = ordered(rows, segments)
    widest = max(fsum(place.width for place in row) + _GAP * (len(row) - 1) for row in rows)
    width = max(_LEAST_WIDTH, round(_LEFT + widest + _MARGIN))
    at = middles(rows, segments, width - _MARGIN)
    top = {row[0].floor: _MARGIN + index * (_BOX + _BETWEEN) for index, row in enumerate(rows)}
    height = max(top.values()) + _BOX + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img">',
        "<title>The parts on their floors</title>",
        f"<desc>{'. '.join(_said(row) for row in rows)}.</desc>",
        _STYLE,
        f'<rect width="{width}" height="{height}" rx="8" fill="var(--paper)"/>',
        *_arrows(rows, segments, at, top),
    ]
    for row in rows:
        y = top[row[0].floor]
        lines.append(f'<text class="floor" x="16" y="{y + 19}">{row[0].floor}</text>')
        for place in row:
            if not place.is_way:
                kind = "part" if place.is_private else "part public"
                left, wide = at[place] - place.width / 2, place.width
                lines.append(
                    f'<rect class="{kind}" x="{left:g}" y="{y}" width="{wide:g}" height="{_BOX}" rx="5"/>'
                    f'<text x="{at[place]:g}" y="{y + 19}">{place.part}</text>'
                )
    return "\n".join([*lines, "</svg>", ""])


def _said(row: Sequence[Place]) -> str:
    return f"Floor {row[0].floor}: {', '.join(sorted(place.part for place in row if not place.is_way))}"


def of_this_package() -> str:
    """Return the picture of ``statuslookup`` as its files are now."""
    # The tests have the table of floors, and read the imports.
    from tests.test_architecture import FLOORS, MODULES, imports, part_of

    below: dict[str, set[str]] = {part: set() for part in FLOORS}
    for module, path in MODULES.items():
        below[part_of(module)] |= {part_of(other) for other in imports(path)[0]} - {part_of(module)}
    return picture(FLOORS, below)


if __name__ == "__main__":
    PICTURE.write_text(of_this_package(), encoding="utf-8")
