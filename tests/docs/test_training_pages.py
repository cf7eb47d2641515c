"""Every request of the page on losses and metrics is resolved, tried as before the queue, and trained."""

import json
import re
from pathlib import Path

import pytest

from services.datasets.catalog import get_builtin
from services.definition import check
from services.errors import InvalidRequest
from services.modules import preflight
from services.training.fit import check_fit
from services.training.resolve import preflight_inputs, preflight_objective, resolve
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan
from tests.worker.trainer.harness import train
from worker.trainer.standalone import job_from_request

PAGE = Path(__file__).parents[2] / "docs" / "training-losses-and-metrics.md"
BLOCKS = re.findall(r"^```json([^\n]*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
EXAMPLES = [json.loads(text) for note, text in BLOCKS if not note]
REFUSED = [(note.strip().removeprefix("refused="), json.loads(text)) for note, text in BLOCKS if note]


def as_before_the_queue(request):
    """Resolve a request and try it, as the service does; return the resolved sections."""
    definition = check(request["model"], pointer="/model")
    sections = resolve(
        data=DataSection.model_validate(request["data"]),
        training=TrainingPlan.model_validate(request["training"]),
        checkpoints=CheckpointPolicy(),
        dataset=get_builtin(request["data"]["dataset"]),
        definition=definition,
    )
    objective = preflight_objective(sections)
    check_fit(sections, preflight(definition, preflight_inputs(sections), objective=objective, pointer="/model"))
    return sections


def test_the_page_shows_each_kind():
    losses = [request["training"]["loss"] for request in EXAMPLES]
    assert {loss.get("type", "terms") for loss in losses} >= {"GaussianNLLLoss", "TripletMarginLoss", "terms"}
    assert len(REFUSED) == 2


@pytest.mark.parametrize("request_", EXAMPLES, ids=lambda request: str(request["training"]["loss"])[:40])
def test_an_example_passes_its_checks_and_trains(request_, tmp_path):
    sections = as_before_the_queue(request_)
    line = train({**job_from_request(request_, tmp_path), "output": str(tmp_path / "output"), "threads": 1})
    assert line.last == {**line.last, "event": "finished", "outcome": "succeeded"}
    terms = [f"loss/{name}" for name in request_["training"]["loss"].get("terms", ())]
    names = ["loss", *terms, *(metric["name"] for metric in sections["training"]["metrics"])]
    assert {f"validation/{name}" for name in names} <= line.last_latest.keys()


@pytest.mark.parametrize(("code", "request_"), REFUSED, ids=[code for code, _ in REFUSED])
def test_a_refused_example_is_refused_as_the_page_says(code, request_):
    with pytest.raises(InvalidRequest) as caught:
        as_before_the_queue(request_)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert problem.pointer.startswith("/training/loss/terms/")
    assert problem.column
    assert problem.hint
