"""What a comparison says of times that are known: who is faster, and from which step on building has paid."""

from services.graphs.static import picture
from services.modules.static.compare import break_even, faster

STEADY = [0.010 + 0.001 * (index % 7) for index in range(100)]


def form(build, median):
    return {"build_seconds": build, "step_seconds": {"median": median}, "backend": "eager"}


def test_a_form_is_faster_only_where_it_wins_more_often_than_by_chance():
    assert faster(STEADY, [0.9 * one for one in STEADY]) == "static"
    assert faster([0.9 * one for one in STEADY], STEADY) == "dynamic"
    turns = [one * (1.2 if index % 2 else 0.8) for index, one in enumerate(STEADY)]
    assert faster(STEADY, turns) is None
    assert faster(STEADY, [*[0.9 * one for one in STEADY[:63]], *[1.1 * one for one in STEADY[63:]]]) == "static"
    assert faster(STEADY, [*[0.9 * one for one in STEADY[:62]], *[1.1 * one for one in STEADY[62:]]]) is None
    assert faster(STEADY[:5], [0.9 * one for one in STEADY[:5]]) is None


def test_break_even_is_the_step_at_which_the_building_is_earned():
    assert break_even(form(0.5, 0.010), form(2.0, 0.007)) == 500
    assert break_even(form(0.5, 0.007), form(2.0, 0.007)) is None
    assert break_even(form(2.0, 0.010), form(0.5, 0.007)) == 0


def test_the_picture_says_from_what_its_lines_are_made_and_where_they_cross():
    report = {"dynamic": form(0.5, 0.010), "static": form(2.0, 0.007), "steps_measured": 100, "device": "cpu"}
    svg = picture({**report, "faster": "static", "break_even_steps": 500})
    assert "break-even: 500 steps" in svg
    assert "building + steps × median of 100 each, made in turns; cpu, backend eager<" in svg
    assert "no break-even<" in picture({**report, "faster": "dynamic", "break_even_steps": None})
    assert "no clear difference<" in picture({**report, "faster": None, "break_even_steps": None})
