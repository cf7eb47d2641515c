"""Routes whose calls are written into the audit log: with the deed, in its transaction, or with the refusal.

The entry is made once the answer is known, and commits with the transaction of the request: a deed without an entry
cannot be committed, nor an entry without its deed. A route that has no transaction of its own (an upload, which has
several) is written down when it is done, before its answer is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api import logs
from api.errors import code_of
from api.threads import at_once
from services.audit.service import Deed, record
from services.db.engine import commit
from services.errors import RateLimited
from services.tenants.keys import redact

log = logging.getLogger(__name__)

_LOOKING = frozenset({"GET", "HEAD"})
_MAX_ID_CHARACTERS = 80


class AuditedRoute(APIRoute):
    """A route that leaves an entry whenever it is called to change something."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, wrapped; its transaction is committed here, in the change of threads of the entry."""
        handle = super().get_route_handler()

        async def audited(request: Request) -> Response:
            if request.method in _LOOKING:
                return await handle(request)
            try:
                response = await handle(request)
            except Exception as error:
                await _note_refusal(request, error)
                raise
            deed = _deed(request, response.status_code, None, _object_id(request, response))
            session = getattr(request.state, "session", None)
            if session is None:
                await run_in_threadpool(_write, request, deed)
            else:
                await at_once(partial(_settle, session, deed))
            return response

        return audited


async def _note_refusal(request: Request, error: Exception) -> None:
    """Write down what was refused; not being able to is no reason to answer something else."""
    if isinstance(error, RateLimited | ClientDisconnect) or not hasattr(request.state, "principal"):
        return  # a flood must not fill the log, who went away was told nothing, who has no key belongs to nobody
    status, code = code_of(error)
    deed = _deed(request, status, code, _path_id(request))
    session: Session | None = getattr(request.state, "session", None)
    try:
        if session is not None and session.in_transaction():
            await at_once(partial(_write_instead, request, session, deed))
        else:
            await run_in_threadpool(_write, request, deed)
    except SQLAlchemyError as failure:
        log.warning("refusal not written down: %s", type(failure).__name__, extra={"action": deed.action})


def _deed(request: Request, status: int, code: str | None, object_id: str | None) -> Deed:
    principal = request.state.principal
    action = request.app.state.actions[request.scope["endpoint"]]
    return Deed(principal.tenant_id, principal.key_id, action, object_id, status, code, logs.request_id())


def _settle(session: Session, deed: Deed) -> None:
    record(session, deed)
    commit(session)


def _write_instead(request: Request, session: Session, deed: Deed) -> None:
    with suppress(SQLAlchemyError):  # the server undoes what is left of a broken connection
        session.rollback()  # what it did is undone anyway, and the entry needs a connection
    _write(request, deed)


def _write(request: Request, deed: Deed) -> None:
    with request.app.state.parts.database.statement_session() as session:
        record(session, deed)


def _object_id(request: Request, response: Response) -> str | None:
    """Return what was made, which ``Location`` names, or what the path names."""
    made = response.headers.get("location", "").rpartition("/")[2]
    return made or _path_id(request)


def _path_id(request: Request) -> str | None:
    named = [value for name, value in request.path_params.items() if name.endswith("_id")]
    return redact(str(named[0]))[:_MAX_ID_CHARACTERS] if named else None  # what stands there may be anything
