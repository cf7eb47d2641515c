"""What endpoints ask for: who is calling, a session, the parts of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import redis
from anyio import CancelScope
from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.board import Board
from api.known_jobs import KnownJobs, KnownPlaces
from api.looks import Looks
from api.metering import Meter
from api.scopes import ANY_KEY, needed
from api.threads import at_once
from api.watching import Watcher
from services import logging
from services.config import Settings
from services.datasets import reader as datasets
from services.db.engine import Database, commit
from services.errors import Busy, RateLimited, Unavailable
from services.health import StoreProbe
from services.limits.rates import Allowance
from services.predictions.warm import WarmModels
from services.preflight import Preflight
from services.queue import Doorbell
from services.storage.copies import Copies
from services.tenants import service as tenants
from services.tenants.cache import PrincipalCache
from services.tenants.service import Principal

SLOT_SECONDS = 30.0
"""How long a submission waits for its turn before it is told to come back."""

STATIC_SLOT_SECONDS = 10.0
"""The same for captures and comparisons, of which one takes seconds to a minute."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process opened when it started; closed when it ends."""

    settings: Settings
    database: Database
    preflight: Preflight
    static: Preflight
    warm: WarmModels
    reader: datasets.Reader
    doorbell: Doorbell
    redis: redis.Redis
    principals: PrincipalCache
    watcher: Watcher
    meter: Meter
    board: Board
    looks: Looks
    store: StoreProbe | None = None  # without an object store
    copies: Copies | None = None  # nobody is sent there
    known_jobs: KnownJobs = field(default_factory=KnownJobs)
    known_places: KnownPlaces = field(default_factory=KnownPlaces)


async def parts(request: Request) -> Parts:
    """Return the opened parts."""
    opened: Parts = request.app.state.parts
    return opened


ServiceParts = Annotated[Parts, Depends(parts)]


async def admitted(request: Request) -> None:
    """Let in who has a good key with the scope that the route wants; the root router asks, so no route can forget to.

    Raises:
        Unauthenticated: with no key, or one that is not good.
        RateLimited: the tenant asks too often.
        InsufficientScope: the key may not do this.
    """
    principal = await authenticated(request)
    state = request.app.state
    request.state.principal = principal
    logging.ids.set({**logging.ids.get(), "tenant_id": principal.tenant_id})
    try:
        request.state.allowance = state.parts.meter.admit(principal)
    except RateLimited as refusal:
        request.state.allowance = Allowance(refusal.limit, 0, refusal.retry_after_seconds)
        raise
    scope = needed(state.actions[request.scope["endpoint"]])
    if scope != ANY_KEY:
        principal.require(scope)


async def authenticated(request: Request) -> Principal:
    """Return who is calling; what goes on for long asks again.

    Raises:
        Unauthenticated: with no key, or one that is not good.
    """
    opened = await parts(request)
    key_text = bearer(request.headers.get("authorization", ""))
    principal = opened.principals.find(key_text)
    return await run_in_threadpool(_look_up, opened, key_text) if principal is None else principal


async def looking(request: Request) -> Principal:
    """Return who was let in to look."""
    # Each node of the dependency tree costs tens of microseconds: this reads what the root router's left.
    principal: Principal = request.state.principal
    return principal


async def changing(request: Request) -> Principal:
    """Return who was let in to change something."""
    return await looking(request)


async def submission_slot(request: Request) -> AsyncIterator[None]:
    """Hold one of the few places for requests that may wait for a preflight, so that they leave threads for the rest.

    Waiting for a place costs no thread. Take it after the body is read: a slow sender must not hold one.

    Raises:
        Unavailable: none came free in time.
    """
    async with _place(request.app.state.submission_slots, "Too many definitions are being checked."):
        yield


def preparation_place(request: Request) -> AbstractAsyncContextManager[None]:
    """Return a place for completing an upload, to be entered.

    Raises:
        Unavailable: none came free in time.
    """
    return _place(request.app.state.preparation_slots, "Too many data sets are being read.")


async def preparation_slot(request: Request) -> AsyncIterator[None]:
    """Hold one of the few places for completing an upload, which takes a thread until its file is read.

    Raises:
        Unavailable: none came free in time.
    """
    async with preparation_place(request):
        yield


async def graph_slot(request: Request) -> AsyncIterator[None]:
    """Hold one of the few places for recording a graph, which takes a thread for seconds: submissions go on beside it.

    Raises:
        Unavailable: none came free in time.
    """
    async with _place(request.app.state.graph_slots, "Too many graphs are being recorded."):
        yield


async def static_slot(request: Request) -> AsyncIterator[None]:
    """Hold the one place for capturing or measuring a static graph: two at once would slow what both measure.

    Raises:
        Busy: it did not come free in time.
    """
    taken = "Another graph is being captured or measured; these go one at a time."
    async with _place(request.app.state.static_slots, taken, seconds=STATIC_SLOT_SECONDS, refusal=Busy):
        yield


async def prediction_slot(request: Request) -> AsyncIterator[None]:
    """Hold one of the few places for a prediction, which takes a thread while its child is at work.

    Raises:
        Unavailable: none came free in time.
    """
    async with _place(request.app.state.prediction_slots, "Too many predictions are being made."):
        yield


# What an endpoint says of itself; the scope is in `api.scopes`, and a test compares the two.
Reader = Annotated[Principal, Depends(looking)]
Writer = Annotated[Principal, Depends(changing)]


async def write_session(request: Request, parts: ServiceParts) -> AsyncIterator[Session]:
    """Yield a transaction that has committed, or failed, before the answer is sent.

    It begins with the first statement and costs no change of threads of its own: `api.audited` adds its entry and
    commits in one.
    """
    session = parts.database.open_session()
    request.state.session = session
    try:
        yield session
        if session.in_transaction():
            await at_once(partial(commit, session))
    finally:
        if session.in_transaction():
            with CancelScope(shield=True):
                await at_once(session.close)
        else:
            session.close()


# Scope "function": the default would commit after the client has its 201.
SubmissionSlot = Annotated[None, Depends(submission_slot, scope="function")]
StaticSlot = Annotated[None, Depends(static_slot, scope="function")]
GraphSlot = Annotated[None, Depends(graph_slot, scope="function")]
PredictionSlot = Annotated[None, Depends(prediction_slot, scope="function")]
PreparationSlot = Annotated[None, Depends(preparation_slot, scope="function")]
WriteSession = Annotated[Session, Depends(write_session, scope="function")]


@asynccontextmanager
async def _place(
    slots: asyncio.Semaphore, detail: str, *, seconds: float = SLOT_SECONDS, refusal: type[Unavailable] = Unavailable
) -> AsyncIterator[None]:
    try:
        await asyncio.wait_for(slots.acquire(), seconds)
    except TimeoutError:
        raise refusal(detail) from None
    try:
        yield
    finally:
        slots.release()


def _look_up(parts: Parts, key_text: str) -> Principal:
    asked_at = parts.principals.now()
    with parts.database.read_session() as session:
        principal = tenants.authenticate(session, key_text)
    parts.principals.remember(key_text, principal, asked_at=asked_at)
    return principal


def bearer(header: str) -> str:
    """Return the token of an ``Authorization`` header, or nothing."""
    scheme, _, credentials = header.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""
