"""Puts the HTTP service together: parts, routes, errors, middleware."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from api import (
    catalog,
    checkpoints,
    datasets,
    docs_page,
    errors,
    events,
    graph_static,
    graphs,
    health,
    job_changes,
    job_logs,
    job_polls,
    jobs,
    keys,
    metrics,
    metrics_page,
    model_graphs,
    models,
    openapi,
    predictions,
    queue,
    scopes,
    sweeps,
    usage,
    webhooks,
    workers,
)
from api.board import Board
from api.body import BodyLimits
from api.compression import Compression
from api.cross_origin import cors_options
from api.dependencies import Parts, admitted
from api.http_metrics import HttpMetrics
from api.looks import Looks
from api.metering import Meter
from api.middleware import RequestContext
from api.routes import add_routes
from api.watching import Watcher
from services.config import Settings
from services.datasets.reader import Reader
from services.db.engine import Database
from services.health import StoreProbe, redis_client
from services.jobs import events as job_events
from services.jobs import queries
from services.jobs.line import Line, read_line
from services.jobs.schema import JobRequest
from services.predictions.warm import WarmModels
from services.preflight import STATIC_PRELOAD, Preflight
from services.queue import Doorbell
from services.storage.copies import Copies
from services.storage.place import open_database
from services.telemetry import tracing
from services.tenants.cache import PrincipalCache
from services.training.problems import prepare

THREADS = 16
"""Endpoints that run at once. More would only queue for the interpreter's lock and for database connections."""

SUBMISSIONS = 8
"""Submissions that may be checked at once: hard definitions must leave threads for everybody who only looks."""

PREPARATIONS = 4
"""Uploads that may be completed at once: each holds a thread until its file is read."""

_PRIVATE = (
    job_polls,
    jobs,
    job_changes,
    events,
    job_logs,
    metrics,
    checkpoints,
    predictions,
    models,
    model_graphs,
    graphs,
    graph_static,
    datasets,
    sweeps,
    webhooks,
    queue,
    workers,
    catalog,
    keys,
    usage,
)
"""Everything that needs a key. The first that fits is taken, and those that are asked most are found first."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it opens connections and children when it is started, not before."""
    app = FastAPI(
        title="Modelwright",
        version=version("modelwright"),
        lifespan=_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # we have our own
    )
    app.state.settings = settings
    app.state.body_limits = BodyLimits(max_bytes=settings.max_body_bytes)
    app.add_middleware(Compression)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cors_options(settings.cors_origins))
    app.add_middleware(RequestContext)
    errors.install(app)
    for private in _PRIVATE:
        # The one dependency here is what makes the default a refusal.
        add_routes(app, private.router, prefix="/v1", dependencies=[Depends(admitted)])
    for public in (health, docs_page, metrics_page):
        add_routes(app, public.router)
    app.state.http_metrics = HttpMetrics(app)
    app.state.actions = scopes.actions(app)
    openapi.install(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    app.state.submission_slots = asyncio.Semaphore(SUBMISSIONS)
    app.state.graph_slots = asyncio.Semaphore(app.state.settings.graph_processes)
    app.state.static_slots = asyncio.Semaphore(1)
    app.state.prediction_slots = asyncio.Semaphore(app.state.settings.prediction_processes)
    app.state.preparation_slots = asyncio.Semaphore(PREPARATIONS)
    with ExitStack() as stack:
        stack.callback(tracing.configure(app.state.settings, part="api"))
        app.state.parts = await anyio.to_thread.run_sync(_open_parts, app.state.settings, stack)
        async with app.state.parts.meter.running():
            yield


def _open_parts(settings: Settings, stack: ExitStack) -> Parts:
    database = open_database(settings, pool_size=THREADS)
    stack.callback(database.close)
    doorbell = Doorbell(settings.redis_url)
    stack.callback(doorbell.close)
    redis = redis_client(settings.redis_url)
    stack.callback(redis.close)
    preflight, static = Preflight(settings), Preflight(settings, preload=STATIC_PRELOAD)
    stack.callback(preflight.close)
    stack.callback(static.close)
    preflight.start()
    prepare(JobRequest)
    warm = WarmModels(settings, preflight.server)
    stack.callback(warm.close)
    reader = Reader(settings)
    stack.callback(reader.close)
    watcher = Watcher(partial(_versions, database), max_streams=settings.max_tenant_streams)
    meter = Meter(settings, database)
    stack.callback(meter.close)
    board = Board(partial(_line, database, settings.max_running_jobs or None))
    looks = Looks(partial(_owned, database))
    stack.callback(looks.close)
    known = (PrincipalCache(), watcher, meter, board, looks, *_object_store(settings, database, stack))
    return Parts(settings, database, preflight, static, warm, reader, doorbell, redis, *known)


def _object_store(settings: Settings, database: Database, stack: ExitStack) -> tuple[StoreProbe | None, Copies | None]:
    """Return what asks the object store how it is, and what sends clients there, as far as there is one for it."""
    if database.objects is None:
        return None, None
    if not database.objects.redirects:
        return StoreProbe(database.objects), None
    copies = Copies(database.objects, settings.exports_dir)
    stack.callback(copies.close)
    return StoreProbe(database.objects), copies


def _line(database: Database, max_running_jobs: int | None) -> Line:
    with database.read_session() as session:
        return read_line(session, max_running_jobs=max_running_jobs)


def _versions(database: Database, job_ids: Sequence[str]) -> Mapping[str, int]:
    with database.read_session() as session:
        return job_events.versions(session, job_ids=job_ids)


def _owned(database: Database, job_ids: Sequence[str]) -> Mapping[str, queries.Owned]:
    with database.read_session() as session:
        return queries.find_owned(session, job_ids=job_ids)
