"""Whose turn it is: shares, limits and priorities, whatever is submitted, claimed and ended in whatever order."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.db.engine import Database
from services.db.models import Tenant
from services.errors import TrainingFailure
from services.identifiers import new_id
from services.jobs.claims import FORMAT, Claim, claim_next
from services.jobs.outcomes import finish_failed, give_back
from tests.factories import add_job
from tests.stack import until

FAILURE = TrainingFailure("It ended.", code="over", failure_class="user", retryable=False)


@pytest.fixture(autouse=True)
def _empty_queue(database: Database) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM job"))


def tenant(database: Database, limit: int | None = None) -> str:
    identifier = new_id("ten")
    with database.session() as session:
        session.add(Tenant(id=identifier, name=identifier, max_running_jobs=limit))
    return identifier


def take(database: Database, *, devices: tuple[str, ...] = ("cpu",), limit: int | None = None) -> Claim | None:
    with database.session() as session:
        return claim_next(session, owner="t/1", devices=devices, lease_seconds=60, max_running_jobs=limit)


def end(database: Database, claim: Claim) -> None:
    with database.session() as session:
        finish_failed(session, claim, FAILURE)


def running(database: Database, tenant_id: str) -> int:
    statement = text("SELECT count(*) FROM job WHERE tenant_id = :tenant AND lease_expires_at IS NOT NULL")
    with database.read_session() as session:
        return session.scalar(statement, {"tenant": tenant_id}) or 0


def test_a_tenant_with_many_queued_jobs_does_not_starve_one_with_one(database: Database) -> None:
    many, one = tenant(database), tenant(database)
    for _ in range(20):
        add_job(database, many)
    claims = [take(database)]
    late = add_job(database, one)
    claims.append(take(database))
    assert claims[1].job_id == late


def test_with_a_single_slot_tenants_take_turns(database: Database) -> None:
    first, second = tenant(database), tenant(database)
    for owner in (first, first, first, second, second):
        add_job(database, owner)
    order = []
    while claimed := take(database):
        order.append(claimed.tenant_id)
        end(database, claimed)
    assert order == [first, second, first, second, first]


def test_priority_goes_before_shares_and_shares_before_age(database: Database) -> None:
    busy, idle = tenant(database), tenant(database)
    add_job(database, busy)
    take(database)
    old = add_job(database, busy)
    young = add_job(database, idle)
    urgent = add_job(database, busy, priority=1)
    assert [take(database).job_id for _ in range(3)] == [urgent, young, old]


def test_a_tenant_at_its_limit_is_passed_over_and_keeps_nobody_waiting(database: Database) -> None:
    limited, free = tenant(database, limit=1), tenant(database)
    for _ in range(3):
        add_job(database, limited, priority=9)
    late = add_job(database, free)
    first = take(database)
    assert first.tenant_id == limited
    assert take(database).job_id == late
    assert take(database) is None
    end(database, first)
    assert take(database).tenant_id == limited


def test_the_limit_of_the_service_holds_for_tenants_without_one_of_their_own(database: Database) -> None:
    ordinary, favoured, shut = tenant(database), tenant(database, limit=3), tenant(database, limit=0)
    for owner in (ordinary, favoured, shut):
        for _ in range(4):
            add_job(database, owner)
    claims = []
    while claimed := take(database, limit=2):
        claims.append(claimed.tenant_id)
    assert Counter(claims) == {ordinary: 2, favoured: 3}


def test_a_limit_that_is_lowered_ends_nothing_and_lets_nothing_more_begin(database: Database) -> None:
    owner = tenant(database, limit=4)
    for _ in range(8):
        add_job(database, owner)
    claims = [take(database) for _ in range(4)]
    with database.session() as session:
        session.execute(text("UPDATE tenant SET max_running_jobs = 2 WHERE id = :id"), {"id": owner})
    for claimed in claims[:2]:
        assert take(database) is None
        end(database, claimed)
    assert take(database) is None
    end(database, claims[2])
    assert take(database) is not None
    assert take(database) is None


def test_a_seat_is_free_again_however_an_attempt_ends(database: Database) -> None:
    owner = tenant(database, limit=1)
    job_id = add_job(database, owner)
    for _ in range(3):
        claimed = take(database)
        assert claimed.job_id == job_id
        with database.session() as session:
            give_back(session, claimed, reason="worker_draining")
    end(database, take(database))
    assert running(database, owner) == 0


def test_jobs_for_other_devices_hold_up_nobody(database: Database) -> None:
    owner = tenant(database)
    for _ in range(3):
        add_job(database, owner, device="cuda", priority=50)
    small = add_job(database, owner)
    assert take(database).job_id == small
    assert take(database, devices=("cuda", "cuda:2")) is not None


def test_jobs_that_only_a_newer_worker_can_run_hold_up_nobody(database: Database) -> None:
    owner = tenant(database)
    for _ in range(3):
        add_job(database, owner, format=FORMAT + 1, priority=50)
    known = add_job(database, owner)
    assert take(database).job_id == known
    assert take(database) is None


@dataclass
class Model:
    """What the rule says, in a few lines of Python."""

    limits: dict[str, int | None]
    queued: list[tuple[str, str, int]] = field(default_factory=list)  # job, tenant, priority: oldest first
    running: Counter[str] = field(default_factory=Counter)
    served: list[str] = field(default_factory=list)

    def next(self) -> str | None:
        def order(place: int) -> tuple[int, int, int, int]:
            _, owner, priority = self.queued[place]
            last = max((turn for turn, one in enumerate(self.served) if one == owner), default=-1)
            return -priority, self.running[owner], last, place

        open_ = [place for place, (_, owner, _) in enumerate(self.queued) if not self.full(owner)]
        return self.queued[min(open_, key=order)][0] if open_ else None

    def full(self, owner: str) -> bool:
        limit = self.limits[owner]
        return limit is not None and self.running[owner] >= limit


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("claim"), st.just(0), st.just(0)),
        st.tuples(st.sampled_from(["end", "give_back"]), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("limit"), st.integers(0, 2), st.sampled_from([None, 0, 1, 2])),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.tuples(*[st.sampled_from([None, 1, 2])] * 3), steps=STEPS)
def test_whatever_happens_the_next_claim_is_the_one_that_the_rule_names(database, limits, steps) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM job"))
    owners = [tenant(database, limit) for limit in limits]
    model, claims = Model(dict(zip(owners, limits, strict=True))), []
    born: dict[str, int] = {}
    for what, number, value in steps:
        if what == "submit":
            owner = owners[number]
            model.queued.append((add_job(database, owner, priority=value), owner, value))
            born[model.queued[-1][0]] = len(born)
        elif what == "limit":
            model.limits[owners[number]] = value
            with database.session() as session:
                session.get(Tenant, owners[number]).max_running_jobs = value
        elif what == "claim":
            expected, claimed = model.next(), take(database)
            assert (claimed and claimed.job_id) == expected
            if claimed is not None:
                entry = next(one for one in model.queued if one[0] == expected)
                model.queued.remove(entry)
                model.running[entry[1]] += 1
                model.served.append(entry[1])
                claims.append((claimed, entry))
        elif claims:
            claimed, entry = claims.pop(number % len(claims))
            model.running[entry[1]] -= 1
            if what == "end":
                end(database, claimed)
            else:
                with database.session() as session:
                    give_back(session, claimed, reason="worker_draining")
                model.queued.append(entry)
                model.queued.sort(key=lambda one: born[one[0]])
        for owner in owners:
            assert running(database, owner) == model.running[owner]


def test_eight_claimers_at_once_take_each_job_once_and_pass_no_limit(database: Database) -> None:
    limits = {tenant(database, limit=2): 2, tenant(database, limit=1): 1, tenant(database): 99}
    jobs = {add_job(database, owner) for owner in limits for _ in range(12)}
    claimed: list[str] = []
    seen: list[tuple[int, int]] = []

    def work() -> None:
        while len(claimed) < len(jobs):
            claim = take(database)
            if claim is not None:
                claimed.append(claim.job_id)
                seen.extend((running(database, owner), limit) for owner, limit in limits.items())
                end(database, claim)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: not any(thread.is_alive() for thread in threads), seconds=120, what=lambda: str(len(claimed)))
    assert sorted(claimed) == sorted(jobs)
    assert all(count <= limit for count, limit in seen)


def test_eight_claimers_for_three_seats_fill_them_exactly(database: Database) -> None:
    owner = tenant(database, limit=3)
    for _ in range(20):
        add_job(database, owner)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(5):
            take(database)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running(database, owner) == 3
