"""The OpenAPI document: complete, consistent with itself, and true of the answers."""

import re

import pytest
from jsonschema import Draft202012Validator

from api import examples
from tests.factories import add_job


@pytest.fixture
def document(app):
    return app.openapi()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_anybody_can_read_it(anonymous, document):
    answer = anonymous.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == document
    assert document["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"], reference


def test_every_operation_reads_like_documentation(document):
    for name, operation in operations(document):
        assert operation["summary"][0].isupper(), name
        assert not operation["summary"].endswith("."), name
        assert operation["description"].rstrip().endswith("."), name


def test_every_operation_declares_its_errors_as_problems(document):
    for name, operation in operations(document):
        answers = operation["responses"]
        public = name.split()[1] in ("/healthz", "/readyz", "/openapi.json")
        operators = name.split()[1] == "/metrics"
        expected = {"422"} if public else {"401", "422", "503"} if operators else {"401", "403", "422", "503"}
        assert expected <= answers.keys(), name
        scheme = "operator" if operators else "key"
        assert operation["security"] == ([] if public else [{scheme: []}]), name
        for status, answer in answers.items():
            if int(status) >= 400 and not (public and status == "503"):
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_paths_with_an_id_declare_404_and_bodies_declare_theirs(document):
    for name, operation in operations(document):
        assert ("{" in name) <= ("404" in operation["responses"]), name
        if "requestBody" in operation:
            assert {"400", "408", "413", "415"} <= operation["responses"].keys(), name


def test_operation_ids_are_unique(document):
    identifiers = [operation["operationId"] for _, operation in operations(document)]
    assert len(identifiers) == len(set(identifiers))


def test_the_request_schema_knows_every_member_of_the_examples(document):
    known = document["components"]["schemas"]["JobRequest"]["properties"]
    for example in examples.REQUESTS.values():
        assert example["value"].keys() <= known.keys()


def test_every_example_is_valid_by_the_schema_that_it_stands_beside(document):
    shown = 0
    for name, operation in operations(document):
        bodies = [operation["requestBody"], *operation["responses"].values()] if "requestBody" in operation else []
        for content in (body.get("content", {}) for body in bodies or operation["responses"].values()):
            for media in (one for kind, one in content.items() if "json" in kind):
                examples_of = [one["value"] for one in media.get("examples", {}).values()]
                schema = {**media["schema"], "components": document["components"]}
                for example in [*examples_of, *([media["example"]] if "example" in media else [])]:
                    problems = list(Draft202012Validator(schema).iter_errors(example))
                    assert not problems, (name, problems[0].message)
                    shown += 1
    assert shown > 100


def test_answers_have_the_members_that_the_document_promises(caller, database, document):
    add_job(database, caller.tenant_id)
    schemas = document["components"]["schemas"]
    listed = caller.client.get("/v1/jobs").json()
    assert set(schemas["JobList"]["required"]) <= listed.keys()
    assert set(schemas["JobView"]["required"]) <= listed["data"][0].keys()
    assert set(schemas["ProblemView"]["required"]) <= caller.client.get("/v1/x").json().keys()
    assert set(schemas["ReadyView"]["required"]) <= caller.client.get("/readyz").json().keys()


def test_examples_of_problems_have_the_form_of_problems(document):
    required = set(document["components"]["schemas"]["ProblemView"]["required"])
    for status in (400, 401, 403, 404, 408, 409, 413, 415, 416, 422, 429, 503):
        example = examples.problem(status)
        assert required <= example.keys()
        assert re.fullmatch(r"[a-z_]+", example["code"])
