"""``/v1/graphs/capture`` and ``/compare`` over HTTP: the article's static graph, and what breaks one."""

import threading
from xml.etree import ElementTree

import pytest

from api import dependencies, examples
from services.forkserver import ForkServer
from services.modules.static.run import run_capture

pytestmark = pytest.mark.timeout(300)
FANCY = examples.CAPTURES["fancy"]["value"]
BREAKS = examples.CAPTURES["breaks"]["value"]
MLP = examples.COMPARISONS["mlp"]["value"]


@pytest.fixture(scope="module", autouse=True)
def _loaded(url, app):
    """The compiler is loaded before the first request: how long that takes on a busy machine is not what is tested."""
    assert app.state.parts.static._server.wait_ready()["ready"]


def test_fancymlp_is_captured_whole_with_its_loop_and_its_branch(client):
    report = client.post("/v1/graphs/capture", json=FANCY, timeout=170).json()
    assert report["captured"] is True, report
    assert [(one["means"], one["captured"], one["max_abs_difference"]) for one in report["means"]] == [
        ("torch.compile(fullgraph=True)", True, 0.0),
        ("torch.export", True, 0.0),
    ]
    (branch,), (loop,) = report["branches"], report["loops"]
    assert (branch["became"], branch["pointer"]) == ("cond", "/modules/FancyMLP/forward/4")
    assert (loop["became"], loop["pointer"]) == ("while_loop", "/modules/FancyMLP/forward/3")
    gradient = {"captured": True, "reason": None, "torch": None, "max_abs_difference": 0.0, "zero_for_none": 0}
    assert report["gradient"] == gradient
    assert (report["same_shapes"]["ran"], report["same_shapes"]["max_abs_difference"]) == (True, 0.0)
    assert report["other_batch"]["size"] == 3
    assert report["other_batch"]["frozen"]["ran"] is False
    assert report["other_batch"]["frozen"]["reason"].startswith(
        "tensor 'x' size mismatch at index 0. expected 2, actual 3"
    )
    assert (report["other_batch"]["free"]["ran"], report["other_batch"]["free"]["max_abs_difference"]) == (True, 0.0)
    graph = report["graph"]
    used = {part for one in graph["operations"] for part in one["arguments"]["subgraphs"]}
    assert used and used <= graph["subgraphs"].keys()
    (cond,) = [one for one in graph["operations"] if one["name"] == "cond"]
    assert cond["pointer"] == "/modules/FancyMLP/forward/4"
    assert "while_loop" in graph["code"]


def test_a_capture_that_breaks_says_where_why_and_what_to_do(client):
    report = client.post("/v1/graphs/capture", json=BREAKS, timeout=170).json()
    assert (report["captured"], report["gradient"], report["other_batch"]) == (False, None, None)
    (found,) = report["breaks"]
    assert found["pointer"] == "/modules/Impatient/forward/0/do/1"
    assert found["source"] == "if x.norm() < 1:"
    assert found["reason"].startswith("A branch depends on the value of a tensor")
    assert "no return inside a loop" in found["hint"]
    (loop,) = report["loops"]
    assert (loop["became"], loop["reason"]) == ("python", "a return inside a loop")
    assert "site-packages" not in str(report)


def test_a_comparison_measures_both_and_tries_the_changes(client):
    report = client.post("/v1/graphs/compare", json=MLP, timeout=170).json()
    assert report["steps_measured"] >= 5
    for form in ("dynamic", "static"):
        times = report[form]["step_seconds"]
        assert 0 < times["least"] <= times["lower_quartile"] <= times["median"] <= times["upper_quartile"]
    assert report["static"]["build_seconds"] > report["dynamic"]["build_seconds"]
    if report["faster"] != "static":
        assert report["break_even_steps"] is None
    assert report["max_abs_difference"] == 0.0
    batch, branch, layer = report["changes"]
    assert (batch["dynamic"]["ran"], batch["static"]["ran"]) == (True, False)
    assert "expected 64, actual 65" in batch["static"]["reason"]
    assert (branch["tried"], branch["reason"]) == (None, "No branch or loop of this definition depends on data.")
    assert (layer["dynamic"]["ran"], layer["static"]["ran"]) == (True, False)
    ElementTree.fromstring(report["picture"]["svg"])


