"""The picture of the parts is what the imports say, and can be read: docs/parts.py draws it."""

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from itertools import pairwise

import pytest

from docs.parts import PICTURE, crossings, of_this_package, ordered, picture, places, reduced
from tests.test_architecture import FLOORS

SVG = "{http://www.w3.org/2000/svg}"

HOUSE = (
    {"program": 4, "client": 3, "fleet": 3, "engine": 2, "limits": 1, "wire": 1, "errors": 0},
    {
        "program": {"client", "fleet", "errors"},
        "client": {"engine", "errors", "wire"},
        "fleet": {"engine", "limits"},
        "engine": {"limits", "wire"},
        "limits": {"errors"},
        "wire": set[str](),
        "errors": set[str](),
    },
)
CROWD = {f"part_with_a_long_name_{number}": 1 for number in range(9)} | {"below": 0}


def test_the_picture_is_what_the_imports_say() -> None:
    drawn = PICTURE.read_text(encoding="utf-8")
    assert drawn == of_this_package(), "the parts have changed: run python -m docs.parts"


def test_every_part_is_in_the_picture() -> None:
    texts = {text.text for text in ElementTree.fromstring(of_this_package()).iter(f"{SVG}text")}  # noqa: S314 # our own
    assert texts == {*FLOORS, *map(str, FLOORS.values())}


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    assert reduced(HOUSE[1]) == {
        "program": {"client", "fleet"},
        "client": {"engine"},
        "fleet": {"engine"},
        "engine": {"limits", "wire"},
        "limits": {"errors"},
        "wire": set(),
        "errors": set(),
    }


def test_arrows_to_one_part_share_their_way_past_a_floor() -> None:
    floors = {"a": 2, "b": 2, "between": 1, "c": 0}
    rows, segments = places(floors, {"a": {"c"}, "b": {"c"}, "between": set(), "c": set()})
    ways = [place for row in rows for place in row if place.is_way]
    assert [(way.part, way.floor) for way in ways] == [("c", 1)]
    assert len(segments) == 3


def test_parts_stand_so_that_few_arrows_cross() -> None:
    floors = {"a": 1, "b": 1, "c": 0, "d": 0}
    rows, segments = places(floors, {"a": {"d"}, "b": {"c"}, "c": set(), "d": set()})
    assert crossings(rows, segments) == 1
    assert crossings(ordered(rows, segments), segments) == 0


@pytest.mark.parametrize(
    ("floors", "below"),
    [HOUSE, (CROWD, {part: {"below"} for part in CROWD if part != "below"} | {"below": set()})],
)
def test_no_boxes_touch_and_all_are_inside(floors: dict[str, int], below: dict[str, set[str]]) -> None:
    root = ElementTree.fromstring(picture(floors, below))  # noqa: S314 # our own
    boxes = defaultdict(list)
    for box in root.iter(f"{SVG}rect"):
        if box.get("class"):
            x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
            boxes[y].append((x, x + width))
            assert x >= 30
            assert x + width <= float(root.attrib["width"])
            assert y + height <= float(root.attrib["height"])
    assert sum(map(len, boxes.values())) == len(floors)
    for row in boxes.values():
        assert all(left[1] < right[0] for left, right in pairwise(sorted(row)))


def test_it_is_drawn_alike_each_time() -> None:
    floors, below = HOUSE
    assert picture(floors, below) == picture(dict(reversed(floors.items())), dict(reversed(below.items())))


def test_the_picture_fits_a_phone() -> None:
    root = ElementTree.fromstring(PICTURE.read_text(encoding="utf-8"))  # noqa: S314 # our own
    assert float(root.attrib["width"]) <= 460
