"""A claim while the object store is away: kept, with the trainer stopped, until it is back or the job is to end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from services.errors import StoreUnavailable, TrainingFailure
from tests.factories import add_job, claim, read_job
from worker import lease as leases
from worker.lease import Lease


class Child:
    """What is stopped and goes on."""

    def __init__(self):
        self.said = []

    def pause(self):
        self.said.append("pause")

    def resume(self):
        self.said.append("resume")


@pytest.fixture
def kept(database, tenant_id, settings, monkeypatch):
    """A lease that is in doubt, and to be renewed, at once."""
    monkeypatch.setattr(leases, "_RETRY_SECONDS", 0.01)
    add_job(database, tenant_id, priority=100)
    lease = Lease(database, claim(database), replace(settings, lease_seconds=0.001, renew_seconds=0.0))
    lease.guard(child := Child())
    return lease, child


def test_the_trainer_waits_for_the_store_and_the_claim_is_renewed_meanwhile(kept, database):
    lease, child = kept
    expiries = []

    def store():
        expiries.append(read_job(database, lease.claim.job_id).lease_expires_at)
        if len(expiries) < 6:
            raise StoreUnavailable
        return "stored"

    assert lease.steadily(store) == "stored"
    assert child.said == ["pause", "resume"]
    assert len(set(expiries)) >= 4
    assert lease.paused_seconds > 0


def test_a_job_that_is_cancelled_does_not_wait_for_the_store(kept, database):
    lease, child = kept

    def store():
        with database.session() as session:
            session.execute(text("UPDATE job SET cancel_requested_at = now()"))
        raise StoreUnavailable

    with pytest.raises(TrainingFailure) as caught:
        lease.steadily(store)
    assert (caught.value.code, caught.value.retryable) == ("storage_unavailable", True)
    assert child.said in ([], ["pause"])
