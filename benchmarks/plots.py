"""What was measured, as SVG images that can be read in light and dark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from .at_limit import RATES
from .runner import Found
from .scenario import OURS, median
from .server import COUNTINGS

_STYLE: Final = """<style>
:root { --paper: #ffffff; --ink: #1f2328; --faint: #d0d7de; --c0: #0969da; --c1: #8c959f; --c2: #bc4c00;
  --c3: #1a7f37; --c4: #8250df; --c5: #bf8700; --c6: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --faint: #3d444d;
  --c0: #58a6ff; --c1: #8b949e; --c2: #f0883e; --c3: #3fb950; --c4: #bc8cff; --c5: #d29922; --c6: #ff7b72; } }
text { fill: var(--ink); } .grid { stroke: var(--faint); } .line { fill: none; stroke-width: 2.5; }
</style>"""
_COLOURS: Final = 7


def image(width: int, height: int, title: str, parts: Iterator[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" font-family="sans-serif" font-size="13" role="img">',
            f"<title>{escape(title)}</title>",
            _STYLE,
            '<rect width="100%" height="100%" fill="var(--paper)"/>',
            f'<text x="20" y="28" font-size="16">{escape(title)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name; ours is always the first."""
    others = [name for name in names if name != OURS]
    return {OURS: "var(--c0)"} | {
        name: f"var(--c{1 + place % (_COLOURS - 1)})" for place, name in enumerate(others)
    }


def plain(name: str) -> str:
    return escape(name.replace("`", ""))


class Chart:
    """Lines over two logarithmic axes."""

    def __init__(self, left: int, top: int, xs: Sequence[float], ys: Sequence[float]) -> None:
        self._left, self._top, self._width, self._height = left, top, 400, 300
        self._xs = (math.log(min(xs)), math.log(max(xs) * 1.001))
        self._ys = (math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys) * 1.001)))

    def _x(self, value: float) -> float:
        low, high = self._xs
        return self._left + self._width * (math.log(value) - low) / (high - low)

    def _y(self, value: float) -> float:
        low, high = self._ys
        return self._top + self._height * (1 - (math.log10(value) - low) / (high - low))

    def axes(self, title: str, ticks: Sequence[float], unit: str) -> Iterator[str]:
        right, bottom = self._left + self._width, self._top + self._height
        yield f'<text x="{self._left}" y="{self._top - 12}">{escape(title)}</text>'
        for exponent in range(self._ys[0], self._ys[1] + 1):
            y = self._y(10.0**exponent)
            yield f'<line class="grid" x1="{self._left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            text = f"{10.0**exponent:,g} {unit}"
            yield f'<text x="{self._left - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        for tick in ticks:
            place = f'x="{self._x(tick):.1f}" y="{bottom + 20}"'
            yield f'<text {place} text-anchor="middle" font-size="11">{tick:,g}</text>'

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> Iterator[str]:
        places = [(self._x(x), self._y(y)) for x, y in points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline class="line" points="{joined}" style="stroke:{colour}"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" style="fill:{colour}"/>' for x, y in places)

    def mark(self, x: float, y: float, colour: str, text: str) -> Iterator[str]:
        """Mark one point, with a text beside it."""
        place = self._x(x), self._y(y)
        yield f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5" style="fill:{colour}"/>'
        yield f'<text x="{place[0] + 8:.1f}" y="{place[1] + 4:.1f}">{escape(text)}</text>'

    def note(self, x: float, text: str) -> Iterator[str]:
        """Write something below a tick."""
        y = self._top + self._height + 40
        yield f'<text x="{self._x(x):.1f}" y="{y}" text-anchor="middle">{text}</text>'


def _legend(names: Sequence[str], colours: Mapping[str, str], x: int, y: int) -> Iterator[str]:
    for place, name in enumerate(names):
        row = y + 22 * place
        yield f'<rect x="{x}" y="{row}" width="14" height="5" style="fill:{colours[name]}"/>'
        yield f'<text x="{x + 22}" y="{row + 8}">{plain(name)}</text>'


def latency_plot(found: Found) -> str:
    """Return the waiting time against the rate of arrivals, a line for each contender."""
    names = list(found.runs)
    colours = colours_of(names)

    def parts() -> Iterator[str]:
        for place, (figure, title) in enumerate((("p50", "median"), ("p99", "99 of 100 within"))):
            lines = {
                name: [
                    (rate, max(median(found.runs[name], f"{rate}, {way}: {figure}") for way in COUNTINGS))
                    for rate in RATES
                ]
                for name in names
            }
            chart = Chart(90 + 520 * place, 76, RATES, [y for line in lines.values() for _, y in line])
            yield from chart.axes(f"{title}; lookups a second below", RATES, "s")
            # Ours last, on top of the others.
            for name in sorted(names, key=lambda name: name == OURS):
                yield from chart.line(lines[name], colours[name])
        yield from _legend(names, colours, 90, 424)

    title = "How long a lookup waits at 2 requests a second, 50 ms away"
    return image(1050, 440 + 22 * len(names), title, parts())


def cost_plot(found: Found, names: Sequence[str], title: str) -> str:
    """Return bars of the processor time a lookup."""
    costs = {name: median(found.runs[name], "cpu") * 1e6 for name in names}
    colours = colours_of(names)
    most = max(costs.values())

    def parts() -> Iterator[str]:
        for place, (name, cost) in enumerate(costs.items()):
            y, width = 52 + 34 * place, 420 * cost / most
            yield f'<text x="280" y="{y + 16}" text-anchor="end">{plain(name)}</text>'
            yield f'<rect x="290" y="{y}" width="{width:.1f}" height="22" style="fill:{colours[name]}"/>'
            yield f'<text x="{298 + width:.1f}" y="{y + 16}">{cost:.1f} µs</text>'

    return image(800, 70 + 34 * len(costs), title, parts())


def scaling_plot(found: Found) -> str:
    """Return what a key costs against the number of keys."""
    points = [(median(runs, "size"), median(runs, "cpu") * 1e6) for runs in found.runs.values()]

    def parts() -> Iterator[str]:
        chart = Chart(90, 76, [x for x, _ in points], [1.0, *(y for _, y in points)])
        yield from chart.axes("processor time a key; keys below", [x for x, _ in points], "µs")
        yield from chart.line(points, "var(--c0)")
        for (x, _), runs in zip(points, found.runs.values(), strict=True):
            yield from chart.note(x, f"{max(run['peak'] for run in runs):.0f} MiB")

    return image(560, 430, "stream: what a key costs, and peak memory", parts())


def processes_plot(lines: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """Return the waiting time against the number of processes, a line for each way; the first is ours."""
    colours = {name: f"var(--c{place})" for place, name in enumerate(lines)}

    def parts() -> Iterator[str]:
        counts = sorted({x for line in lines.values() for x, _ in line})
        chart = Chart(90, 76, counts, [y for line in lines.values() for _, y in line])
        yield from chart.axes("99 of 100 within; processes below", counts, "s")
        for name in reversed(list(lines)):
            yield from chart.line(lines[name], colours[name])
        yield from _legend(list(lines), colours, 90, 424)

    return image(560, 440 + 22 * len(lines), title, parts())


def plots_of(found: Mapping[str, Found], by_get: str) -> dict[str, str]:
    """Return the images by their file names; not those of what was not measured."""
    images: dict[str, str] = {}
    if "limit-arrivals" in found:
        images["latency.svg"] = latency_plot(found["limit-arrivals"])
    if "distinct" in found:
        # One request a lookup takes so much longer that all other bars would be none.
        names = [name for name in found["distinct"].runs if name != by_get]
        title = "Processor time a lookup, no limit"
        images["cost.svg"] = cost_plot(found["distinct"], names, title)
    if "scaling" in found:
        images["scaling.svg"] = scaling_plot(found["scaling"])
    return images
