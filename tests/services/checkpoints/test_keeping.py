"""Pinned checkpoints stay; deleted ones go, unless a job would go on from them."""

import pytest
from sqlalchemy import text

from services.checkpoints.keeping import CheckpointInUse, change_checkpoint, delete_checkpoint, delete_expired
from services.checkpoints.service import list_checkpoints
from services.errors import InvalidRequest, NotFound
from tests.factories import add_job, claim
from tests.services.checkpoints.test_service import put, snapshot


@pytest.fixture
def owner(database, tenant_id):
    with database.session() as session:
        session.execute(text("DELETE FROM checkpoint; DELETE FROM job"))
    add_job(database, tenant_id)
    return claim(database)


def steps(database, owner):
    with database.read_session() as session:
        page = list_checkpoints(session, tenant_id=owner.tenant_id, job_id=owner.job_id, limit=50)
    return [one["step"] for one in page.data]


def test_a_pinned_checkpoint_outlives_its_turn_until_it_is_unpinned(database, owner, tmp_path):
    first = put(database, owner, snapshot(tmp_path, 1), keep=2)
    with database.session() as session:
        shown = change_checkpoint(session, tenant_id=owner.tenant_id, checkpoint_id=first, body={"pinned": True})
    assert shown["pinned"] is True
    for step in (2, 3, 4):
        put(database, owner, snapshot(tmp_path, step), keep=2)
    assert steps(database, owner) == [4, 3, 1]
    with database.session() as session:
        change_checkpoint(session, tenant_id=owner.tenant_id, checkpoint_id=first, body={"pinned": False})
    put(database, owner, snapshot(tmp_path, 5), keep=2)
    assert steps(database, owner) == [5, 4]


@pytest.mark.parametrize(
    ("body", "code"), [({}, "missing"), ({"pinned": "yes"}, "bool_type"), ({"pinned": True, "x": 1}, "extra_forbidden")]
)
def test_a_change_says_exactly_what_it_wants(database, owner, tmp_path, body, code):
    checkpoint_id = put(database, owner, snapshot(tmp_path, 1))
    with database.session() as session, pytest.raises(InvalidRequest) as refused:
        change_checkpoint(session, tenant_id=owner.tenant_id, checkpoint_id=checkpoint_id, body=body)
    assert [problem.code for problem in refused.value.problems] == [code]


def test_the_newest_checkpoint_of_a_job_under_way_cannot_be_deleted_others_can(database, owner, settings, tmp_path):
    older, newest = (put(database, owner, snapshot(tmp_path, step)) for step in (1, 2))
    call = {"tenant_id": owner.tenant_id, "settings": settings}
    with database.session() as session, pytest.raises(CheckpointInUse):
        delete_checkpoint(session, checkpoint_id=newest, **call)
    with database.session() as session:
        delete_checkpoint(session, checkpoint_id=older, **call)
    assert steps(database, owner) == [2]
    with database.session() as session:
        session.execute(text("UPDATE job SET state = 'succeeded', lease_expires_at = NULL"))
    with database.session() as session:
        delete_checkpoint(session, checkpoint_id=newest, **call)
    assert steps(database, owner) == []


def test_nobody_pins_or_deletes_anothers_checkpoint(database, owner, settings, tmp_path):
    checkpoint_id = put(database, owner, snapshot(tmp_path, 1))
    with database.session() as session:
        with pytest.raises(NotFound):
            change_checkpoint(session, tenant_id="ten_other", checkpoint_id=checkpoint_id, body={"pinned": True})
        with pytest.raises(NotFound):
            delete_checkpoint(session, tenant_id="ten_other", checkpoint_id=checkpoint_id, settings=settings)


def end(database, owner, *, days_ago, keep_days=7):
    values = {"days": days_ago, "keep_days": keep_days, "id": owner.job_id}
    with database.session() as session:
        session.execute(
            text(
                "UPDATE job SET state = 'succeeded', lease_expires_at = NULL, checkpoint_days = :keep_days, "
                "finished_at = now() - make_interval(days => :days) WHERE id = :id"
            ),
            values,
        )


def collect(database):
    with database.session() as session:
        return delete_expired(session)


def test_checkpoints_go_so_many_days_after_the_end_of_their_job_but_for_pinned_ones(database, owner, tmp_path):
    pinned, *_ = [put(database, owner, snapshot(tmp_path, step, best=step == 2)) for step in (1, 2, 3)]
    ours = {"tenant_id": owner.tenant_id, "checkpoint_id": pinned}
    with database.session() as session:
        change_checkpoint(session, **ours, body={"pinned": True})
    assert collect(database) == 0  # it has not ended
    end(database, owner, days_ago=6)
    assert collect(database) == 0
    end(database, owner, days_ago=8)
    assert collect(database) == 2
    assert steps(database, owner) == [1]
    with database.session() as session:
        change_checkpoint(session, **ours, body={"pinned": False})
    assert collect(database) == 1
    assert steps(database, owner) == []
    with database.read_session() as session:
        assert session.scalar(text("SELECT checkpoint_days FROM job")) is None  # looked at no more


def test_without_a_number_of_days_checkpoints_stay(database, owner, tmp_path):
    put(database, owner, snapshot(tmp_path, 1))
    end(database, owner, days_ago=4000, keep_days=None)
    assert collect(database) == 0
    assert steps(database, owner) == [1]
