"""The catalog over HTTP."""


def test_the_catalog_lists_every_kind_with_a_doc(client):
    entries = client.get("/v1/catalog").json()["data"]
    kinds = {entry["kind"] for entry in entries}
    assert kinds == {
        "layer",
        "loss",
        "function",
        "initialiser",
        "method",
        "optimizer",
        "scheduler",
        "metric",
        "transform",
        "dataset",
    }
    assert len({entry["name"] for entry in entries}) == len(entries) > 800
    assert [entry["name"] for entry in entries if not entry["doc"]] == []


def test_an_entry_has_the_schema_of_its_arguments(client):
    entry = client.get("/v1/catalog/Conv2d").json()
    assert entry["schema"]["required"] == ["in_channels", "out_channels", "kernel_size"]
    assert client.get("/v1/catalog/F.relu").json()["schema"]["properties"]["inplace"]["default"] is False
    assert client.get("/v1/catalog/digits").json()["schema"]["rows"] == 1797
    assert client.get("/v1/catalog/Adam").json()["kind"] == "optimizer"


def test_kind_and_search_narrow_the_list(client, problem):
    losses = client.get("/v1/catalog?kind=loss").json()["data"]
    assert "CrossEntropyLoss" in [entry["name"] for entry in losses]
    assert "Linear" not in [entry["name"] for entry in losses]
    found = client.get("/v1/catalog?search=transposed").json()["data"]
    assert {"ConvTranspose1d", "ConvTranspose2d"} <= {entry["name"] for entry in found}
    assert problem(client.get("/v1/catalog?kind=leyer"), 422)["errors"][0]["parameter"] == "kind"


def test_an_unknown_name_gets_the_nearest(client, problem):
    assert "Linear" in problem(client.get("/v1/catalog/Linaer"), 404)["hint"]


def test_an_unchanged_catalog_costs_no_body(client):
    tag = client.get("/v1/catalog").headers["etag"]
    assert client.get("/v1/catalog", headers={"If-None-Match": tag}).status_code == 304


def test_the_schema_knows_every_layer_and_its_arguments(client):
    answer = client.get("/v1/schema/model.json")
    assert answer.headers["content-type"] == "application/schema+json"
    schema = answer.json()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "out_channels" in answer.text
