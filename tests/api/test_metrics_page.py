"""``/metrics``: for the operator's token alone, in Prometheus' own format, with as many series as routes."""

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.telemetry import counters
from tests.factories import add_job
from tests.stack import until

TOKEN = "operator-token"


@pytest.fixture
def operator(app, url, anonymous):
    """A client of the operator's."""
    parts = app.state.parts
    app.state.parts = replace(parts, settings=replace(parts.settings, metrics_token=TOKEN))
    anonymous.headers["Authorization"] = f"Bearer {TOKEN}"
    yield anonymous
    app.state.parts = parts


def read(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_without_the_operators_token_there_is_nothing_to_see(caller, operator, anonymous, problem):
    answers = [caller.client.get("/metrics")]
    for header in ("", "Bearer", f"Basic {TOKEN}", "Bearer wrong", f"Bearer {TOKEN}x"):
        answers.append(anonymous.get("/metrics", headers={"Authorization": header}))
    assert {problem(answer, 401)["code"] for answer in answers} == {"unauthenticated"}


def test_by_default_nobody_may_read_them(caller, anonymous, problem):
    for header in ("Bearer", "Bearer None", f"Bearer {caller.key}"):
        assert problem(anonymous.get("/metrics", headers={"Authorization": header}), 401)["code"] == "unauthenticated"


def test_requests_are_counted_by_template_method_and_status(operator, caller, database):
    job_id = add_job(database, caller.tenant_id)
    before = read(operator)
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}?wait=0.2", "/v1/jobs/job_x", "/v1/nothing", "/v1/else"):
        caller.client.get(path)
    caller.client.head(f"/v1/jobs/{job_id}")
    caller.client.request("PROPFIND", "/v1/jobs")
    total, seconds = "modelwright_http_requests_total", "modelwright_http_request_seconds_count"
    expected = {
        (total, "GET", "/v1/jobs/{job_id}", "200"): 2,
        (total, "GET", "/v1/jobs/{job_id}", "422"): 1,
        (total, "HEAD", "/v1/jobs/{job_id}", "200"): 1,
        (total, "GET", "unmatched", "404"): 2,
        (total, "other", "/v1/jobs", "405"): 1,
        (seconds, "GET", "/v1/jobs/{job_id}"): 2,  # one of the three has waited
    }

    def more():
        after = read(operator)
        assert not [key for key in after if job_id in key]
        return {key: after.get(key, 0) - before.get(key, 0) for key in expected}

    # A request is counted just after its answer.
    until(lambda: more() == expected, seconds=30, what=lambda: str(more()))


def test_what_all_processes_know_is_read_from_the_database(operator, caller, database):
    add_job(database, caller.tenant_id)
    with database.session() as session:
        counters.add(session, {("jobs_ended", "succeeded"): 3, ("leases_lost", ""): 2, ("jobs_failed", "stalled"): 1})
        counters.note_seen(session, part="scheduler")
    found = read(operator)
    assert found["modelwright_jobs", "queued"] >= 1
    assert found["modelwright_jobs_ended_total", "succeeded"] >= 3
    assert found["modelwright_leases_lost_total",] >= 2
    assert found["modelwright_jobs_failed_total", "stalled"] >= 1
    assert found["modelwright_part_seen_seconds", "scheduler"] >= 0
    for name in ("queue_oldest_seconds", "steps_per_second", "webhook_pending", "webhook_oldest_seconds"):
        assert found[f"modelwright_{name}",] >= 0
    assert found["process_resident_memory_bytes",] > 0


def test_a_failed_answer_is_still_counted(operator, caller, problem):
    problem(caller.client.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"}), 400)
    key = ("modelwright_http_requests_total", "POST", "/v1/jobs", "400")
    until(lambda: read(operator).get(key, 0) >= 1, seconds=30)
