"""The client for ``await``: the same methods, which never hold up the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from modelwright.async_job import AsyncJob
from modelwright.client import Client
from modelwright.job import Job
from modelwright.transport import RetryPolicy

P = ParamSpec("P")
R = TypeVar("R")
_END = object()


def _awaited(
    method: Callable[Concatenate[Client, P], R],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]]:
    """Return the coroutine function of a method that returns."""

    @functools.wraps(method)
    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.in_thread(functools.partial(method, self.client, *args, **kwargs))

    return call


def _job(
    method: Callable[Concatenate[Client, P], Job],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AsyncJob]]:
    """Return the coroutine function of a method that returns a job."""
    call = _awaited(method)

    @functools.wraps(method)
    async def call_for_job(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob:
        return AsyncJob(await call(self, *args, **kwargs), self)

    return call_for_job


def _iterated(
    method: Callable[Concatenate[Client, P], Iterator[R]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[R]]:
    """Return the asynchronous iterator of a method that yields."""

    @functools.wraps(method)
    async def each(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        items = method(self.client, *args, **kwargs)
        try:
            while (item := await self.in_thread(functools.partial(next, items, _END))) is not _END:
                yield cast(R, item)
        finally:
            # Here and not in a thread: the client, whose threads they are, may have been closed before.
            with suppress(ValueError):  # cancelled while a thread waits in it: that thread ends it
                getattr(items, "close", _nothing)()

    return each


def _jobs(
    method: Callable[Concatenate[Client, P], Iterator[Job]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[AsyncJob]]:
    """Return the asynchronous iterator of a method that yields jobs."""
    each = _iterated(method)

    @functools.wraps(method)
    async def each_job(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[AsyncJob]:
        async for job in each(self, *args, **kwargs):
            yield AsyncJob(job, self)

    return each_job


class AsyncClient:
    """A connection to a service, for ``async`` programs: the methods of `Client`, to be awaited or iterated.

    ::

        async with AsyncClient() as client:
            job = await client.submit(model=…, data=…, training=…)
            async for change in client.watch(job["id"]):
                print(change["state"], change["progress"])
            await job.download("digits.safetensors")

    Each call runs in a thread of this client's own, at most ``concurrency`` at a time, so that there is one
    implementation of retries and downloads. A call that is cancelled is no longer waited for; what it had sent, stays.

    Raises:
        NoCredentials: no address or no key was found.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        retries: RetryPolicy | None = None,
        concurrency: int = 32,
    ) -> None:
        self.client = Client(url, api_key, timeout_seconds=timeout_seconds, retries=retries)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="modelwright")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way end first."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self.client.close()

    async def in_thread(self, call: Callable[[], R]) -> R:
        """Return what ``call`` returns in a thread of this client."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    readiness = _awaited(Client.readiness)
    submit = _job(Client.submit)
    train = _job(Client.train)
    get_job = _job(Client.get_job)
    cancel = _job(Client.cancel)
    pause = _job(Client.pause)
    resume = _job(Client.resume)
    retry = _job(Client.retry)
    fork = _job(Client.fork)
    list_jobs = _jobs(Client.list_jobs)
    validate = _awaited(Client.validate)
    metrics = _awaited(Client.metrics)
    watch = _iterated(Client.watch)
    wait = _awaited(Client.wait)
    events = _iterated(Client.events)
    follow_events = _iterated(Client.follow_events)
    logs = _iterated(Client.logs)
    follow_logs = _iterated(Client.follow_logs)

    change_job = _job(Client.change_job)
    queue = _iterated(Client.queue)
    queue_totals = _awaited(Client.queue_totals)
    workers = _iterated(Client.workers)
    get_worker = _awaited(Client.get_worker)

    keys = _iterated(Client.keys)
    own_key = _awaited(Client.own_key)
    get_key = _awaited(Client.get_key)
    create_key = _awaited(Client.create_key)
    rotate_key = _awaited(Client.rotate_key)
    revoke_key = _awaited(Client.revoke_key)
    usage = _awaited(Client.usage)
    audit = _iterated(Client.audit)

    create_webhook = _awaited(Client.create_webhook)
    webhooks = _iterated(Client.webhooks)
    get_webhook = _awaited(Client.get_webhook)
    change_webhook = _awaited(Client.change_webhook)
    delete_webhook = _awaited(Client.delete_webhook)
    rotate_webhook_secret = _awaited(Client.rotate_webhook_secret)
    test_webhook = _awaited(Client.test_webhook)
    webhook_deliveries = _iterated(Client.webhook_deliveries)
    get_webhook_delivery = _awaited(Client.get_webhook_delivery)
    redeliver = _awaited(Client.redeliver)

    create_model = _awaited(Client.create_model)
    validate_model = _awaited(Client.validate_model)
    get_model = _awaited(Client.get_model)
    list_models = _iterated(Client.list_models)
    model_source = _awaited(Client.model_source)
    model_summary = _awaited(Client.model_summary)
    model_graph = _awaited(Client.model_graph)
    model_schema = _awaited(Client.model_schema)
    edit_model = _awaited(Client.edit_model)
    catalog = _awaited(Client.catalog)
    catalog_entry = _awaited(Client.catalog_entry)

    graph = _awaited(Client.graph)
    graph_diff = _awaited(Client.graph_diff)
    graph_picture = _awaited(Client.graph_picture)
    capture = _awaited(Client.capture)
    compare = _awaited(Client.compare)

    upload_dataset = _awaited(Client.upload_dataset)
    fetch_dataset = _awaited(Client.fetch_dataset)
    create_dataset = _awaited(Client.create_dataset)
    datasets = _iterated(Client.datasets)
    get_dataset = _awaited(Client.get_dataset)
    preview_dataset = _awaited(Client.preview_dataset)
    delete_dataset = _awaited(Client.delete_dataset)

    checkpoints = _iterated(Client.checkpoints)
    get_checkpoint = _awaited(Client.get_checkpoint)
    find_checkpoint = _awaited(Client.find_checkpoint)
    download = _awaited(Client.download)
    load = _awaited(Client.load)
    export = _awaited(Client.export)
    checkpoint_model = _awaited(Client.checkpoint_model)
    pin_checkpoint = _awaited(Client.pin_checkpoint)
    delete_checkpoint = _awaited(Client.delete_checkpoint)
    predict = _awaited(Client.predict)
    iter_predictions = _iterated(Client.iter_predictions)
    predictions_csv = _iterated(Client.predictions_csv)

    sweep = _awaited(Client.sweep)
    validate_sweep = _awaited(Client.validate_sweep)
    get_sweep = _awaited(Client.get_sweep)
    sweeps = _iterated(Client.sweeps)
    cancel_sweep = _awaited(Client.cancel_sweep)
    trials = _iterated(Client.trials)
    parallel_coordinates = _awaited(Client.parallel_coordinates)
    sweep_picture = _awaited(Client.sweep_picture)


def _nothing() -> None:
    """Close what needs no closing."""
