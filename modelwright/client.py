"""The Python client: one method for each thing the service does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from modelwright.account_calls import AccountCalls
from modelwright.credentials import discover
from modelwright.dataset_calls import DatasetCalls
from modelwright.errors import ServiceError
from modelwright.follow_calls import FollowCalls
from modelwright.graph_calls import GraphCalls
from modelwright.job import Job
from modelwright.live import as_definition
from modelwright.metrics import Metrics
from modelwright.model_calls import ModelCalls
from modelwright.prediction_calls import PredictionCalls
from modelwright.queue_calls import QueueCalls
from modelwright.requests import Moment, filters, path
from modelwright.sweep_calls import SweepCalls
from modelwright.webhook_calls import WebhookCalls

if TYPE_CHECKING:
    from modelwright.transport import RetryPolicy, Transport

Json = dict[str, Any]


class Client(
    FollowCalls,
    GraphCalls,
    ModelCalls,
    DatasetCalls,
    SweepCalls,
    PredictionCalls,
    AccountCalls,
    QueueCalls,
    WebhookCalls,
):
    """A connection to a service. Objects of the service are the JSON it sends, as dictionaries; a `Job` can do more.

    Safe to use from several threads. `AsyncClient` has the same methods for ``await``.

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

    def readiness(self) -> Json:
        """Return how the service and its parts are: ``{"status": "ok", "components": {"database": …}}``.

        Raises:
            ConnectionFailed: it does not answer.
        """
        try:
            return self._get("/readyz")
        except ServiceError as error:
            if "components" in error.body:  # it is down, and says what of it
                return error.body
            raise

    def submit(
        self, /, job: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None, **sections: object
    ) -> Job:
        """Submit a job and return it; with the same ``idempotency_key``, the one submitted before.

        Args:
            job: the whole request, or what is left of it beside ``sections``.
            sections: ``model=``, ``data=``, ``training=`` and their like; ``model`` may be a live ``nn.Module``, the
                ``dataset`` of ``data`` what `upload_dataset` returned.

        Raises:
            InvalidRequest: the job is wrong; ``problems`` names every place.
            CannotDescribe: the live module does something that the language cannot say.
        """
        return Job(self._post("/v1/jobs", _request(job, sections), idempotency_key), self)

    def train(self, /, job: Mapping[str, Any] | None = None, *, show: bool = False, **sections: object) -> Job:
        """Submit a job, wait until it has ended, and return it: `submit` and `watch` in one.

        Args:
            job: as for `submit`.
            show: draw its progress on standard error meanwhile.
            sections: as for `submit`.

        Raises:
            InvalidRequest, CannotDescribe: as `submit`.
            JobFailed: it failed, or was cancelled.
        """
        made = self.submit({**(job or {}), **sections})
        return made.watch().succeeded() if show else made.result()

    def validate(self, /, job: Mapping[str, Any] | None = None, **sections: object) -> Json:
        """Check a job as `submit` does, without running it, and return the preflight report.

        Raises:
            InvalidRequest, CannotDescribe: as `submit`.
        """
        return self._post("/v1/jobs", _request(job, sections), None, params=[("validate_only", "true")])

    def get_job(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            NotFound: you have no such job.
        """
        return Job(self._look(path("jobs", job_id)), self)

    def list_jobs(
        self,
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        created_after: Moment | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Yield jobs, newest first, page by page as you take them; at most ``limit``."""
        wanted = filters(status=states, created_after=created_after)
        wanted += [(f"label.{name}", value) for name, value in (labels or {}).items()]
        return (Job(one, self) for one in self._pages("/v1/jobs", wanted, limit))

    def change_job(
        self,
        job_id: str,
        *,
        labels: Mapping[str, str | None] | None = None,
        priority: int | None = None,
        if_match: str | None = None,
    ) -> Job:
        """Change labels (None takes one away) or the priority of a job, and return it.

        With ``if_match``, its ``etag``, only as it was looked at.

        Raises:
            InvalidRequest: a label or the priority is none.
            StateConflict: the priority of a job that has ended.
            PreconditionFailed: it has changed.
        """
        change = {"labels": dict(labels) if labels else None, "priority": priority}
        given = {name: value for name, value in change.items() if value is not None}
        return Job(self._patch(path("jobs", job_id), given, if_match), self)

    def cancel(self, job_id: str) -> Job:
        """Ask for the end of a job and return it; a running one writes a checkpoint first.

        Raises:
            StateConflict: it has already ended.
        """
        return Job(self._post(path("jobs", job_id, "cancel"), None, None), self)

    def pause(self, job_id: str) -> Job:
        """Ask a job to rest and return it; a running one writes a checkpoint and frees its worker.

        Raises:
            StateConflict: it has ended, or is being cancelled.
        """
        return Job(self._post(path("jobs", job_id, "pause"), None, None), self)

    def resume(self, job_id: str) -> Job:
        """Put a paused job back into the queue and return it; it goes on at the step at which it paused.

        Raises:
            StateConflict: it has ended, is being cancelled, or has not come to rest yet.
        """
        return Job(self._post(path("jobs", job_id, "resume"), None, None), self)

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Queue the request of a job that has ended once more, and return the new job.

        Raises:
            StateConflict: it has not ended.
        """
        return Job(self._post(path("jobs", job_id, "retry"), None, idempotency_key), self)

    def fork(
        self,
        job_id: str,
        changes: Mapping[str, Any] | None = None,
        *,
        from_checkpoint: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a job's request with changes (a JSON merge patch) and return the new job.

        Raises:
            InvalidRequest: the changed request is wrong.
        """
        body = {"changes": dict(changes or {}), "from_checkpoint": from_checkpoint}
        return Job(self._post(path("jobs", job_id, "fork"), body, idempotency_key), self)

    def metrics(
        self,
        job_id: str,
        *,
        names: Sequence[str] = (),
        after_step: int | None = None,
        max_points: int | None = None,
        latest: bool = False,
    ) -> Metrics:
        """Return a job's series: ``{"series": {name: {"steps": […], "values": […], …}}}``."""
        params: list[tuple[str, str | int]] = [("names", ",".join(names))] if names else []
        params += [("after_step", after_step)] if after_step is not None else []
        params += [("max_points", max_points)] if max_points is not None else []
        params += [("latest", "true")] if latest else []
        return Metrics(self._get(path("jobs", job_id, "metrics"), params))


def _request(job: Mapping[str, Any] | None, sections: Mapping[str, object]) -> Json:
    request = {**(job or {}), **sections}
    data = request.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("dataset"), Mapping):  # what `upload_dataset` returned
        request["data"] = {**data, "dataset": data["dataset"]["id"]}
    return {**request, "model": as_definition(request["model"])} if "model" in request else request
