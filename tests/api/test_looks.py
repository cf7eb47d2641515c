"""Looks that are shared: one query for all who ask at once, none that began before they came; what a poll costs."""

import asyncio
import threading
from collections import Counter

import pytest
from sqlalchemy import event

from api.looks import Looks
from services.jobs.queries import Owned
from tests.factories import add_job
from tests.stack import until


class Database:
    """Knows every job, counts its queries, and answers none of them while it is held."""

    def __init__(self):
        self.queries: list[list[str]] = []
        self.version = 1
        self.open = threading.Event()
        self.open.set()

    def read(self, job_ids):
        self.queries.append(sorted(job_ids))
        found = {job_id: Owned("ten_1", self.version) for job_id in job_ids if job_id != "absent"}
        assert self.open.wait(60)
        if "broken" in job_ids:
            raise RuntimeError("it is away")
        return found


@pytest.fixture
def known():
    return Database()


def looking(known, scenario):
    looks = Looks(known.read)

    async def run():
        return await scenario(looks)

    try:
        return asyncio.run(run())
    finally:
        looks.close()


async def begun(known, queries):
    while len(known.queries) < queries:
        await asyncio.sleep(0.001)


def test_those_who_ask_at_once_share_a_query(known):
    async def scenario(looks):
        return await asyncio.gather(*(looks.find(name) for name in ("a", "b", "a", "absent", "b")))

    found = looking(known, scenario)
    assert found == [Owned("ten_1", 1)] * 3 + [None, Owned("ten_1", 1)]
    assert known.queries == [["a", "absent", "b"]]


def test_who_comes_while_a_query_is_under_way_sees_what_was_committed_since(known):
    async def scenario(looks):
        known.open.clear()
        first = asyncio.create_task(looks.find("a"))
        await begun(known, 1)
        known.version = 2
        later = [asyncio.create_task(looks.find(name)) for name in ("a", "b", "a")]
        await asyncio.sleep(0)
        known.open.set()
        return [await one for one in (first, *later)]

    assert [one.version for one in looking(known, scenario)] == [1, 2, 2, 2]
    assert known.queries == [["a"], ["a", "b"]]


def test_a_failure_is_told_to_all_who_asked_and_the_next_look_is_made(known):
    async def scenario(looks):
        failed = await asyncio.gather(*(looks.find(name) for name in ("a", "broken")), return_exceptions=True)
        return failed, await looks.find("a")

    failed, after = looking(known, scenario)
    assert [str(one) for one in failed] == ["it is away"] * 2
    assert after == Owned("ten_1", 1)


def test_a_request_that_is_given_up_takes_no_other_with_it(known):
    async def scenario(looks):
        known.open.clear()
        given_up, kept = (asyncio.create_task(looks.find("a")) for _ in range(2))
        await begun(known, 1)
        given_up.cancel()
        known.open.set()
        return await kept, given_up

    kept, given_up = looking(known, scenario)
    assert kept == Owned("ten_1", 1)
    assert given_up.cancelled()


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
