"""The database engine and its two kinds of session."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from psycopg import Cursor
from psycopg.errors import DiskFull, LockNotAvailable, ReadOnlySqlTransaction
from psycopg.pq import Format
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine, ExceptionContext, ExecutionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from services.db import tables  # noqa: F401 - a session that writes one table must know those it refers to
from services.db.after_commit import run_after_commit
from services.db.clock import CLOCK, Clock

if TYPE_CHECKING:
    from services.storage.objects import ObjectStore

_CONNECT_ARGUMENTS = {
    "connect_timeout": 5,
    # A half-open connection is noticed by the kernel instead of by a reader that waits for ever.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

IDLE_TRANSACTION_SECONDS = 600.0
"""No transaction of ours waits so long for its own process: one that does belongs to a frozen one, and holds locks."""

BINARY = {"binary": True}
"""Execution options for reading many bytes: in text form PostgreSQL sends two digits for each, five times as slowly."""


_OBJECTS = "objects"


def is_outage(error: DBAPIError) -> bool:
    """Whether the server was away or refused to work, so that the same statement may succeed in a moment."""
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def is_full(error: DBAPIError) -> bool:
    """Whether the server has no room left on its disk."""
    return isinstance(error.orig, DiskFull)


def is_locked(error: DBAPIError) -> bool:
    """Whether the statement waited in vain for a lock that another transaction keeps."""
    return isinstance(error.orig, LockNotAvailable)


class Database:
    """Connections to PostgreSQL, and sessions over them.

    Write sessions are transactions; the edge (a request, a task) commits, services never do. Read sessions, and those
    for a write of one statement, run in autocommit, which halves the round trips of a poll, on connections that stay
    so: switching one there and back costs a fifth of a read.

    No transaction is idle for longer than ``idle_transaction_seconds``, and no statement waits longer than
    ``lock_seconds`` for a lock (None: as long as it takes).

    With ``objects`` the bytes of chunks lie there; the database's sessions know it, and ``close`` closes it.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        idle_transaction_seconds: float = IDLE_TRANSACTION_SECONDS,
        lock_seconds: float | None = None,
        objects: ObjectStore | None = None,
    ) -> None:
        self.url = url
        # `pg_stat_activity` shows which process holds a connection; the owner of a job is named by the same number.
        arguments = {**_CONNECT_ARGUMENTS, "application_name": f"modelwright/{os.getpid()}"}
        self.objects = objects
        # Else a process that froze within a transaction would keep its job's row from every sweeper.
        limits = f"-c idle_in_transaction_session_timeout={_milliseconds(idle_transaction_seconds)}"
        if lock_seconds is not None:
            limits += f" -c lock_timeout={_milliseconds(lock_seconds)}"
        self.engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=False,
            connect_args={**arguments, "options": limits},
        )
        _end_each_statement(self.engine)
        known = {_OBJECTS: objects, CLOCK: Clock()}
        self._writer = sessionmaker(self.engine, expire_on_commit=False, info=known)
        self._read_engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_reset_on_return=None,  # in autocommit there is nothing to roll back
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            connect_args=arguments,
        )
        for engine in (self.engine, self._read_engine):
            event.listen(engine, "before_cursor_execute", _ask_for_binary)
            event.listen(engine, "handle_error", _leave_standby)
        self._reader = sessionmaker(self._read_engine, expire_on_commit=False, autoflush=False, info=known)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a transaction that commits when the block ends and rolls back when it raises.

        Functions registered with `after_commit` run once the commit is acknowledged.
        """
        with self._writer() as session:
            with session.begin():
                yield session
            run_after_commit(session)

    def open_session(self) -> Session:
        """Return a transaction that begins with its first statement: end it with `commit` or its ``rollback``.

        For who cannot end it where it began; ``close`` it afterwards.
        """
        return self._writer()

    @contextmanager
    def read_session(self) -> Iterator[Session]:
        """Yield an autocommit session for reading."""
        with self._reader() as session:
            yield session

    @contextmanager
    def statement_session(self) -> Iterator[Session]:
        """Yield an autocommit session for a write of one statement, which is its own transaction: one round trip."""
        with self.read_session() as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()
        self._read_engine.dispose()
        if self.objects is not None:
            self.objects.close()


def commit(session: Session) -> None:
    """Commit a session of `Database.open_session`; what was registered with `after_commit` runs then."""
    session.commit()
    run_after_commit(session)


def objects_of(session: Session) -> ObjectStore | None:
    """Return where the bytes of chunks lie that this session's transactions store; None: in the database."""
    store: ObjectStore | None = session.info.get(_OBJECTS)
    return store


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _end_each_statement(engine: Engine) -> None:
    """Keep psycopg from running a statement with many parameters as a pipeline.

    PostgreSQL counts an idle transaction's time from the Sync that ends a statement to the next message of any kind.
    In a pipeline there is none between the statements, and psycopg sends a Flush behind the last: whoever froze right
    there kept his locks for as long as he was frozen, whatever ``idle_in_transaction_session_timeout`` said.
    """
    engine.dialect.use_insertmanyvalues_wo_returning = True  # many rows are one statement
    engine.dialect.supports_sane_multi_rowcount = False  # of what `_one_by_one` runs only the last count is known
    event.listen(engine, "do_executemany", _one_by_one)


def _one_by_one(
    cursor: Cursor[Any], statement: str, parameters: Sequence[Any], _context: ExecutionContext
) -> Literal[True]:
    for one in parameters:
        cursor.execute(statement, one)
    return True


def _leave_standby(context: ExceptionContext) -> None:
    """Take a server that only reads for one that is away: the one to write to may be elsewhere by now.

    It is a standby that has not been promoted yet, or a primary that was replaced; its connections are given up.
    """
    if isinstance(context.original_exception, ReadOnlySqlTransaction):
        context.is_disconnect = True


def _ask_for_binary(
    _connection: object,
    cursor: Cursor[Any],
    _statement: str,
    _parameters: object,
    context: ExecutionContext | None,
    _many: bool,
) -> None:
    if context is not None and context.execution_options.get("binary"):
        cursor.format = Format.BINARY
