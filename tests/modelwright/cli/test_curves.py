import io
import math

from rich.console import Console

from modelwright.cli.curves import curve, of_series


def drawn(*arguments, width=50, **options):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(curve(*arguments, width=width, **options))
    return console.export_text().splitlines()


def test_a_curve_has_its_name_its_extremes_and_its_steps():
    lines = drawn("train/loss", [1, 50, 100], [2.0, 1.0, 0.5])
    assert lines[0] == "train/loss  0.5"
    assert lines[1].startswith("         2 ")
    assert lines[-2].startswith("       0.5 ")
    assert lines[-1].split() == ["1", "step", "100"]
    assert all(len(line) <= 50 for line in lines)


def test_a_falling_curve_begins_above_and_ends_below():
    lines = drawn("loss", range(100), [float(100 - step) for step in range(100)])[1:-1]
    inked = [
        [index for index, dot in enumerate(line[11:]) if dot not in " \N{BRAILLE PATTERN BLANK}"] for line in lines
    ]
    assert [row[0] for row in inked] == sorted(row[0] for row in inked)
    assert inked[0][0] == 0
    assert inked[-1][-1] == 38


def test_points_far_apart_are_joined_and_what_is_not_finite_leaves_a_gap():
    joined = drawn("a", [0, 100], [1.0, 1.0])[-2][11:]
    assert set(joined) == {"\N{BRAILLE PATTERN DOTS-78}"}
    gap = drawn("a", [0, 40, 50, 60, 100], [1.0, 1.0, math.nan, 1.0, 1.0])[-2][11:]
    assert "\N{BRAILLE PATTERN BLANK}" in gap[12:28]


def test_series_without_a_course_are_left_out():
    one, two = {"steps": [1], "values": [0.5]}, {"steps": [1, 2], "values": [0.5, None]}
    assert len(list(of_series({"one": one, "two": two}, width=60))) == 1
    assert drawn("none", [1, 2], [math.nan, math.nan])[0] == "none  nan"
