"""A job as the client returns it: what the service sent, as a dictionary, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from modelwright.errors import JobFailed

if TYPE_CHECKING:
    from torch import nn

    from modelwright.client import Client
    from modelwright.download import Progress
    from modelwright.metrics import Metrics

Json = dict[str, Any]


class JobContent(Json):
    """A job as it was when it was last looked at: what needs no service to answer.

    ``etag`` is which version that was, for ``if_match=``; None where the service did not say, as in a list.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.etag: str | None = getattr(content, "etag", None)

    @property
    def id(self) -> str:
        """The id (``job_…``)."""
        return str(self["id"])

    @property
    def state(self) -> str:
        """The state that was last known."""
        return str(self["state"])

    @property
    def ended(self) -> bool:
        """Whether it had ended when it was last looked at: succeeded, failed or cancelled."""
        return bool(self["terminal"])

    def succeeded(self) -> Self:
        """Return the job if it has succeeded.

        Raises:
            JobFailed: it failed, was cancelled, or has not ended.
        """
        if self.state != "succeeded":
            raise JobFailed(self)
        return self

    def _now(self, content: Mapping[str, Any]) -> Self:
        self.clear()
        self.update(content)
        self.etag = getattr(content, "etag", None)
        return self


class Job(JobContent):
    """A job: ``job["state"]`` is what was known when it was asked for, `refresh` asks again.

    ::

        job = client.submit(model=…, data=…, training=…)
        job.watch()                     # a progress bar, in a terminal or a notebook
        model = job.load()              # a torch.nn.Module with the trained weights
    """

    def __init__(self, content: Mapping[str, Any], client: Client) -> None:
        super().__init__(content)
        self._client = client

    def refresh(self) -> Self:
        """Look at the job again, and return it."""
        return self._now(self._client.get_job(self.id))

    def wait(self, *, timeout_seconds: float | None = None) -> Self:
        """Return the job when it has ended, whatever its state then is.

        Raises:
            WaitTimeout: it has not ended in time; it goes on.
        """
        return self._now(self._client.wait(self.id, timeout_seconds=timeout_seconds))

    def watch(self, *, timeout_seconds: float | None = None) -> Self:
        """Draw the progress until the job has ended, in a terminal or a notebook, and return it.

        Raises:
            WaitTimeout: it has not ended in time; it goes on.
        """
        from modelwright.showing import show  # noqa: PLC0415 - rich takes longer to import than the client itself

        return self._now(show(self.changes(timeout_seconds=timeout_seconds)))

    def changes(self, *, timeout_seconds: float | None = None) -> Iterator[Json]:
        """Yield the job now and after every change until it has ended.

        Raises:
            WaitTimeout: it has not ended in time; it goes on.
        """
        return self._client.watch(self.id, timeout_seconds=timeout_seconds)

    def result(self, *, timeout_seconds: float | None = None) -> Self:
        """Wait for the end, and return the job that has succeeded.

        Raises:
            JobFailed: it failed, or was cancelled.
            WaitTimeout: it has not ended in time; it goes on.
        """
        return self.wait(timeout_seconds=timeout_seconds).succeeded()

    def cancel(self) -> Self:
        """Ask for its end; a running one writes a checkpoint first.

        Raises:
            StateConflict: it has already ended.
        """
        return self._now(self._client.cancel(self.id))

    def pause(self) -> Self:
        """Ask it to rest; a running one writes a checkpoint and frees its worker.

        Raises:
            StateConflict: it has ended, or is being cancelled.
        """
        return self._now(self._client.pause(self.id))

    def resume(self) -> Self:
        """Put it back into the queue; it goes on at the step at which it paused.

        Raises:
            StateConflict: it has ended, is being cancelled, or has not come to rest yet.
        """
        return self._now(self._client.resume(self.id))

    def retry(self) -> Job:
        """Queue its request once more, and return the new job.

        Raises:
            StateConflict: it has not ended.
        """
        return self._client.retry(self.id)

    def fork(self, changes: Mapping[str, Any] | None = None, *, from_checkpoint: str | None = None) -> Job:
        """Queue its request with changes (a JSON merge patch), and return the new job.

        Raises:
            InvalidRequest: the changed request is wrong.
        """
        return self._client.fork(self.id, changes, from_checkpoint=from_checkpoint)

    def metrics(self, **options: Any) -> Metrics:  # noqa: ANN401 - those of `Client.metrics`
        """Return its series; the arguments are those of `Client.metrics`."""
        return self._client.metrics(self.id, **options)

    def events(self) -> Iterator[Json]:
        """Yield what happened to it so far, oldest first."""
        return self._client.events(self.id)

    def logs(self) -> Iterator[Json]:
        """Yield the lines of its log, oldest first."""
        return self._client.logs(self.id)

    def checkpoints(self) -> Iterator[Json]:
        """Yield its checkpoints, newest first."""
        return self._client.checkpoints(self.id)

    def download(self, target: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Download the newest weights (safetensors) and return where they are.

        Raises:
            NotFound: it has no checkpoint yet.
            DownloadCorrupt: the bytes do not have the promised sha256.
        """
        return self._client.download(self.id, target, progress=progress)

    def load(self) -> nn.Module:
        """Return the trained model: built here, with the newest weights, in eval mode.

        Raises:
            NotFound: it has no checkpoint yet.
            CannotLoad: torch or safetensors is not installed here.
        """
        return self._client.load(self.id)

    def predict(self, rows: object = None, **options: Any) -> Json:  # noqa: ANN401 - those of `Client.predict`
        """Predict with the newest weights; the arguments are those of `Client.predict`."""
        return self._client.predict(self.id, rows, **options)
