"""``/v1/graphs`` over HTTP: the article's example to the last digit, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from api import examples
from modelwright import Client, errors
from services.checkpoints import service as checkpoints
from services.checkpoints import writer
from tests.factories import RESOLVED, add_job, claim

PRODUCT = examples.MODELS["graph"]["value"]
ARTICLE = {"model": PRODUCT, "inputs": {"x1": 1.0, "x2": 3.0}, "gradients": {}}


@pytest.fixture(scope="module", autouse=True)
def torch_is_loaded(app, url):
    """The first question waits until the fork server has imported torch: on a busy machine longer than a client."""
    app.state.parts.preflight._server.wait_ready()


@pytest.fixture
def problem():
    from tests.api.conftest import problem_of

    return problem_of


def test_every_example_of_the_document_is_answered(client):
    for example in examples.GRAPHS.values():
        answer = client.post("/v1/graphs", json=example["value"])
        assert answer.status_code == 200, answer.text
        assert answer.json()["object"] == "graph"


def test_the_gradient_of_the_articles_example_is_the_sum_over_its_two_paths(client):
    graph = client.post("/v1/graphs", json=ARTICLE).json()
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    values = {node["name"]: node["value"] for node in graph["nodes"]}
    assert values == {"x1": 1.0, "x2": 3.0, "w": 2.0, "a": 3.0, "b": 5.0, "y": 15.0}
    assert [
        (one["name"], [names[i] for i in one["inputs"]], names[one["outputs"][0]]) for one in graph["operations"]
    ] == [
        ("add", ["x1", "w"], "a"),
        ("add", ["x2", "w"], "b"),
        ("mul", ["a", "b"], "y"),
    ]
    w = next(leaf for leaf in graph["gradients"]["leaves"] if leaf["name"] == "w")
    assert w["autograd"]["value"] == 8.0
    assert [(path["text"], path["contribution"]["value"]) for path in w["paths"]["items"]] == [
        ("y → a → w", 5.0),
        ("y → b → w", 3.0),
    ]
    assert [
        [(step["name"], step["formula"], step["derivative"]) for step in path["steps"]] for path in w["paths"]["items"]
    ] == [
        [("∂y/∂a", "b", 5.0), ("∂a/∂w", "1", 1.0)],
        [("∂y/∂b", "a", 3.0), ("∂b/∂w", "1", 1.0)],
    ]
    assert (w["check"]["sum_of_paths"], w["check"]["autograd"]) == (8.0, 8.0)
    assert w["check"]["finite_difference"] == pytest.approx(8.0, abs=1e-7)
    assert w["paths"]["left_out"] == {"count": 0, "reason": None, "sum": None}


def test_two_runs_of_one_definition_differ_in_the_turns_of_its_loop(client):
    made = client.post("/v1/graphs/diff", json=examples.GRAPH_DIFFS["fancy"]["value"]).json()
    assert made["same"] is False
    (loop,) = made["differences"]["loops"]
    assert loop["pointer"] == "/modules/FancyMLP/forward/3"
    assert loop["turns"] == [run["loops"][0]["turns"] for run in made["runs"]]
    assert loop["turns"][0] < loop["turns"][1]
    halving = next(row for row in made["differences"]["operations"] if row["name"] == "div")
    assert halving["counts"] == loop["turns"]


def test_rows_of_a_data_set_are_what_is_run(client):
    body = {"model": "Linear(64, 2)", "data": {"dataset": "digits", "rows": [0, 5], "part": "train"}}
    graph = client.post("/v1/graphs", json=body).json()
    assert graph["nodes"][0]["shape"] == [2, 64]
    assert 0.0 <= graph["nodes"][0]["summary"]["min"] < graph["nodes"][0]["summary"]["max"] <= 1.0


def test_a_graph_is_drawn_in_the_form_that_is_asked_for(client):
    svg = client.post("/v1/graphs?format=svg", json=ARTICLE)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.text.startswith(("<svg", "<?xml"))
    dot = client.post("/v1/graphs", json=ARTICLE, headers={"Accept": "text/vnd.graphviz, application/json;q=0.5"})
    assert dot.headers["content-type"] == "text/vnd.graphviz; charset=utf-8"
    assert dot.text.startswith("digraph")
    mermaid = client.post("/v1/graphs?format=mermaid", json=ARTICLE)
    assert mermaid.headers["content-type"] == "application/vnd.mermaid"
    assert client.post("/v1/graphs", json=ARTICLE, headers={"Accept": "*/*"}).json()["object"] == "graph"


def test_a_picture_that_cannot_be_folded_so_names_the_parameter(client, problem):
    found = problem(client.post("/v1/graphs?format=svg&collapse=depth:x", json=ARTICLE), 422)
    assert (found["errors"][0]["parameter"], found["code"]) == ("collapse", "collapse_invalid")


def test_a_kept_model_has_a_graph_of_small_samples(client, problem):
    model = client.post("/v1/models", json=examples.MODELS["sequential"]["value"]).json()
    graph = client.get(model["links"]["graph"])
    assert [one["name"] for one in graph.json()["operations"]] == ["linear", "relu", "linear"]
    assert graph.json()["nodes"][0]["shape"] == [2, 64]
    again = client.get(model["links"]["graph"], headers={"If-None-Match": graph.headers["etag"]})
    assert again.status_code == 304
    flow = client.get(f"{model['links']['graph']}?gradients=true&mode=eval").json()
    assert flow["gradients"]["check"]["agrees"] is True
    product = client.post("/v1/models", json=PRODUCT).json()
    refused = problem(client.get(product["links"]["graph"]), 422)
    assert refused["code"] == "inputs_required"
    assert '"name": "x1"' in refused["errors"][0]["hint"]


def test_rows_of_an_own_data_set_are_read_from_where_they_are_stored(client, problem):
    table = b"a,b,label\n" + b"".join(b"%d.5,%d,%d\n" % (row, row * row, row % 2) for row in range(50))
    made = client.post("/v1/datasets", params={"format": "csv"}, content=table, headers={"Content-Type": "text/csv"})
    data = {"dataset": made.json()["id"], "rows": [49, 0, 7], "inputs": ["a"]}
    body = {"model": net(["return a * 2"], ["a"]), "data": data}
    graph = client.post("/v1/graphs", json=body).json()
    assert graph["nodes"][0]["value"] == [49.5, 0.5, 7.5]
    beyond = {**body, "data": {**data, "rows": [3, 50]}}
    refused = problem(client.post("/v1/graphs", json=beyond), 422)
    assert [(one["code"], one["pointer"]) for one in refused["errors"]] == [("out_of_range", "/data/rows/1")]
    unknown = {**body, "data": {**data, "inputs": ["c"], "dataset": "ds_" + "0" * 26}}
    assert problem(client.post("/v1/graphs", json=unknown), 422)["code"] == "unknown_dataset"


def test_a_checkpoint_is_run_with_its_weights(caller, database, tmp_path, problem):
    definition = {"format": "model/1", "model": "Linear(2, 1)"}
    add_job(database, caller.tenant_id, priority=60, resolved={**RESOLVED, "definition": definition})
    owned = claim(database)
    content = safetensors({"weight": [[1.0, 2.0]], "bias": [0.5]})
    (tmp_path / checkpoints.WEIGHTS).write_bytes(content)
    snapshot = writer.Snapshot(tmp_path, (checkpoints.WEIGHTS,), step=1, epoch=1, final=True, metrics={})
    identifier = writer.store(database, owned, snapshot, keep=3)
    body = {"checkpoint": identifier, "inputs": {"x": [[10.0, 100.0]]}, "gradients": {"of": ["weight"]}}
    graph = caller.client.post("/v1/graphs", json=body).json()
    assert graph["nodes"][-1]["value"] == [[210.5]]
    assert graph["gradients"]["leaves"][0]["autograd"]["value"] == [[10.0, 100.0]]
    elsewhere = problem(caller.client.post("/v1/graphs", json={**body, "checkpoint": "ckpt_" + "0" * 26}), 422)
    assert (elsewhere["code"], elsewhere["errors"][0]["pointer"]) == ("unknown_checkpoint", "/checkpoint")


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"model": [1]}, "model_type", "/model"),
        ({"model": "mdl_short"}, "invalid_id", "/model"),
        ({"model": None, "checkpoint": "ckpt_short"}, "invalid_id", "/checkpoint"),
        ({"gradients": {"output": [1]}}, "string_type", "/gradients/output"),
        ({"model": None}, "missing", "/model"),
        ({"checkpoint": "ckpt_0"}, "extra_forbidden", "/model"),
        ({"model": "mdl_" + "0" * 26}, "unknown_model", "/model"),
        ({"model": "Linear(1, 0.5)"}, "int_type", "/model"),
        ({"model": "Sequential(Linear(3, 2))", "inputs": {"x": [[1.0]]}}, "shape_mismatch", "/model"),
        ({"data": {"dataset": "digits", "rows": [0]}}, "extra_forbidden", "/data"),
        ({"inputs": None}, "inputs_required", "/inputs"),
        ({"inputs": {"x1": 1.0}}, "missing", "/inputs"),
        ({"inputs": {"x1": 1.0, "x2": 1.0, "x3": 1.0}}, "unknown_input", "/inputs/x3"),
        ({"mode": "training"}, "unknown_value", "/mode"),
        ({"dtype": "float16"}, "unknown_value", "/dtype"),
        ({"gradients": {"of": []}}, "out_of_range", "/gradients/of"),
        ({"gradients": {"of": ["v"]}}, "unknown_leaf", "/gradients/of/0"),
        ({"gradients": {"paths": {"limit": 201}}}, "out_of_range", "/gradients/paths/limit"),
        ({"gradients": True}, "dict_type", "/gradients"),
        ({"limits": {"operations": 0}}, "out_of_range", "/limits/operations"),
        ({"depth": 3}, "extra_forbidden", "/depth"),
    ],
)
def test_a_request_that_is_wrong_says_where(client, problem, change, code, pointer):
    body = {name: value for name, value in {**ARTICLE, **change}.items() if value is not None}
    refused = problem(client.post("/v1/graphs", json=body), 422)
    assert (refused["code"], refused["errors"][0]["pointer"]) == (code, pointer)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("memory", ["y = torch.zeros(100000, 100000) + x", "return y.sum()"]),
        ("time", [{"for": "i in range(900000)", "do": ["x = x + 1"]}, "return x"]),
    ],
)
def test_a_bomb_ends_at_its_limits_and_the_service_goes_on(client, problem, app, name, body):
    refused = problem(client.post("/v1/graphs", json={"model": net(body, ["x"]), "inputs": {"x": 1.0}}), 422)
    assert refused["code"] == "model_too_large", refused
    assert client.post("/v1/graphs", json=ARTICLE).status_code == 200


def test_the_client_asks_for_graphs_pictures_and_differences(caller):
    with Client(str(caller.client.base_url), caller.key) as asking:
        graph = asking.graph(PRODUCT, {"x1": 1.0, "x2": float("nan")}, gradients=["w"])
        assert graph["first_non_finite"]["given"] == ["n1"]
        assert [leaf["name"] for leaf in graph["gradients"]["leaves"]] == ["w"]
        assert "<svg" in asking.graph_picture(PRODUCT, {"x1": 1.0, "x2": 3.0}, gradients=True)
        fancy = examples.GRAPH_DIFFS["fancy"]["value"]
        assert asking.graph_diff(fancy["model"], fancy["runs"])["same"] is False
        kept = asking.create_model(examples.MODELS["sequential"]["value"])
        assert asking.model_graph(kept["id"], gradients=True)["gradients"]["check"]["agrees"] is True
        with pytest.raises(errors.InvalidRequest) as caught:
            asking.graph(PRODUCT, {"x1": [[1.0], [2.0, 3.0]], "x2": 1.0})
        assert caught.value.problems[0].pointer == "/inputs/x1/1"


def net(body, arguments):
    return {"modules": {"Net": {"forward": {"arguments": arguments, "body": body}}}, "model": "Net()"}


def safetensors(tensors):
    """A file of float32 tensors, written by hand."""
    header, data = {}, b""
    for name, value in tensors.items():
        array = np.array(value, dtype="<f4")
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```json post=(/v1/graphs\S*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("path", "text"), SHOWN, ids=[path for path, _ in SHOWN])
def test_an_example_of_the_http_page_is_answered_as_the_page_says(client, path, text):
    answer = client.post(path, json=json.loads(text)).json()
    if path == "/v1/graphs":
        (w,) = answer["gradients"]["leaves"]
        assert [one["contribution"]["value"] for one in w["paths"]["items"]] == [5.0, 3.0]
    else:
        assert [row["turns"] for row in answer["differences"]["loops"]] == [[0, 6]]
        assert answer["differences"]["branches"][0]["taken"] == [["then"], ["else"]]


def test_the_http_page_shows_both_calls():
    assert [path for path, _ in SHOWN] == ["/v1/graphs", "/v1/graphs/diff"]


def test_graphs_that_take_their_time_keep_no_submission_waiting(client, app):
    """With every place for graphs taken, a model is still checked at once."""
    slots = app.state.graph_slots
    taken = 0
    while not slots.locked():
        assert slots._value > 0
        slots._value -= 1
        taken += 1
    try:
        assert client.post("/v1/models/validate", json={"model": "Linear(3, 2)"}, timeout=15).status_code == 200
    finally:
        slots._value += taken
