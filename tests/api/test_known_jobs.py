"""Answers that are kept: the right version, the right tenant, and no more memory than allowed."""

import threading

from api.known_jobs import KnownJob, KnownJobs, KnownPlaces
from services.db.models import Job
from services.jobs.states import transition
from tests.factories import add_job


def made(version: int, size: int = 10) -> KnownJob:
    return KnownJob(version, terminal=False, body=b"x" * size, tag=f'"{version}"')


def test_a_version_is_found_once_it_is_kept_and_no_other():
    known = KnownJobs()
    assert known.find("ten_1", "job_1", 1) is None
    known.keep("ten_1", "job_1", made(1))
    assert known.find("ten_1", "job_1", 1).version == 1
    assert known.find("ten_1", "job_1", 2) is None
    known.keep("ten_1", "job_1", made(2))
    assert known.find("ten_1", "job_1", 1) is None


def test_one_tenants_answer_is_never_anothers():
    known = KnownJobs()
    known.keep("ten_1", "job_1", made(1, 5))
    assert known.find("ten_2", "job_1", 1) is None


def test_the_least_recently_used_are_dropped_when_there_are_too_many_bytes():
    known = KnownJobs(max_bytes=100)
    known.keep("ten", "a", made(1, 40))
    known.keep("ten", "b", made(1, 40))
    known.find("ten", "a", 1)
    known.keep("ten", "c", made(1, 40))
    assert [known.find("ten", name, 1) is not None for name in ("a", "b", "c")] == [True, False, True]
    known.keep("ten", "huge", made(1, 1000))
    assert not any(known.find("ten", name, 1) for name in ("a", "c", "huge"))


def test_a_place_is_that_of_the_line_at_hand(monkeypatch):
    asked = []
    monkeypatch.setattr("api.known_jobs.place", lambda line, job: asked.append((line, job)) or {"ahead": len(asked)})
    known = KnownPlaces()
    found = [known.find(line, job) for line, job in zip("AAABBA", "xxyxxx", strict=True)]
    assert asked == [("A", "x"), ("A", "y"), ("B", "x"), ("A", "x")]
    assert found == [b'{"ahead":%d}' % n for n in (1, 1, 2, 3, 3, 4)]


def test_pollers_of_a_job_that_changes_all_the_time_see_it_go_forward(caller, database):
    job_id, seen = add_job(database, caller.tenant_id), []

    def poll():
        found = []
        while not found or found[-1]["state"] != "cancelled":
            found.append(caller.client.get(f"/v1/jobs/{job_id}").json())
        seen.append([one["version"] for one in found])

    pollers = [threading.Thread(target=poll) for _ in range(4)]
    for one in pollers:
        one.start()
    for state in ("starting", "running", "queued", "starting", "running", "cancelling", "cancelled"):
        with database.session() as session:
            transition(session, session.get(Job, job_id, with_for_update=True), state)
    for one in pollers:
        one.join(30)
    assert len(seen) == 4
    assert all(versions == sorted(versions) for versions in seen)
