"""The Python client: one method for each thing the service does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from modelwright.account_calls import AccountCalls
from modelwright.credentials import discover
from modelwright.dataset_calls import DatasetCalls
from modelwright.errors import JobFailed
from modelwright.follow_calls import FollowCalls
from modelwright.graph_calls import GraphCalls
from modelwright.live import as_definition
from modelwright.model_calls import ModelCalls
from modelwright.prediction_calls import PredictionCalls
from modelwright.queue_calls import QueueCalls
from modelwright.requests import path
from modelwright.sweep_calls import SweepCalls

if TYPE_CHECKING:
    from modelwright.download import Progress
    from modelwright.transport import RetryPolicy, Transport

Json = dict[str, Any]


class Client(FollowCalls, GraphCalls, ModelCalls, DatasetCalls, SweepCalls, PredictionCalls, AccountCalls, QueueCalls):
    """A connection to a service. Objects of the service are the JSON it sends, as dictionaries.

    Without arguments the address and key are found by themselves: see `modelwright.credentials`. Requests that get no
    answer (or 429, 502, 503, 504) are repeated with the same idempotency key, so nothing is done twice.

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
    ) -> None:
        # Here and not above: httpx takes longer to import than everything else that `import modelwright` does.
        from modelwright import transport  # noqa: PLC0415

        credentials = discover(url, api_key)
        self.url = credentials.url
        self._retries = retries or transport.RetryPolicy()
        self._transport: Transport = transport.Transport(
            credentials, timeout_seconds=timeout_seconds, retries=self._retries
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def submit(
        self, job: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None, **sections: object
    ) -> Json:
        """Submit a job and return it; with the same ``idempotency_key``, the one submitted before.

        Args:
            job: the whole request, or what is left of it beside ``sections``.
            sections: ``model=``, ``data=``, ``training=`` and their like; ``model`` may be a live ``nn.Module``, the
                ``dataset`` of ``data`` what `upload_dataset` returned.

        Raises:
            InvalidRequest: the job is wrong; ``problems`` names every place.
            CannotDescribe: the live module does something that the language cannot say.
        """
        return self._post("/v1/jobs", _request(job, sections), idempotency_key)

    def train(self, job: Mapping[str, Any] | None = None, *, show: bool = False, **sections: object) -> Json:
        """Submit a job, wait until it has ended, and return it: `submit` and `watch` in one.

        Args:
            job: as for `submit`.
            show: draw its progress on standard error meanwhile.
            sections: as for `submit`.

        Raises:
            InvalidRequest, CannotDescribe: as `submit`.
            JobFailed: it failed, or was cancelled.
        """
        changes = self.watch(self.submit({**(job or {}), **sections})["id"])
        ended = _shown(changes) if show else deque(changes, maxlen=1)[0]
        if ended["state"] != "succeeded":
            raise JobFailed(ended)
        return ended

    def validate(self, job: Mapping[str, Any] | None = None, **sections: object) -> Json:
        """Check a job as `submit` does, without running it, and return the preflight report.

        Raises:
            InvalidRequest, CannotDescribe: as `submit`.
        """
        return self._post("/v1/jobs", _request(job, sections), None, params=[("validate_only", "true")])

    def get_job(self, job_id: str) -> Json:
        """Return a job.

        Raises:
            NotFound: you have no such job.
        """
        return self._get(path("jobs", job_id))

    def list_jobs(
        self, *, states: Sequence[str] = (), labels: Mapping[str, str] | None = None, limit: int | None = None
    ) -> Iterator[Json]:
        """Yield jobs, newest first, page by page as you take them; at most ``limit``."""
        filters: list[tuple[str, str | int]] = [("status", state) for state in states]
        filters += [(f"label.{name}", value) for name, value in (labels or {}).items()]
        return self._pages("/v1/jobs", filters, limit)

    def cancel(self, job_id: str) -> Json:
        """Ask for the end of a job and return it; a running one writes a checkpoint first.

        Raises:
            StateConflict: it has already ended.
        """
        return self._post(path("jobs", job_id, "cancel"), None, None)

    def pause(self, job_id: str) -> Json:
        """Ask a job to rest and return it; a running one writes a checkpoint and frees its worker.

        Raises:
            StateConflict: it has ended, or is being cancelled.
        """
        return self._post(path("jobs", job_id, "pause"), None, None)

    def resume(self, job_id: str) -> Json:
        """Put a paused job back into the queue and return it; it goes on at the step at which it paused.

        Raises:
            StateConflict: it has ended, is being cancelled, or has not come to rest yet.
        """
        return self._post(path("jobs", job_id, "resume"), None, None)

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Json:
        """Queue the request of a job that has ended once more, and return the new job.

        Raises:
            StateConflict: it has not ended.
        """
        return self._post(path("jobs", job_id, "retry"), None, idempotency_key)

    def fork(
        self,
        job_id: str,
        changes: Mapping[str, Any] | None = None,
        *,
        from_checkpoint: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Queue a job's request with changes (a JSON merge patch) and return the new job.

        Raises:
            InvalidRequest: the changed request is wrong.
        """
        body = {"changes": dict(changes or {}), "from_checkpoint": from_checkpoint}
        return self._post(path("jobs", job_id, "fork"), body, idempotency_key)

    def metrics(
        self,
        job_id: str,
        *,
        names: Sequence[str] = (),
        after_step: int | None = None,
        max_points: int | None = None,
        latest: bool = False,
    ) -> Json:
        """Return a job's series: ``{"series": {name: {"steps": […], "values": […], …}}}``."""
        params: list[tuple[str, str | int]] = [("names", ",".join(names))] if names else []
        params += [("after_step", after_step)] if after_step is not None else []
        params += [("max_points", max_points)] if max_points is not None else []
        params += [("latest", "true")] if latest else []
        return self._get(path("jobs", job_id, "metrics"), params)

    def download(self, identifier: str, target: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        """Download a checkpoint's weights (safetensors) and return where they are.

        Args:
            identifier: a checkpoint, or a job: then its newest checkpoint.
            target: a file, or an existing folder; by default ``<checkpoint id>.safetensors`` here.
            progress: called with the bytes that are here and all bytes.

        Raises:
            NotFound: there is no such checkpoint, or the job has none yet.
            DownloadCorrupt: the bytes do not have the promised sha256.
        """
        from modelwright.download import download  # noqa: PLC0415 - as in __init__

        checkpoint = self.find_checkpoint(identifier)
        place = Path(target or ".")
        if place.is_dir():
            place /= f"{checkpoint['id']}.safetensors"
        return download(self._transport, checkpoint, place, progress=progress or _silent, retries=self._retries)


def _request(job: Mapping[str, Any] | None, sections: Mapping[str, object]) -> Json:
    request = {**(job or {}), **sections}
    data = request.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("dataset"), Mapping):  # what `upload_dataset` returned
        request["data"] = {**data, "dataset": data["dataset"]["id"]}
    return {**request, "model": as_definition(request["model"])} if "model" in request else request


def _shown(changes: Iterator[Json]) -> Json:
    from rich.console import Console  # noqa: PLC0415 - rich takes longer to import than the client itself

    from modelwright.cli.watching import follow  # noqa: PLC0415

    return dict(follow(changes, Console(stderr=True), as_json=False))


def _silent(have: int, total: int) -> None:
    """Report progress to nobody."""
