"""Every kind of wrong request, and the exact problem that answers it."""

import json

import pytest

from services.identifiers import new_id
from tests.factories import add_job

MIB = 1 << 20


def test_an_unknown_path_is_a_problem(client, problem):
    assert problem(client.get("/v1/nothing"), 404)["code"] == "not_found"
    assert problem(client.get("/v1/jobs/"), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/jobs", {"GET", "HEAD", "POST"}),
        ("PUT", "/v1/jobs/job_1", {"GET", "HEAD", "PATCH"}),
        ("GET", "/v1/jobs/job_1/cancel", {"POST"}),
        ("OPTIONS", "/v1/models/validate", {"POST"}),
        ("HEAD", "/v1/jobs/job_1/cancel", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("OPTIONS", "/v1/checkpoints/ckpt_1/content", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client, problem, method, path, allowed):
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    if method != "HEAD":
        assert problem(answer, 405)["code"] == "method_not_allowed"


BODIES = {
    "nothing": (b"", 422, "body_required"),
    "white space": (b" \n", 422, "body_required"),
    "not JSON": (b'{"model": }', 400, "invalid_json"),
    "an array": (b"[]", 422, "dict_type"),
    "a string": (b'"model"', 422, "dict_type"),
    "depth 65": (b'{"model":' * 65 + b"1" + b"}" * 65, 400, "json_too_deep"),
    "depth 100 000": (b"[" * 100_000, 400, "json_too_deep"),
    "50 001 nodes": (b"[" + b"1," * 50_000 + b"1]", 400, "json_too_many_nodes"),
    "a duplicate key": (b'{"model": "a", "model": "b"}', 400, "json_duplicate_key"),
    "NaN": (b'{"lr": NaN}', 400, "json_non_finite"),
    "1e400": (b'{"lr": 1e400}', 400, "json_non_finite"),
    "5 000 digits": (b'{"n": ' + b"1" * 5000 + b"}", 400, "json_number_too_long"),
    "half a surrogate pair": (b'{"name": "\\ud800"}', 400, "json_invalid_string"),
    "NUL": (b'{"name": "a\\u0000b"}', 422, "invalid_character"),
    "a body over the limit": (b'{"name": "' + b"x" * MIB + b'"}', 413, "body_too_large"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_a_bad_body_is_refused_by_name(client, problem, body, status, code):
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    found = problem(answer, status)
    assert found["code"] == code
    if status in (400, 422):
        assert [one["code"] for one in found["errors"]] == [code]


def test_a_syntax_error_has_its_offset_and_a_nul_its_pointer(client, problem):
    headers = {"Content-Type": "application/json"}
    assert problem(client.post("/v1/jobs", content=b'{"a": }', headers=headers), 400)["offset"] == 6
    found = problem(client.post("/v1/jobs", content=b'{"a": ["\\u0000"]}', headers=headers), 422)
    assert found["errors"][0]["pointer"] == "/a/0"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json"]
)
def test_a_body_that_is_not_declared_json_is_415(client, problem, content_type):
    answer = client.post("/v1/jobs", content=b"{}", headers={"Content-Type": content_type})
    assert problem(answer, 415)["code"] == "unsupported_media_type"


def test_a_compressed_body_is_415(client, problem):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (
        problem(client.post("/v1/jobs", content=b"\x1f\x8b", headers=headers), 415)["code"] == "unsupported_media_type"
    )


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/vnd.model+json"]
)
def test_every_way_to_say_json_is_understood(client, problem, content_type):
    answer = client.post("/v1/jobs", content=b"{}", headers={"Content-Type": content_type})
    assert problem(answer, 422)["errors"][0]["code"] == "missing"


PARAMETERS = {
    "an unknown name": ("/v1/jobs?colour=red", "extra_forbidden", "colour"),
    "a label without a name": ("/v1/jobs?label.=x", "extra_forbidden", "label."),
    "limit -1": ("/v1/jobs?limit=-1", "out_of_range", "limit"),
    "limit 0": ("/v1/jobs?limit=0", "out_of_range", "limit"),
    "limit 10^9": ("/v1/jobs?limit=1000000000", "out_of_range", "limit"),
    "limit 10^30": ("/v1/jobs?limit=1" + "0" * 30, "out_of_range", "limit"),
    "limit ten": ("/v1/jobs?limit=ten", "int_type", "limit"),
    "limit 1.5": ("/v1/jobs?limit=1.5", "int_type", "limit"),
    "an unknown state": ("/v1/jobs?status=queued,asleep", "unknown_value", "status"),
    "201 empty states": ("/v1/jobs?" + "status=&" * 201, "out_of_range", "status"),
    "a label twice": ("/v1/jobs?label.a=1&label.a=2", "duplicate_name", "label.a"),
    "NUL in a label": ("/v1/jobs?label.a=%00", "invalid_character", ""),
    "NUL in a state": ("/v1/jobs?status=queued,%00", "invalid_character", ""),
    "NUL in a name": ("/v1/jobs?%00=1", "invalid_character", ""),
    "half a surrogate pair": ("/v1/jobs?status=%ED%A0%80", "unknown_value", "status"),
    "a flag that is none": ("/v1/jobs?validate_only=perhaps", "bool_type", "validate_only"),
}


@pytest.mark.parametrize(("path", "code", "parameter"), PARAMETERS.values(), ids=PARAMETERS)
def test_a_bad_query_parameter_is_refused_by_name(client, problem, path, code, parameter):
    is_post = "validate_only" in path
    found = problem(client.post(path, json={}) if is_post else client.get(path), 422)
    assert [(one["code"], one["parameter"]) for one in found["errors"]] == [(code, parameter)]


def test_a_limit_out_of_range_is_told_both_limits(client, problem):
    found = problem(client.get("/v1/jobs?limit=1000000000"), 422)
    assert "at least 1 and at most 100" in found["errors"][0]["detail"]


@pytest.mark.parametrize(
    "query", ["max_points=0", "max_points=1001", "after_step=-2", "after_step=9223372036854775808"]
)
def test_metrics_keep_their_limits(client, problem, query):
    found = problem(client.get(f"/v1/jobs/{new_id('job')}/metrics?{query}"), 422)
    assert found["code"] == "out_of_range"


@pytest.mark.parametrize("path", ["/v1/jobs", f"/v1/jobs/{new_id('job')}/checkpoints"], ids=["jobs", "checkpoints"])
@pytest.mark.parametrize("cursor", ["job_1", "x", "' OR 1=1 --", "../..", "job_" + "z" * 300, "%00"])
def test_a_forged_cursor_is_refused(caller, database, problem, path, cursor):
    if "checkpoints" in path:
        path = f"/v1/jobs/{add_job(database, caller.tenant_id)}/checkpoints"
    found = problem(caller.client.get(f"{path}?after={cursor}"), 422)
    assert found["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    "identifier", ["%252e", "a;b", "job_", "JOB_" + "0" * 26, "job_" + "u" * 26, "ckpt_" + "0" * 26]
)
@pytest.mark.parametrize("below", ["", "/metrics", "/checkpoints", "/cancel"])
def test_what_is_no_job_id_is_invalid(client, problem, identifier, below):
    method = "POST" if below == "/cancel" else "GET"
    found = problem(client.request(method, f"/v1/jobs/{identifier}{below}"), 422)
    assert found["code"] == "invalid_id"


@pytest.mark.parametrize("identifier", ["%252e", "a;b", "job_" + "0" * 26, "ckpt_1"])
@pytest.mark.parametrize("below", ["", "/content"])
def test_what_is_no_checkpoint_id_is_invalid(client, problem, identifier, below):
    assert problem(client.get(f"/v1/checkpoints/{identifier}{below}"), 422)["code"] == "invalid_id"


@pytest.mark.parametrize("path", ["/v1/jobs/..%2f..%2fetc%2fpasswd", "/v1/jobs/%2e%2e/x", "/v1/checkpoints/%2f"])
def test_a_path_in_disguise_leads_nowhere(client, problem, path):
    assert problem(client.get(path), 404)["code"] == "not_found"


def test_another_tenants_objects_answer_exactly_like_absent_ones(make_caller, database):
    owner, stranger = make_caller(), make_caller()
    theirs, absent = add_job(database, owner.tenant_id), new_id("job")
    for method, below in (("GET", ""), ("GET", "/metrics"), ("GET", "/checkpoints"), ("POST", "/cancel")):
        answers = [stranger.client.request(method, f"/v1/jobs/{job}{below}") for job in (theirs, absent)]
        assert [answer.status_code for answer in answers] == [404, 404]
        texts = [answer.text.replace(answer.headers["x-request-id"], "") for answer in answers]
        assert texts[0] == texts[1]
        names = [set(answer.headers) for answer in answers]
        assert names[0] == names[1]


def test_a_request_id_of_the_clients_is_kept_and_nonsense_is_replaced(client, problem):
    kept = client.get("/v1/nothing", headers={"X-Request-Id": "my-request.1"})
    assert problem(kept, 404)["request_id"] == "my-request.1"
    for nonsense in ("a b", "x" * 65, '"}', ""):
        replaced = client.get("/v1/nothing", headers={"X-Request-Id": nonsense})
        assert problem(replaced, 404)["request_id"].startswith("req_")


def test_an_error_of_ours_says_nothing_but_its_request_id(app, client, problem, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("services.jobs.queries.find_owned", fail)
    answer = client.get(f"/v1/jobs/{new_id('job')}")
    found = problem(answer, 500)
    assert found["code"] == "internal_error"
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


def test_every_error_class_has_a_status(client):
    from api.errors import STATUS, status_of
    from services import errors

    raised_to_clients = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ModelwrightError) and kind is not errors.ModelwrightError
    ]
    inside = {errors.ChunkCorrupt, errors.Fenced, errors.TrainingFailure}
    for kind in set(raised_to_clients) - inside:
        instance = kind.__new__(kind)
        assert status_of(instance) < 500 or issubclass(kind, errors.Unavailable), kind
    assert json.dumps([status.value for status in STATUS.values()])
