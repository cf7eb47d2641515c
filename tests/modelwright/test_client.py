import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from modelwright import (
    Client,
    ConnectionFailed,
    Forbidden,
    InvalidRequest,
    JobFailed,
    ModelwrightError,
    NotFound,
    PreconditionFailed,
    RateLimited,
    ServiceError,
    StateConflict,
    Unauthenticated,
    WaitTimeout,
)
from modelwright.transport import RetryPolicy
from tests.modelwright.scripted import hang_up, reply, scripted, send

QUICK = RetryPolicy(attempts=4, first_seconds=0.01)
RUNNING = {"id": "job_1", "state": "running", "terminal": False}
DONE = {"id": "job_1", "state": "succeeded", "terminal": True}


def client(service) -> Client:
    return Client(service.url, "mw_key", retries=QUICK)


def test_a_submission_is_repeated_with_the_same_idempotency_key_until_it_is_answered():
    with scripted(hang_up, reply(503, {"code": "unavailable"}), reply(201, RUNNING)) as service:
        assert client(service).submit({"model": "Linear(1, 1)"}) == RUNNING
    assert len(service.requests) == 3
    assert len({headers["idempotency-key"] for _, _, headers, _ in service.requests}) == 1
    assert len({content for _, _, _, content in service.requests}) == 1
    assert service.requests[0][2]["authorization"] == "Bearer mw_key"


def test_each_submission_has_a_key_of_its_own_unless_one_is_given():
    with scripted(reply(201, RUNNING)) as service:
        one = client(service)
        one.submit({})
        one.submit({})
        one.submit({}, idempotency_key="mine")
    keys = [headers["idempotency-key"] for _, _, headers, _ in service.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_a_first_try_that_is_still_in_flight_is_waited_for():
    busy = reply(409, {"code": "idempotency_in_progress"})
    with scripted(busy, busy, reply(201, RUNNING)) as service:
        assert client(service).submit({}) == RUNNING


def test_retry_after_is_obeyed():
    begin = time.monotonic()
    with scripted(reply(429, {"code": "rate_limited"}, Retry_After="1"), reply(200, DONE)) as service:
        client(service).get_job("job_1")
    assert time.monotonic() - begin >= 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, StateConflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ServiceError),
        (503, ServiceError),
    ],
)
def test_each_status_is_an_exception_of_its_own_with_code_and_request_id(status, kind):
    body = {"code": "some_code", "detail": "What happened.", "request_id": "req_1"}
    with scripted(reply(status, body)) as service, pytest.raises(kind) as caught:
        client(service).get_job("job_1")
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "some_code", "req_1")
    assert str(caught.value) == "What happened."
    assert isinstance(caught.value, ModelwrightError)


def test_an_invalid_job_names_every_place():
    errors = [
        {"pointer": "/model/layers/1", "code": "shape_mismatch", "detail": "sizes differ", "hint": "use 128"},
        {"pointer": "/training/epochs", "code": "int_type", "detail": "not an integer", "column": 3},
    ]
    with (
        scripted(reply(422, {"code": "shape_mismatch", "errors": errors})) as service,
        pytest.raises(InvalidRequest) as caught,
    ):
        client(service).submit({})
    first, second = caught.value.problems
    assert (first.pointer, first.code, first.hint) == ("/model/layers/1", "shape_mismatch", "use 128")
    assert (second.pointer, second.column) == ("/training/epochs", 3)
    assert len(service.requests) == 1  # wrong today, wrong in a second


def test_a_proxys_error_page_is_an_error_of_the_service_not_a_crash():
    with (
        scripted(lambda handler: send(handler, 502, b"<html>Bad gateway</html>")) as service,
        pytest.raises(ServiceError) as caught,
    ):
        client(service).get_job("job_1")
    assert caught.value.code == "http_502"


def test_a_web_page_at_the_address_is_recognised_as_not_the_service():
    page = scripted(lambda handler: send(handler, 200, b"<html>Welcome</html>"))
    with page as service, pytest.raises(ServiceError, match="is this a Modelwright service"):
        client(service).get_job("job_1")


def test_no_answer_after_all_retries_is_a_connection_error_that_names_the_address():
    with scripted(hang_up) as service, pytest.raises(ConnectionFailed, match=service.url):
        client(service).get_job("job_1")
    assert len(service.requests) == QUICK.attempts


def test_an_id_is_one_part_of_the_path_whatever_it_contains():
    with scripted(reply(404, {"code": "not_found"})) as service, pytest.raises(NotFound):
        client(service).get_job("../../v1/keys?x=1")
    assert service.requests[0][1] == "/v1/jobs/..%2F..%2Fv1%2Fkeys%3Fx%3D1"


