"""What requests cost the database, counted, so that it stays."""

import threading
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from api import examples
from tests.factories import add_job
from tests.stack import until

REQUEST = examples.REQUESTS["short"]["value"]


@pytest.fixture
def statements(app, monkeypatch):
    """Every statement that requests make, as they make it; keys are remembered for as long as the test runs."""
    monkeypatch.setattr(app.state.parts.principals, "ttl_seconds", 3600)
    made = []

    def note(_connection, _cursor, statement, *_):
        counts_requests = threading.current_thread().name.startswith("meter")
        watches = statement.startswith("SELECT job.id, job.version")  # for somebody who waits, in another test
        if not counts_requests and not watches:
            made.append(" ".join(statement.split()))

    engines = [app.state.parts.database.engine, app.state.parts.database._read_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield made
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def test_a_poll_of_a_job_that_is_known_costs_one_statement(caller, database, statements):
    job_id = add_job(database, caller.tenant_id, state="paused")
    tag = caller.client.get(f"/v1/jobs/{job_id}").headers["etag"]
    statements.clear()
    answers = Counter(caller.client.get(f"/v1/jobs/{job_id}").status_code for _ in range(3))
    answers[caller.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag}).status_code] += 1
    assert answers == {200: 3, 304: 1}
    assert len(statements) == 4
    assert {one.split(" FROM ")[0] for one in statements} == {"SELECT id, tenant_id, version"}


def test_many_who_poll_at_once_share_statements_and_each_gets_its_own_answer(
    make_caller, database, statements, app, monkeypatch
):
    callers = [make_caller() for _ in range(8)]
    jobs = [add_job(database, one.tenant_id, state="paused") for one in callers]
    for caller, job_id in zip(callers, jobs, strict=True):
        assert caller.client.get(f"/v1/jobs/{job_id}").status_code == 200
    looks, gate, held, found = app.state.parts.looks, threading.Event(), [], {}
    read = looks._read

    def read_when_open(job_ids):
        held.extend(job_ids)
        assert gate.wait(60)
        return read(job_ids)

    def poll(at):
        asked = jobs[at] if at < 4 else jobs[at ^ 1]  # half of them ask for the job of another tenant
        found[at] = callers[at].client.get(f"/v1/jobs/{asked}")

    monkeypatch.setattr(looks, "_read", read_when_open)
    statements.clear()
    polls = [threading.Thread(target=poll, args=(at,)) for at in range(8)]
    for one in polls:
        one.start()
    until(lambda: len(held) + len(looks._asked) == 8, seconds=60)
    gate.set()
    for one in polls:
        one.join(60)
    assert [found[at].status_code for at in range(8)] == [200] * 4 + [404] * 4
    assert [found[at].json()["id"] for at in range(4)] == jobs[:4]
    assert len(statements) <= 2


def test_a_submission_costs_ten_statements_at_most(caller, statements, app, monkeypatch):
    line = app.state.parts.board.line(since=datetime.now(UTC))
    monkeypatch.setattr(app.state.parts.board, "find_line", lambda since: line)  # it is read now and then
    # The first waits for torch to be loaded, if it is alone here, and measures what is stored.
    first = caller.client.post("/v1/jobs", json=REQUEST, timeout=120)
    statements.clear()
    again = caller.client.post("/v1/jobs", json=REQUEST)
    assert (first.status_code, again.status_code) == (201, 201)
    # The tenant's limits, its jobs, the past of two kinds, how well that foretold, the time; then the job, its event,
    # who is told, the audit.
    counts = Counter(one.split()[0] for one in statements)
    assert counts["INSERT"] == 4, statements
    assert counts["SELECT"] == counts.total() - 4 <= 6, statements
