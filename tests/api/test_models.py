"""Models over HTTP: posted once, shown in every form, named by jobs."""

import torch

from api import examples
from services.identifiers import new_id

MLP = examples.MODELS["sequential"]["value"]
JOB = examples.REQUESTS["short"]["value"]


def test_the_same_content_is_the_same_model(client):
    first = client.post("/v1/models", json=MLP)
    again = client.post("/v1/models", json=dict(reversed(MLP.items())))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == f"/v1/models/{first.json()['id']}"
    assert first.json()["parameters"] == {"total": 9610, "trainable": 9610}
    assert first.json()["definition"] == MLP


def test_every_example_is_accepted(client):
    for example in examples.MODELS.values():
        assert client.post("/v1/models", json=example["value"]).status_code == 201


def test_the_source_runs_alone_and_draws_the_same_weights(client):
    model = client.post("/v1/models", json=MLP).json()
    answer = client.get(model["links"]["source"])
    assert answer.headers["content-type"].startswith("text/x-python")
    assert "services" not in answer.text
    namespace: dict = {"__name__": "downloaded"}
    exec(answer.text, namespace)
    torch.manual_seed(3)
    theirs = namespace["build_model"]()
    torch.manual_seed(3)
    ours = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))


def test_the_summary_is_the_tree_with_shapes_and_counts(client):
    model = client.post("/v1/models", json=MLP).json()
    tree = client.get(model["links"]["summary"]).json()["tree"]
    assert [child["type"] for child in tree["children"]] == ["Linear", "ReLU", "Linear"]
    assert tree["children"][0]["calls"] == [{"inputs": [["B", 64]], "outputs": [["B", 128]]}]
    text = client.get(f"{model['links']['summary']}?format=text").text
    assert "(2): Linear(in_features=128, out_features=10, bias=True)   [B, 128] → [B, 10]" in text
    assert text.endswith("9,610 parameters, 9,610 of them trainable\n")


def test_validate_keeps_nothing_and_tells_every_problem(client, problem):
    sound = client.post("/v1/models/validate", json=MLP)
    assert (sound.status_code, sound.json()["valid"]) == (200, True)
    assert client.get("/v1/models").json()["data"] == []
    bad = {"format": "model/1", "model": "Sequential(Linaer(64, 128), Rellu(), Linear(128, 10))"}
    found = problem(client.post("/v1/models/validate", json=bad), 422)
    assert [one["code"] for one in found["errors"]] == ["unknown_type", "unknown_type"]
    assert [one["pointer"] for one in found["errors"]] == ["/model", "/model"]
    assert "Linear" in found["errors"][0]["hint"]
    assert found["errors"][1]["column"] == 29


def test_a_job_may_name_a_model(client, problem):
    model = client.post("/v1/models", json=MLP).json()
    named = client.post("/v1/jobs?validate_only=true", json={**JOB, "model": model["id"]})
    assert named.status_code == 200
    assert named.json()["resolved"]["definition"] == MLP
    absent = problem(client.post("/v1/jobs", json={**JOB, "model": new_id("mdl")}), 422)
    assert (absent["code"], absent["errors"][0]["pointer"]) == ("unknown_model", "/model")


def test_lists_go_page_by_page(client):
    posted = []
    for width in (3, 4, 5):
        posted.append(client.post("/v1/models", json={"model": f"Linear({width}, 1)"}).json()["id"])
    page = client.get("/v1/models?limit=2").json()
    rest = client.get(f"/v1/models?limit=2&after={page['last_id']}").json()
    assert sorted(one["id"] for one in page["data"] + rest["data"]) == sorted(posted)
    assert (page["has_more"], rest["has_more"]) == (True, False)


