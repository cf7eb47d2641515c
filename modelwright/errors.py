"""What can go wrong for a client, as one tree; answers of the service become the leaf that fits their status.

::

    ModelwrightError
    ├── NoCredentials           no address or key was given or found
    ├── ConnectionFailed        no answer, after all retries
    ├── DownloadCorrupt         the bytes do not have the promised sha256
    ├── CannotDescribe          a live module does what the language cannot say
    ├── CannotLoad              a trained model cannot be built here
    ├── WaitTimeout             the job has not ended in the time given
    ├── JobFailed               the job that was waited for ended without success; see ``job``
    └── ApiError                the service answered with a problem
        ├── Unauthenticated     401
        ├── Forbidden           403
        ├── NotFound            404, 410
        ├── StateConflict       409
        │   └── PreconditionFailed  412: it is no longer as ``if_match=`` knows it
        ├── InvalidRequest      400, 413, 415, 416, 422: the request is wrong; see ``problems``
        ├── RateLimited         429
        └── ServiceError        5xx
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ModelwrightError(Exception):
    """Something went wrong; ``str()`` is one sentence for people."""

    hint: str | None = None


class NoCredentials(ModelwrightError):
    """No service address or API key was given or found."""

    hint = "Start a service with `modelwright up`, or set MODELWRIGHT_URL and MODELWRIGHT_API_KEY."


class ConnectionFailed(ModelwrightError):
    """The service did not answer."""

    hint = "Is it running? `modelwright up` starts one on this machine."


class DownloadCorrupt(ModelwrightError):
    """The downloaded bytes do not match their checksum; nothing was kept."""

    hint = "Download it again; when this repeats, the stored checkpoint is damaged: use an earlier one."


class CannotDescribe(ModelwrightError):
    """A live module does something that the model language cannot say."""

    hint = "Write the definition by hand (docs/language), or change the module at the place that is named."


class CannotLoad(ModelwrightError):
    """A trained model cannot be built in this process: something is not installed."""

    hint = "pip install 'modelwright[worker]', or download the weights and the source, which needs torch alone."


class WaitTimeout(ModelwrightError):
    """The job has not ended in the time given; it goes on."""


class JobFailed(ModelwrightError):
    """A job ended without success; ``job`` is all that the service says of it, ``code`` what went wrong."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        error = job.get("error") or {"code": job["state"], "message": job.get("reason") or "it has no weights to use"}
        self.job = dict(job)
        self.code = str(error["code"])
        self.hint = error.get("hint")
        text = f"{job['id']} is {job['state']}: {error['message']} ({self.code})"
        super().__init__(f"{text}\n  → {self.hint}" if self.hint else text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request.

    ``pointer`` is a JSON Pointer into its body, ``column`` counts from 1 inside the string there, ``parameter`` is the
    name of a query parameter.
    """

    code: str
    detail: str
    pointer: str = ""
    hint: str | None = None
    column: int | None = None
    parameter: str = ""

    @property
    def place(self) -> str:
        """Where it is wrong, for people; nothing where that is no place in the request."""
        place = self.pointer or self.parameter
        return f"{place} column {self.column}" if self.column is not None else place


class ApiError(ModelwrightError):
    """The service answered with a problem (RFC 9457); ``str()`` has a line for each place in the request."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(body.get("code") or f"http_{status}")
        self.detail = str(body.get("detail") or body.get("title") or f"The service answered {status}.")
        self.request_id: str | None = body.get("request_id")
        self.hint = body.get("hint")
        self.body = dict(body)
        self.problems = tuple(_problem(one) for one in body.get("errors") or () if isinstance(one, Mapping))
        super().__init__(self._text())

    def _text(self) -> str:
        """Return what is wrong, and a line for each place: whoever reads a traceback sees nothing else."""
        placed = [one for one in self.problems if one.place]
        lines = [self.detail]
        for one in placed:
            said = "" if one.detail == self.detail else f": {one.detail}"
            lines.append(f"  at {one.place}{said}" + (f" → {one.hint}" if one.hint else ""))
        return "\n".join([*lines, *([f"  → {self.hint}"] if self.hint and not placed else [])])


class Unauthenticated(ApiError):
    """The API key is missing, unknown, expired or revoked (401)."""


class Forbidden(ApiError):
    """The API key may not do this (403)."""


class NotFound(ApiError):
    """There is no such object, or it is not yours (404, 410)."""


class StateConflict(ApiError):
    """The object's state does not allow this (409)."""


class PreconditionFailed(StateConflict):
    """The object is no longer as ``if_match=`` knows it (412): look at it again, and decide anew."""


class InvalidRequest(ApiError):
    """The request is wrong (400, 413, 415, 416, 422); ``problems`` says where and how."""


class RateLimited(ApiError):
    """A quota or rate is used up (429)."""


class ServiceError(ApiError):
    """The service failed (5xx)."""


RETRY_STATUSES = frozenset({429, 502, 503, 504})
"""Answers that a moment later may be another."""

_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: StateConflict,
    410: NotFound,
    412: PreconditionFailed,
    413: InvalidRequest,
    415: InvalidRequest,
    416: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
}


def from_answer(status: int, body: object) -> ApiError:
    """Return the error for an answer; ``body`` is its JSON, or anything else when a proxy answered."""
    kind = ServiceError if status >= 500 else _BY_STATUS.get(status, ApiError)
    return kind(status, body if isinstance(body, Mapping) else {})


def _problem(member: Mapping[str, Any]) -> Problem:
    return Problem(
        code=str(member.get("code", "")),
        detail=str(member.get("detail", "")),
        pointer=str(member.get("pointer", "")),
        hint=member.get("hint"),
        column=member.get("column"),
        parameter=str(member.get("parameter", "")),
    )