def test_lists_are_read_page_by_page_and_only_as_far_as_they_are_used():
    pages = [
        reply(200, {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"}),
        reply(200, {"data": [{"id": "c"}], "has_more": False, "last_id": "c"}),
    ]
    with scripted(*pages) as service:
        jobs = client(service).list_jobs(states=["running"], labels={"team": "a b"})
        assert next(jobs)["id"] == "a"
        assert len(service.requests) == 1
        assert [job["id"] for job in jobs] == ["b", "c"]
    assert "label.team=a+b" in service.requests[0][1] or "label.team=a%20b" in service.requests[0][1]
    assert "after=b" in service.requests[1][1]


def test_a_limited_list_asks_for_no_more():
    with scripted(reply(200, {"data": [{"id": "a"}], "has_more": True, "last_id": "a"})) as service:
        assert [job["id"] for job in client(service).list_jobs(limit=1)] == ["a"]
    assert len(service.requests) == 1


def test_a_time_is_sent_with_its_zone():
    with scripted(reply(200, {"data": [], "has_more": False, "last_id": None})) as service:
        for moment in (
            "2026-11-23T04:30:00Z",
            datetime(2026, 11, 23, 4, 30, tzinfo=UTC),
            datetime(2026, 11, 23, 4, 30),
        ):
            assert list(client(service).list_jobs(created_after=moment)) == []
    said = [parse_qs(urlsplit(path).query)["created_after"] for _, path, _, _ in service.requests]
    here = datetime(2026, 11, 23, 4, 30).astimezone(UTC).isoformat()
    assert said == [["2026-11-23T04:30:00Z"], ["2026-11-23T04:30:00+00:00"], [here]]


def test_a_thing_that_was_looked_at_has_a_tag_and_is_changed_only_as_it_was():
    answers = [
        reply(200, RUNNING, ETag='"1"'),
        reply(200, RUNNING, ETag='"2"'),
        reply(412, {"code": "precondition_failed"}),
    ]
    with scripted(*answers) as service:
        opened = client(service)
        seen = opened.get_job("job_1")
        changed = opened.change_job("job_1", priority=1, if_match=seen.etag)
        assert (seen.etag, changed.etag, changed) == ('"1"', '"2"', RUNNING)
        for change in (opened.pin_checkpoint, partial(opened.change_webhook, enabled=False), opened.delete_webhook):
            with pytest.raises(PreconditionFailed):
                change("x_1", if_match=seen.etag)
        assert [headers.get("if-match") for _, _, headers, _ in service.requests] == [None, *['"1"'] * 4]
        with pytest.raises(StateConflict):
            opened.delete_checkpoint("ckpt_1")
        assert "if-match" not in service.requests[-1][2]


def test_watching_yields_each_change_once_and_ends_with_the_job():
    answers = [reply(200, RUNNING, ETag='"1"'), reply(304), reply(304), reply(200, DONE, ETag='"2"')]
    with scripted(*answers) as service:
        assert list(client(service).watch("job_1")) == [RUNNING, DONE]
    assert "if-none-match" not in service.requests[0][2]
    assert [headers["if-none-match"] for _, _, headers, _ in service.requests[1:]] == ['"1"'] * 3


def test_watching_outlives_a_restart_of_the_service():
    with scripted(reply(200, RUNNING), *[hang_up] * 5, reply(503, {}), reply(200, DONE)) as service:
        assert [job["state"] for job in client(service).watch("job_1")] == ["running", "succeeded"]


def test_waiting_ends_when_the_time_is_up():
    with scripted(reply(200, RUNNING)) as service, pytest.raises(WaitTimeout, match="job_1"):
        client(service).wait("job_1", timeout_seconds=0.3)


def test_waiting_returns_the_job_that_ended():
    with scripted(reply(200, RUNNING), reply(200, DONE)) as service:
        assert client(service).wait("job_1", timeout_seconds=10) == DONE


def test_importing_the_client_loads_neither_torch_nor_a_server_nor_httpx():
    code = (
        "import sys, modelwright; print([m for m in ('torch', 'fastapi', 'sqlalchemy', 'httpx') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_captures_and_comparisons_send_what_a_graph_sends():
    with scripted(reply(200, {"captured": True})) as service:
        one = client(service)
        assert one.capture("Linear(2, 1)", {"x": [[1.0, 2.0]]}, mode="eval") == {"captured": True}
        one.compare("Linear(2, 1)", {"x": [[1.0, 2.0]]}, measure_seconds=1.0)
    assert [(method, where) for method, where, _, _ in service.requests] == [
        ("POST", "/v1/graphs/capture"),
        ("POST", "/v1/graphs/compare"),
    ]
    same = {"model": "Linear(2, 1)", "inputs": {"x": [[1.0, 2.0]]}}
    assert [json.loads(content) for *_, content in service.requests] == [
        {**same, "mode": "eval"},
        {**same, "measure_seconds": 1.0},
    ]


def test_a_fork_sends_its_changes_and_a_retry_nothing():
    with scripted(reply(201, RUNNING)) as service:
        one = client(service)
        one.retry("job_0")
        one.fork("job_0", {"name": "b"}, from_checkpoint="ckpt_1", idempotency_key="mine")
    (_, first, _, nothing), (_, second, headers, content) = service.requests
    assert (first, second) == ("/v1/jobs/job_0/retry", "/v1/jobs/job_0/fork")
    assert not nothing
    assert json.loads(content) == {"changes": {"name": "b"}, "from_checkpoint": "ckpt_1"}
    assert headers["idempotency-key"] == "mine"


FAILED = {
    **{"id": "job_1", "state": "failed", "terminal": True},
    "error": {
        "code": "label_out_of_range",
        "message": "Column `y` is 7 in row 3, but has 2 classes.",
        "hint": "Mend it.",
    },
}


def test_training_submits_waits_and_returns_the_job_that_succeeded(capsys):
    with scripted(reply(201, RUNNING), reply(200, RUNNING), reply(200, DONE)) as service:
        assert client(service).train({"name": "a"}, training={"epochs": 1}) == DONE
    assert json.loads(service.requests[0][3]) == {"name": "a", "training": {"epochs": 1}}
    assert capsys.readouterr() == ("", "")


def test_training_shows_its_progress_on_standard_error_when_asked(capsys):
    with scripted(reply(201, RUNNING), reply(200, RUNNING), reply(200, DONE)) as service:
        client(service).train({}, show=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "succeeded" in shown.err


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (FAILED, "job_1 is failed: Column `y` is 7 in row 3, but has 2 classes. (label_out_of_range)\n  → Mend it."),
        ({**FAILED, "state": "cancelled", "error": None, "reason": "cancel_requested"}, "cancelled: cancel_requested"),
    ],
)
def test_training_that_ends_otherwise_says_why(job, said):
    with scripted(reply(201, RUNNING), reply(200, job)) as service, pytest.raises(JobFailed) as caught:
        client(service).train({})
    assert said in str(caught.value)
    assert caught.value.job == job


def test_an_error_that_nobody_catches_names_every_place_and_the_way_out():
    errors = [
        {
            "code": "extra_forbidden",
            "detail": "There is no field `splt` here.",
            "pointer": "/data/splt",
            "hint": "split?",
        },
        {"code": "unknown_name", "detail": "No `y`.", "pointer": "/model", "column": 3},
    ]
    refused = reply(422, {"code": "invalid", "detail": "Two problems.", "errors": errors})
    with scripted(refused) as service, pytest.raises(InvalidRequest) as caught:
        client(service).submit({})
    assert str(caught.value).split("\n") == [
        "Two problems.",
        "  at /data/splt: There is no field `splt` here. → split?",
        "  at /model column 3: No `y`.",
    ]


def test_one_problem_is_said_once_with_its_place_and_the_way_out():
    for error, said in (
        ({"detail": "No.", "pointer": "/data", "hint": "Mend."}, "No.\n  at /data → Mend."),
        ({"detail": "No.", "pointer": "", "hint": "Mend."}, "No.\n  → Mend."),
    ):
        body = {"code": "invalid", "detail": "No.", "hint": "Mend.", "errors": [error]}
        with scripted(reply(422, body)) as service, pytest.raises(InvalidRequest) as caught:
            client(service).submit({})
        assert str(caught.value) == said


def test_an_empty_file_is_refused_before_it_is_sent(tmp_path):
    (tmp_path / "nothing.csv").touch()
    with scripted(reply(500, {})) as service, pytest.raises(InvalidRequest, match=r"nothing\.csv is empty") as caught:
        client(service).upload_dataset(tmp_path / "nothing.csv")
    assert (caught.value.code, service.requests) == ("empty_dataset", [])


def test_an_expression_is_a_model_too():
    with scripted(reply(201, {"id": "mdl_1"}), reply(200, {"valid": True})) as service:
        client(service).create_model("Linear(2, 1)")
        client(service).validate_model("Linear(2, 1)")
    assert [json.loads(content) for _, _, _, content in service.requests] == [{"model": "Linear(2, 1)"}] * 2
