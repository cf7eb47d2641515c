"""No transaction outlives a process that froze in it, whatever it had sent last, and no wait for a lock is for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import delete, event, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.db.after_commit import after_commit
from services.db.engine import Database, commit, is_locked, is_outage
from services.db.models import Tenant
from services.db.service_models import ServiceCounter
from services.jobs import repository
from tests.factories import add_job
from tests.stack import until

ROWS = [{"name": f"rows/{number}", "label": "", "value": number} for number in range(3)]


@pytest.fixture
def hasty(database: Database, database_url: str) -> Iterator[Database]:
    """A pool of a process whose transactions may be idle for half a second, over a database with `ROWS`."""
    with database.session() as session:
        session.execute(delete(ServiceCounter))
        session.execute(insert(ServiceCounter), ROWS)
    opened = Database(database_url, idle_transaction_seconds=0.5, lock_seconds=0.2)
    yield opened
    opened.close()


def one(session: Session) -> None:
    session.execute(update(ServiceCounter).values(value=7))


def many_new(session: Session) -> None:
    session.execute(insert(ServiceCounter), [{**row, "label": "new"} for row in ROWS])


def many_new_or_old(session: Session) -> None:
    session.execute(upsert(ServiceCounter).on_conflict_do_nothing(), ROWS)


def many_changes(session: Session) -> None:
    for counter in session.query(ServiceCounter):
        counter.value += 10
    session.flush()


def many_of_its_own(session: Session) -> None:
    session.add_all([Tenant(id=f"ten_engine{number}", name=f"engine{number}") for number in range(3)])
    session.flush()


WRITES = [one, many_new, many_new_or_old, many_changes, many_of_its_own]


@pytest.mark.parametrize("write", WRITES)
def test_the_transaction_of_a_frozen_process_ends_whatever_it_had_sent_last(
    database: Database, hasty: Database, write: Callable[[Session], None]
) -> None:
    """psycopg's pipelines end with a message after which PostgreSQL no longer counts idle time."""
    with pytest.raises(DBAPIError, match=r"terminat|closed|lost"), hasty.session() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        write(session)
        until(lambda: not _is_there(database, pid), seconds=60)
        session.execute(text("SELECT 1"))


def _is_there(database: Database, pid: int) -> bool:
    with database.read_session() as session:
        found = session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid})
    return bool(found)


def test_many_rows_are_one_statement_and_many_changes_are_all_made(database: Database, hasty: Database) -> None:
    statements: list[str] = []
    event.listen(hasty.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with hasty.session() as session:
        many_new(session)
        many_changes(session)
    assert sum(statement.startswith("INSERT") for statement in statements) == 1
    with database.read_session() as session:
        stored = {(row.name, row.label): row.value for row in session.query(ServiceCounter)}
    assert stored == {(f"rows/{number}", label): number + 10 for number in range(3) for label in ("", "new")}


def test_a_statement_waits_for_a_lock_no_longer_than_it_may(database: Database, hasty: Database) -> None:
    with database.session() as holder:
        one(holder)
        with pytest.raises(DBAPIError) as failure, hasty.session() as session:
            one(session)
    assert is_locked(failure.value)


def test_an_api_that_froze_with_a_job_locked_lets_go_of_it_as_a_worker_does(
    database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "HELD_SECONDS", 0.5)
    job_id = add_job(database, tenant_id)
    with pytest.raises(DBAPIError, match=r"terminat|closed|lost"), database.session() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        assert repository.find_locked(session, tenant_id=tenant_id, job_id=job_id) is not None
        until(lambda: not _is_there(database, pid), seconds=60)
        session.execute(text("SELECT 1"))
    with database.session() as session:  # the connection's next transaction has the time it always had
        repository.find_locked(session, tenant_id=tenant_id, job_id=job_id)
    with database.session() as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "10min"


def test_what_waits_for_the_commit_of_an_opened_session_runs_behind_it_and_not_without_it(hasty: Database) -> None:
    for ending, value, seen in ((commit, 7, [7]), (Session.rollback, 0, [])):
        told: list[int | None] = []
        with hasty.session() as before:
            before.execute(update(ServiceCounter).where(ServiceCounter.name == "rows/0").values(value=0))
        session = hasty.open_session()
        one(session)
        after_commit(session, lambda told=told: told.append(_first(hasty)))
        ending(session)
        session.close()
        assert (told, _first(hasty)) == (seen, value)


def test_a_statement_session_writes_without_a_transaction_of_its_own(hasty: Database) -> None:
    with hasty.statement_session() as session:
        one(session)
        assert _first(hasty) == 7


def _first(database: Database) -> int | None:
    with database.read_session() as session:
        return session.scalar(select(ServiceCounter.value).where(ServiceCounter.name == "rows/0"))


def test_a_server_that_only_reads_is_as_good_as_away(hasty: Database) -> None:
    pids = []
    for _ in range(2):
        with pytest.raises(DBAPIError) as failure, hasty.session() as session:
            pids.append(session.scalar(text("SELECT pg_backend_pid()")))
            session.execute(text("SET TRANSACTION READ ONLY"))
            one(session)
        assert is_outage(failure.value)
    assert len(set(pids)) == 2  # another connection, which may lead to another server
    with pytest.raises(DBAPIError) as failure, hasty.session() as session:
        session.execute(text("SELECT 1 / 0"))
    assert not is_outage(failure.value)
