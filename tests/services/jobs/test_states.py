"""The table of states, walked pair by pair."""

import itertools

import pytest

from services.db.engine import Database
from services.db.models import TERMINAL_STATES, Job
from services.jobs import repository
from services.jobs.states import NEXT, STATES, IllegalTransition, transition
from tests.factories import add_job, read_job


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_a_job_moves_exactly_where_the_table_allows(
    database: Database, tenant_id: str, before: str, after: str
) -> None:
    job_id = add_job(database, tenant_id, state=before)
    if after in NEXT[before]:
        _move(database, job_id, after)
        assert read_job(database, job_id).state == after
    else:
        with pytest.raises(IllegalTransition):
            _move(database, job_id, after)
        assert read_job(database, job_id).state == before


def test_nothing_follows_a_terminal_state_and_every_other_state_leads_to_one() -> None:
    assert all(not NEXT[state] for state in TERMINAL_STATES)
    reachable = {state: set(NEXT[state]) for state in STATES}
    for _ in STATES:
        for state in STATES:
            reachable[state] |= set().union(*(reachable[after] for after in reachable[state]))
    assert all(reachable[state] & set(TERMINAL_STATES) for state in STATES if state not in TERMINAL_STATES)


def test_each_transition_is_dated_by_the_database_and_bumps_the_version(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    before = read_job(database, job_id)
    _move(database, job_id, "starting")
    _move(database, job_id, "running")
    job = read_job(database, job_id)
    assert [entry["state"] for entry in job.transitions] == ["queued", "starting", "running"]
    stamps = [entry["at"] for entry in job.transitions]
    assert stamps == sorted(stamps)
    assert stamps[0].endswith("Z")
    assert job.version == before.version + 2


def test_a_state_without_an_owner_has_no_lease(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id, state="running", owner="somebody", phase="training")
    _move(database, job_id, "queued")
    job = read_job(database, job_id)
    assert (job.owner, job.lease_expires_at, job.phase) == (None, None, None)


def _move(database: Database, job_id: str, to: str) -> None:
    with database.session() as session:
        job = session.get(Job, job_id, with_for_update=True)
        assert job is not None
        assert repository.find(session, tenant_id=job.tenant_id, job_id=job_id) is job
        transition(session, job, to)
