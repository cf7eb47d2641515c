"""``/v1/graphs`` over HTTP: the article's example to the last digit, and what is refused."""

import pytest

from api import examples

PRODUCT = examples.MODELS["graph"]["value"]
ARTICLE = {"model": PRODUCT, "inputs": {"x1": 1.0, "x2": 3.0}, "gradients": {}}


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
