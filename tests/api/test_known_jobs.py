"""Answers that are kept: the right version, the right tenant, and no more memory than allowed."""

import threading

from api.known_jobs import KnownJob, KnownJobs
from services.db.models import Job
from services.jobs.states import transition
from tests.factories import add_job


def made(version: int, size: int = 10) -> KnownJob:
    return KnownJob(version, terminal=False, body=b"x" * size, tag=f'"{version}"')


def test_a_known_version_is_not_read_again_and_another_is():
    known, reads = KnownJobs(), []

    def read(version):
        return lambda: reads.append(version) or made(version)

    assert [known.get("ten_1", "job_1", version, read(version)).version for version in (1, 1, 2, 2)] == [1, 1, 2, 2]
    assert reads == [1, 2]


def test_a_job_that_changed_between_look_and_read_is_kept_as_what_it_is():
    known = KnownJobs()
    assert known.get("ten_1", "job_1", 1, lambda: made(2)).version == 2
    assert known.get("ten_1", "job_1", 2, lambda: made(3)).version == 2


def test_one_tenants_answer_is_never_anothers():
    known = KnownJobs()
    known.get("ten_1", "job_1", 1, lambda: made(1, 5))
    assert len(known.get("ten_2", "job_1", 1, lambda: made(1, 7)).body) == 7


def test_the_least_recently_used_are_dropped_when_there_are_too_many_bytes():
    known = KnownJobs(max_bytes=100)
    for name in ("a", "b", "a", "c"):
        known.get("ten", name, 1, lambda: made(1, 40))
    read = []
    for name in ("a", "c", "b"):
        known.get("ten", name, 1, lambda name=name: read.append(name) or made(1, 40))
    assert read == ["b"]
    known.get("ten", "huge", 1, lambda: made(1, 1000))
    assert known.get("ten", "a", 1, lambda: made(9)).version == 9


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