def test_another_tenants_model_does_not_exist(make_caller, problem):
    owner, other = make_caller(), make_caller()
    model = owner.client.post("/v1/models", json=MLP).json()
    for path in ("", "/source", "/summary"):
        theirs = problem(other.client.get(f"/v1/models/{model['id']}{path}"), 404)
        nobodys = problem(other.client.get(f"/v1/models/{new_id('mdl')}{path}"), 404)
        assert {**theirs, "request_id": ""} == {**nobodys, "request_id": ""}
    stolen = problem(other.client.post("/v1/jobs", json={**JOB, "model": model["id"]}), 422)
    assert stolen["code"] == "unknown_model"
    assert other.client.post("/v1/models", json=MLP).json()["id"] != model["id"]


def test_an_edit_makes_a_new_model_and_says_which_weights_carry_over(client):
    old = client.post("/v1/models", json=MLP).json()
    made = client.post(old["links"]["edit"], json=examples.EDITS["head"]["value"])
    assert made.status_code == 201
    new = made.json()["model"]
    assert made.headers["location"] == f"/v1/models/{new['id']}"
    assert new["id"] != old["id"]
    assert new["parameters"] == {"total": 64 * 128 + 128 + 128 * 5 + 5, "trainable": 128 * 5 + 5}
    weights = made.json()["weights"]
    assert (weights["carried"]["0"], weights["new"], weights["dropped"]) == ("0", ["2"], ["2"])
    assert client.get(old["links"]["self"]).json()["definition"] == MLP


def test_layers_are_added_and_removed_by_path(client):
    old = client.post("/v1/models", json=MLP).json()
    operations = [
        {"op": "add", "path": "", "module": "Dropout(0.5)", "at": 2},
        {"op": "add", "path": "", "module": "BatchNorm1d(128)", "at": 1},
        {"op": "remove", "path": "3"},
    ]
    made = client.post(old["links"]["edit"], json={"operations": operations}).json()
    text = client.get(f"{made['model']['links']['summary']}?format=text").text
    assert [line.strip().split("(")[1].split(")")[0] for line in text.splitlines() if line.startswith("  (")] == list(
        "0123"
    )
    assert made["weights"]["carried"]["3"] == "2"


def test_every_path_of_a_summary_can_be_edited_also_what_a_loop_and_a_macro_made(client):
    block = {"parameters": ["size"], "init": [{"a": "Linear(size, size)"}], "forward": ["return x + self.a(x)"]}
    net = {
        "init": [{"for": "i in range(2)", "do": [{"stage{i}": "stage(2)"}]}],
        "forward": ["return self.stage1(self.stage0(x))"],
    }
    stage = {"parameters": ["depth"], "returns": "Sequential(*[Block(4) for i in range(depth)])"}
    document = {
        "modules": {"Block": block, "stage": stage, "Net": net},
        "model": "Net()",
        "inputs": [{"name": "x", "shape": ["B", 4]}],
    }
    old = client.post("/v1/models", json=document).json()
    shown = client.get(old["links"]["summary"]).json()["tree"]["children"][1]["children"][0]["children"][0]
    assert shown["path"] == "stage1.0.a"
    operations = [{"op": "replace", "path": shown["path"], "module": "Linear(4, 4, bias=False)"}]
    made = client.post(old["links"]["edit"], json={"operations": operations})
    assert made.status_code == 201, made.text
    assert made.json()["model"]["parameters"]["total"] == old["parameters"]["total"] - 4
    assert made.json()["weights"]["new"] == ["stage1.0.a"]
    assert made.json()["weights"]["carried"]["stage1.1.a"] == "stage1.1.a"


def test_an_edit_that_does_not_fit_is_refused_with_the_operation_or_the_layer(client, problem):
    old = client.post("/v1/models", json=MLP).json()
    unknown = problem(client.post(old["links"]["edit"], json={"operations": [{"op": "remove", "path": "7"}]}), 422)
    assert unknown["errors"][0]["pointer"].startswith("/operations/0")
    narrow = {"operations": [{"op": "replace", "path": "0", "module": "Linear(64, 100)"}]}
    assert problem(client.post(old["links"]["edit"], json=narrow), 422)["code"] == "shape_mismatch"
    assert problem(client.post(old["links"]["edit"], json={"operations": []}), 422)["code"] == "out_of_range"
