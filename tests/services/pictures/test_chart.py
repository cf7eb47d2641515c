"""The chart of a comparison: every point where it belongs, legible without colour, safe with any text."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from services.pictures.chart import HEIGHT, WIDTH, Mark, Series, lines

SVG = "{http://www.w3.org/2000/svg}"
LABELS = {"title": "Time", "x_label": "steps", "y_label": "seconds"}


def drawn(*series: Series, **rest) -> ElementTree.Element:
    return ElementTree.fromstring(lines(series, **{**LABELS, **rest}))


def places(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]


def test_points_lie_on_one_linear_scale_inside_the_picture():
    root = drawn(Series("a", [(0, 0), (10, 5), (20, 10)]), Series("b", [(0, 4), (20, 8)]))
    first, second = (places(line) for line in root.iter(f"{SVG}polyline"))
    assert first[1] == pytest.approx([(first[0][i] + first[2][i]) / 2 for i in (0, 1)], abs=0.02)
    assert second[0][0] == first[0][0] and second[1][0] == first[2][0]
    assert first[0][1] > second[0][1] > first[1][1] > second[1][1] > first[2][1]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in first + second)


def test_lines_differ_by_dashes_and_markers_and_are_named_at_their_ends():
    root = drawn(*(Series(name, [(0, i), (1, i)]) for i, name in enumerate(["dynamic", "static", "cached"])))
    assert len({line.get("stroke-dasharray") for line in root.iter(f"{SVG}polyline")}) == 3
    names = [text for text in root.iter(f"{SVG}text") if text.get("font-weight") == "bold"][1:]
    assert [text.text for text in names] == ["dynamic", "static", "cached"]


def test_names_of_lines_that_end_together_do_not_cover_each_other():
    root = drawn(*(Series(name, [(0, 0), (1, 5)]) for name in "abcd"))
    heights = sorted(float(text.get("y")) for text in root.iter(f"{SVG}text") if text.text in set("abcd"))
    assert all(below - above >= 14 for above, below in pairwise(heights))


def test_a_mark_stands_at_its_x_with_its_text_even_beyond_the_points():
    root = drawn(Series("a", [(0, 0), (10, 1)]), marks=[Mark(40, "break even")])
    (line,) = (one for one in root.iter(f"{SVG}line") if one.get("stroke-dasharray"))
    assert float(line.get("x1")) > max(x for one in root.iter(f"{SVG}polyline") for x, _ in places(one))
    assert "break even" in [text.text for text in root.iter(f"{SVG}text")]


def test_text_is_text_whatever_it_holds():
    evil = "<script>alert(1)</script> & \x00 \x1b \ud800 ]]>"
    root = drawn(Series(evil, [(0, 1)]), title=evil, note=evil)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script>alert(1)</script> & \ufffd \ufffd \ufffd ]]>" in [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("points", [[(0, 0)], [(3, -2), (4, -1)], [(0, 1e-9), (1, 2e-9)], [(0, 1e12), (1e9, 3e12)]])
def test_any_finite_range_has_ticks_around_it(points):
    root = drawn(Series("a", points))
    (line,) = root.iter(f"{SVG}polyline")
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places(line))


def test_points_that_are_not_finite_are_left_out_and_none_at_all_is_an_error():
    root = drawn(Series("a", [(0, 1), (1, math.nan), (2, math.inf), (3, 2)]))
    (line,) = root.iter(f"{SVG}polyline")
    assert len(places(line)) == 2
    with pytest.raises(ValueError, match="finite"):
        drawn(Series("a", [(0, math.nan)]))


def test_the_same_numbers_give_the_same_text():
    assert lines([Series("a", [(0, 1 / 3), (7, 2 / 3)])], **LABELS) == lines(
        [Series("a", [(0, 1 / 3), (7, 2 / 3)])], **LABELS
    )
