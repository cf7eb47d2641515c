"""Axes and places of parallel coordinates, and their picture."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from services.pictures.parallel import draw
from services.sweeps.coordinates import parallel_coordinates
from tests.services.sweeps.harness import LR, Rig, rate

SPACE: dict[str, Any] = {
    LR: {"log_uniform": [0.0001, 0.5]},
    "/training/epochs": {"int": [2, 4]},
    "/training/optimizer/momentum": {"uniform": [0, 0.9], "points": 4},
    "/training/optimizer/nesterov": {"choice": [False]},
}


@pytest.fixture
def document(rig: Rig) -> dict[str, Any]:
    sweep_id = rig.create(name="a <name> & more", strategy="random", space=SPACE, budget={"trials": 4, "parallel": 4})
    rig.advance(sweep_id)
    broken = rig.claim()
    assert broken is not None
    rig.fail(broken)
    rig.run(sweep_id, rate)
    with rig.database.read_session() as session:
        return parallel_coordinates(session, tenant_id=rig.tenant_id, sweep_id=sweep_id)


def test_ticks_are_values_that_the_field_takes_and_powers_of_ten(document: dict[str, Any]) -> None:
    shown = {axis["label"]: [tick["label"] for tick in axis["ticks"]] for axis in document["dimensions"]}
    assert shown["lr"] == ["0.0001", "0.001", "0.01", "0.1", "0.5"]
    assert shown["epochs"] == ["2", "3", "4"]
    assert shown["momentum"] == ["0.0", "0.3", "0.6", "0.9"]
    assert shown["nesterov"] == ["false"]
    assert [axis["type"] for axis in document["dimensions"]] == ["number", "integer", "number", "category", "number"]


def test_every_place_lies_on_its_axis(document: dict[str, Any]) -> None:
    for line in document["lines"]:
        assert all(0 <= place <= 1 for place in line["positions"] if place is not None)
    reached = [line for line in document["lines"] if line["positions"][-1] is not None]
    assert sorted(line["positions"][-1] for line in reached)[0::2] == [0.0, 1.0]
    assert {line["positions"][3] for line in document["lines"]} == {0.5}


def test_the_best_trial_is_drawn_last_and_those_without_a_value_are_dashed(document: dict[str, Any]) -> None:
    root = ElementTree.fromstring(draw(document))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
    assert [line.get("stroke-dasharray") is not None for line in lines] == [True, False, False, False]
    assert (lines[-1].get("stroke"), lines[-1].get("stroke-width")) == ("#b3261e", "3")
    best = min(
        (line for line in document["lines"] if line["values"][-1] is not None), key=lambda line: line["values"][-1]
    )
    title = lines[-1].find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text == f"trial {best['trial']}: {best['values'][-1]:.6g}"
    assert "a <name> & more" in "".join(root.itertext())


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        {LR: {"uniform": [0.5, 0.5]}},
        {"/training/optimizer/weight_decay": {"uniform": [0, 5e-324]}, LR: {"uniform": [1e-3, 1e6]}},
    ],
)
def test_a_sweep_that_has_only_begun_can_be_drawn(rig: Rig, space: dict[str, Any]) -> None:
    sweep_id = rig.create(strategy="tpe", space=space, budget={"trials": 1})
    rig.advance(sweep_id)
    assert rig.states(sweep_id) == ["submitted"]
    with rig.database.read_session() as session:
        found = parallel_coordinates(session, tenant_id=rig.tenant_id, sweep_id=sweep_id)
    assert [line["positions"][-1] for line in found["lines"]] == [None]
    ElementTree.fromstring(draw(found))
