"""The log's own rules: entries come by pages, and go when they are old enough."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from services.audit.service import Deed, Wanted, forget_old, list_entries, record
from services.db.accounting_models import AuditEntry


def write(database, tenant_id, count):
    with database.session() as session:
        for number in range(count):
            record(session, Deed(tenant_id, "key_00000000", "POST /v1/jobs", f"job_{number}", 201))


def listed(database, tenant_id, limit=20, after=None, **wanted):
    with database.read_session() as session:
        return list_entries(session, tenant_id=tenant_id, wanted=Wanted(**wanted), limit=limit, after=after)


def test_pages_hold_every_entry_once(database, tenant_id):
    write(database, tenant_id, 7)
    seen, after = [], None
    while True:
        page = listed(database, tenant_id, limit=3, after=after)
        seen += [one["object_id"] for one in page.data]
        after = page.last_id
        if not page.has_more:
            break
    assert sorted(seen) == [f"job_{number}" for number in range(7)]


def test_entries_are_found_by_when_they_were_written(database, tenant_id):
    write(database, tenant_id, 1)
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    assert len(listed(database, tenant_id, created_after=now - hour, created_before=now + hour).data) == 1
    assert not listed(database, tenant_id, created_after=now + hour).data
    assert not listed(database, tenant_id, created_before=now - hour).data


def test_old_entries_go_and_others_stay(database, tenant_id):
    write(database, tenant_id, 3)
    old = listed(database, tenant_id).data[0]["id"]
    with database.session() as session:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        session.execute(update(AuditEntry).where(AuditEntry.id == old).values(created_at=long_ago))
    with database.session() as session:
        assert forget_old(session, days=30) == 1
    left = [one["id"] for one in listed(database, tenant_id).data]
    assert len(left) == 2
    assert old not in left
