"""Every example of the page on static graphs: what it says becomes of branches, loops and a plan."""

import json
import re
from pathlib import Path

import pytest
import torch

from services.definition import check
from services.modules.graph.inputs import given_inputs
from services.modules.graph.subject import build_subject
from services.modules.static.capture import capture
from services.training.schema import TrainingPlan

PAGE = (Path(__file__).parents[2] / "docs" / "static-graphs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```json ([^\n]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CAPTURES = [(note, json.loads(text)) for note, text in BLOCKS if note.startswith("capture")]
PLANS = [json.loads(text) for note, text in BLOCKS if note == "train"]


@pytest.mark.parametrize(("note", "request_"), CAPTURES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_capture_of_the_page_goes_as_it_says(note, request_):
    definition = check(request_["model"])
    inputs = given_inputs(request_["inputs"], torch.float32)
    subject = build_subject(
        definition, inputs, weights=None, training=True, seed=0, dtype=torch.float32, max_parameters=None
    )
    report = capture(definition, subject)
    (loop,) = report["loops"]
    if note == "capture":
        assert report["captured"] is True
        assert (loop["became"], loop["turns"]) == ("while_loop", [2])
        assert [one["became"] for one in report["branches"]] == ["cond"]
        assert "while_loop" in report["graph"]["code"]
    else:
        assert (report["captured"], loop["became"]) == (False, "python")
        assert [one["pointer"] for one in report["breaks"]] == ["/modules/Impatient/forward/0/do/1"]


def test_the_plan_of_the_page_is_one():
    rest = {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "CrossEntropyLoss"}}
    for plan in PLANS:
        assert TrainingPlan.model_validate({**rest, **plan}).execution == "static"
    assert len(PLANS) == 1