def test_a_definition_without_a_static_graph_cannot_be_compared(client, problem):
    found = problem(client.post("/v1/graphs/compare", json=BREAKS, timeout=170), 422)
    assert found["code"] == "not_capturable"
    assert found["errors"][0]["pointer"] == "/model/modules/Impatient/forward/0/do/1"
    assert "if x.norm() < 1" in found["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"measure_seconds": 0}, "/measure_seconds"),
        ({"measure_seconds": "4"}, "/measure_seconds"),
        ({"model": None}, "/model"),
        ({"checkpoint": "ckpt_1"}, "/model"),
        ({"limits": {}}, "/limits"),
        ({"inputs": {"y": 1}}, "/inputs/y"),
        ({"inputs": {"x": [[1.0], [1.0, 2.0]]}}, "/inputs/x/1"),
    ],
)
def test_garbage_is_refused_with_its_place(client, problem, change, pointer):
    found = problem(client.post("/v1/graphs/compare", json={**MLP, **change}, timeout=170), 422)
    assert pointer in [one["pointer"] for one in found["errors"]]


def test_a_forward_that_fails_dynamically_is_explained_as_everywhere(client, problem):
    wrong = {"model": "Sequential(Linear(4, 8), Linear(9, 2))", "inputs": {"x": [[1.0, 2.0, 3.0, 4.0]]}}
    found = problem(client.post("/v1/graphs/capture", json=wrong, timeout=170), 422)
    assert found["code"] == "shape_mismatch"
    assert "set in_features=8" in found["errors"][0]["hint"]


def test_a_second_one_is_told_to_come_back_and_keeps_no_submission_waiting(app, client, problem, monkeypatch):
    monkeypatch.setattr(dependencies, "STATIC_SLOT_SECONDS", 0.05)
    slots = app.state.static_slots
    assert slots._value == 1
    slots._value = 0
    try:
        found = client.post("/v1/graphs/capture", json=FANCY, timeout=170)
        assert client.post("/v1/models/validate", json={"model": "Linear(3, 2)"}, timeout=15).status_code == 200
    finally:
        slots._value = 1
    assert problem(found, 503)["detail"].startswith("Another graph is being captured")
    assert found.headers["retry-after"] == "5"


def test_a_compiler_that_takes_long_to_load_is_said_and_goes_on_loading(client, problem, monkeypatch):
    monkeypatch.setattr(ForkServer, "ready_within", lambda self, seconds: False)
    found = client.post("/v1/graphs/compare", json=MLP, timeout=170)
    assert problem(found, 503)["detail"].startswith("torch's compiler is still being loaded")
    assert found.headers["retry-after"] == "5"


def test_one_that_does_not_end_in_time_is_refused(app, client, problem, monkeypatch):
    parts = app.state.parts
    monkeypatch.setattr(type(parts), "settings", _short(parts.settings), raising=False)
    found = problem(client.post("/v1/graphs/capture", json=FANCY, timeout=170), 422)
    assert (found["code"], found["detail"]) == ("model_too_large", "Trying this model does not end within 0.05 s.")


def _short(settings):
    from dataclasses import replace

    return replace(settings, static_timeout_seconds=0.05)


def test_the_target_never_raises_on_a_document_that_is_no_definition():
    said = []
    channel = type("Channel", (), {"emit": lambda self, event: said.append(event)})()
    assert threading.current_thread() is threading.main_thread()
    payload = {"document": {"model": "Nope()"}, "pointer": "/model"}
    assert run_capture(payload, channel) == 0
    assert said[0]["problems"][0]["code"] == "unknown_type"
