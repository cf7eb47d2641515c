"""How much a tenant may have: defaults, its own limits, and no way past them by asking at the same moment."""

import threading

import pytest
from sqlalchemy import update

from services.db.models import Tenant
from services.errors import InvalidRequest, QuotaExceeded
from services.limits import quotas
from services.limits.storage import check_storage
from services.storage import chunks
from tests.factories import add_job


def own(database, tenant_id, **limits):
    with database.session() as session:
        session.get(Tenant, tenant_id).limits = limits


def test_a_tenant_has_the_defaults_but_for_its_own(database, tenant_id, settings):
    own(database, tenant_id, keys=3)
    with database.read_session() as session:
        limits = quotas.limits_of(session, tenant_id=tenant_id, settings=settings)
    assert limits["keys"] == 3
    assert limits["unfinished_jobs"] == settings.max_queued_jobs
    assert limits.keys() == quotas.LIMITS.keys()


def test_of_many_at_once_as_many_get_in_as_there_is_room_for(database, tenant_id):
    from services.jobs import repository

    add_job(database, tenant_id)
    barrier, refused = threading.Barrier(8), []

    def insert():
        barrier.wait()
        try:
            with database.session() as session:
                quotas.check(
                    session,
                    tenant_id=tenant_id,
                    name="unfinished_jobs",
                    limit=4,
                    count=lambda: repository.count_unfinished(session, tenant_id=tenant_id, at_most=4),
                )
                add_in(session, tenant_id)
        except QuotaExceeded as error:
            refused.append(error)

    threads = [threading.Thread(target=insert) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read_session() as session:
        assert repository.count_unfinished(session, tenant_id=tenant_id, at_most=100) == 4
    assert len(refused) == 5


def add_in(session, tenant_id):
    from services.db.models import Job
    from services.identifiers import new_id

    row = {"request": {}, "resolved": {}, "definition_sha256": "", "preflight": {}}
    session.add(Job(id=new_id("job"), tenant_id=tenant_id, **row))
    session.flush()


def test_storage_is_measured_at_most_once_a_minute(database, tenant_id, settings):
    def check(more=0):
        with database.session() as session:
            check_storage(session, tenant_id=tenant_id, settings=settings, more_bytes=more)

    own(database, tenant_id, storage_bytes=1000)
    check(999)
    with pytest.raises(QuotaExceeded, match="1000"):
        check(1000)
    with database.session() as session:
        chunks.put(session, tenant_id=tenant_id, chunks=[b"x" * 900])
    check(500)  # by the figure of a moment ago
    with database.session() as session:
        session.execute(update(Tenant).where(Tenant.id == tenant_id).values(stored_at=None))
    with pytest.raises(QuotaExceeded, match="900 bytes"):
        check(500)
    check(50)


def test_a_tenant_may_have_more_bytes_than_fit_into_32_bits(database, tenant_id, settings):
    own(database, tenant_id, storage_bytes=3 << 40)
    with database.session() as session:
        check_storage(session, tenant_id=tenant_id, settings=settings, more_bytes=2 << 40)
        with pytest.raises(QuotaExceeded, match=str(3 << 40)):
            check_storage(session, tenant_id=tenant_id, settings=settings, more_bytes=3 << 40)


def test_a_model_too_large_for_this_tenant_is_no_matter_of_waiting(settings):
    limits = quotas.effective({"model_parameters": 1000}, settings)
    quotas.check_parameters(limits, {"parameters": {"total": 1000}}, pointer="/model")
    with pytest.raises(InvalidRequest) as caught:
        quotas.check_parameters(limits, {"parameters": {"total": 1001}}, pointer="/model")
    assert (caught.value.code, caught.value.problems[0].pointer) == ("model_too_large", "/model")
    assert "1,001" in caught.value.detail
