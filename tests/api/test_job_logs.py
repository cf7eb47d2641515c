"""The log of a job: lines written by its owner, read by its tenant."""

import pytest

from services.logs.service import Line, write_lines
from tests.factories import add_job

LINES = [
    (1, Line(1, "info", "Attempt 1: torch on cpu.")),
    (1, Line(2, "warning", "UserWarning: odd")),
    (2, Line(1, "info", "Attempt 2: torch on cpu, goes on from step 40.")),
    (2, Line(10, "error", "No memory. (out_of_memory)")),
]


@pytest.fixture
def job_id(caller, database):
    made = add_job(database, caller.tenant_id)
    with database.session() as session:
        for attempt, line in LINES:
            write_lines(session, job_id=made, attempt=attempt, lines=[line])
    return made


def test_lines_are_a_list_in_the_order_of_attempts_that_pages(caller, job_id):
    whole = caller.client.get(f"/v1/jobs/{job_id}/logs").json()
    assert [line["id"] for line in whole["data"]] == ["1.1", "1.2", "2.1", "2.10"]
    assert whole["data"][1]["message"] == "UserWarning: odd"
    first = caller.client.get(f"/v1/jobs/{job_id}/logs?limit=3").json()
    rest = caller.client.get(f"/v1/jobs/{job_id}/logs?after={first['last_id']}").json()
    assert first["data"] + rest["data"] == whole["data"]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_lines_are_chosen_by_level(caller, job_id):
    found = caller.client.get(f"/v1/jobs/{job_id}/logs?level=warning,error").json()["data"]
    assert [line["level"] for line in found] == ["warning", "error"]


def test_a_terminal_gets_plain_lines(caller, job_id):
    answer = caller.client.get(f"/v1/jobs/{job_id}/logs", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.splitlines()[1].endswith(" warning UserWarning: odd")


def test_a_line_that_is_written_again_is_one_line(caller, job_id, database):
    with database.session() as session:
        write_lines(session, job_id=job_id, attempt=1, lines=[Line(1, "info", "again"), Line(3, "info", "new")])
    found = caller.client.get(f"/v1/jobs/{job_id}/logs").json()["data"]
    assert [line["message"] for line in found[:3]] == [LINES[0][1].message, LINES[1][1].message, "new"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=1", "invalid_cursor"),
        ("after=evt_1", "invalid_cursor"),
        ("level=debug", "literal_error"),
        ("x=1", "extra_forbidden"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(caller, job_id, query, code):
    answer = caller.client.get(f"/v1/jobs/{job_id}/logs?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


def test_the_log_of_another_tenants_job_is_not_there(make_caller, job_id):
    assert make_caller().client.get(f"/v1/jobs/{job_id}/logs").status_code == 404
