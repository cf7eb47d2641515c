"""A job as the asynchronous client returns it: what the service sent, and what can be awaited of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from modelwright.job import JobContent

if TYPE_CHECKING:
    from torch import nn

    from modelwright.async_client import AsyncClient
    from modelwright.download import Progress
    from modelwright.metrics import Metrics

Json = dict[str, Any]


class AsyncJob(JobContent):
    """A job: ``job["state"]`` is what was known when it was asked for, `refresh` asks again. See `modelwright.Job`."""

    def __init__(self, content: Mapping[str, Any], client: AsyncClient) -> None:
        super().__init__(content)
        self._client = client

    async def refresh(self) -> Self:
        """Look at the job again, and return it."""
        return self._now(await self._client.get_job(self.id))

    async def wait(self, *, timeout_seconds: float | None = None) -> Self:
        """Return the job when it has ended, whatever its state then is.

        Raises:
            WaitTimeout: it has not ended in time; it goes on.
        """
        return self._now(await self._client.wait(self.id, timeout_seconds=timeout_seconds))

    def changes(self, *, timeout_seconds: float | None = None) -> AsyncIterator[Json]:
        """Yield the job now and after every change until it has ended.

        Raises:
            WaitTimeout: it has not ended in time; it goes on.
        """
        return self._client.watch(self.id, timeout_seconds=timeout_seconds)

    async def result(self, *, timeout_seconds: float | None = None) -> Self:
        """Wait for the end, and return the job that has succeeded.

        Raises:
            JobFailed: it failed, or was cancelled.
            WaitTimeout: it has not ended in time; it goes on.
        """
        return (await self.wait(timeout_seconds=timeout_seconds)).succeeded()

    async def cancel(self) -> Self:
        """Ask for its end; a running one writes a checkpoint first.

        Raises:
            StateConflict: it has already ended.
        """
        return self._now(await self._client.cancel(self.id))

    async def pause(self) -> Self:
        """Ask it to rest; a running one writes a checkpoint and frees its worker.

        Raises:
            StateConflict: it has ended, or is being cancelled.
        """
        return self._now(await self._client.pause(self.id))

    async def resume(self) -> Self:
        """Put it back into the queue; it goes on at the step at which it paused.

        Raises:
            StateConflict: it has ended, is being cancelled, or has not come to rest yet.
        """
        return self._now(await self._client.resume(self.id))

    async def retry(self) -> AsyncJob:
        """Queue its request once more, and return the new job.

        Raises:
            StateConflict: it has not ended.
        """
        return await self._client.retry(self.id)

    async def fork(self, changes: Mapping[str, Any] | None = None, *, from_checkpoint: str | None = None) -> AsyncJob:
        """Queue its request with changes (a JSON merge patch), and return the new job.

        Raises:
            InvalidRequest: the changed request is wrong.
        """
        return await self._client.fork(self.id, changes, from_checkpoint=from_checkpoint)

    async def metrics(self, **options: Any) -> Metrics:  # noqa: ANN401 - those of `Client.metrics`
        """Return its series; the arguments are those of `Client.metrics`."""
        return await self._client.metrics(self.id, **options)

    def events(self) -> AsyncIterator[Json]:
        """Yield what happened to it so far, oldest first."""
        return self._client.events(self.id)

    def logs(self) -> AsyncIterator[Json]:
        """Yield the lines of its log, oldest first."""
        return self._client.logs(self.id)

    def checkpoints(self) -> AsyncIterator[Json]:
        """Yield its checkpoints, newest first."""
        return self._client.checkpoints(self.id)

    async def download(self, target: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Download the newest weights (safetensors) and return where they are; ``progress`` is called in a thread.

        Raises:
            NotFound: it has no checkpoint yet.
            DownloadCorrupt: the bytes do not have the promised sha256.
        """
        return await self._client.download(self.id, target, progress=progress)

    async def load(self) -> nn.Module:
        """Return the trained model: built here, with the newest weights, in eval mode.

        Raises:
            NotFound: it has no checkpoint yet.
            CannotLoad: torch or safetensors is not installed here.
        """
        return await self._client.load(self.id)

    async def predict(self, rows: object = None, **options: Any) -> Json:  # noqa: ANN401 - those of `Client.predict`
        """Predict with the newest weights; the arguments are those of `Client.predict`."""
        return await self._client.predict(self.id, rows, **options)
