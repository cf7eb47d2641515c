"""Looks that are shared: one query for all who ask at once, none that began before they came."""

import asyncio
import threading

import pytest

from api.looks import Looks
from services.jobs.queries import Owned


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
