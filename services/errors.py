"""The one tree of errors that services raise; ``api/errors.py`` maps it to HTTP, the worker to a job's ``error``.

::

    ModelwrightError
    ├── MalformedRequest        the bytes are not what they claim to be          400
    │   └── InvalidJson         not JSON, or JSON outside our limits
    ├── Unauthenticated         no key that we know                              401
    │   ├── KeyExpired
    │   └── KeyRevoked
    ├── InsufficientScope       the key may not do this                          403
    ├── NotFound                absent, or another tenant's: the same answer     404
    ├── Conflict                the state does not allow it                      409
    │   ├── AlreadyTerminal
    │   └── IdempotencyInProgress
    ├── BodyTooLarge                                                             413
    ├── UnsupportedFormat       data in a form that nobody here reads            415
    ├── RangeNotSatisfiable                                                      416
    ├── InvalidRequest          understood, and wrong: a list of problems        422
    │   └── IdempotencyMismatch
    ├── QuotaExceeded                                                            429
    │   └── RateLimited         too often: later it goes
    ├── Unavailable             try again later                                  503
    │   ├── Busy
    │   ├── StorageFull
    │   └── StoreUnavailable
    ├── ChunkCorrupt            stored bytes fail their checksum          (aborts a stream)
    ├── Fenced                  a newer epoch owns the job                 (inside the worker)
    └── TrainingFailure         why an attempt ended                  (stored on the job, never HTTP)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

FailureClass = Literal["user", "resource", "infrastructure"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request.

    ``pointer`` is an RFC 6901 JSON Pointer into the request body; ``column`` counts characters from 1 inside the
    string at that pointer; ``hint`` says how to mend it.
    """

    code: str
    detail: str
    pointer: str = ""
    hint: str | None = None
    column: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the members that are ``None``."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def below(self, prefix: str) -> Problem:
        """Return the same problem with its pointer moved below ``prefix``."""
        return Problem(self.code, self.detail, prefix + self.pointer, self.hint, self.column)


class ModelwrightError(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, detail: str | None = None, *, hint: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").split("\n", 1)[0]
        self.hint = hint
        super().__init__(self.detail)


class MalformedRequest(ModelwrightError):
    """The request is malformed."""

    code = "malformed_request"

    def __init__(self, detail: str | None = None, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.code = code or self.code


class InvalidJson(MalformedRequest):
    """The body is not valid JSON."""

    code = "invalid_json"

    def __init__(
        self, detail: str | None = None, *, code: str | None = None, offset: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(detail, code=code, hint=hint)
        self.offset = offset


class Unauthenticated(ModelwrightError):
    """A valid API key is required: send it as ``Authorization: Bearer mw_…``."""

    code = "unauthenticated"


class KeyExpired(Unauthenticated):
    """This API key has expired."""

    code = "key_expired"


class KeyRevoked(Unauthenticated):
    """This API key was revoked."""

    code = "key_revoked"


class InsufficientScope(ModelwrightError):
    """This API key lacks the scope for this call."""

    code = "insufficient_scope"


class NotFound(ModelwrightError):
    """No such object."""

    code = "not_found"


class Conflict(ModelwrightError):
    """The current state does not allow this."""

    code = "conflict"


class AlreadyTerminal(Conflict):
    """The job, or the sweep, has already ended."""

    code = "already_terminal"

    def __init__(self, state: str, *, what: str = "job") -> None:
        super().__init__(f"The {what} has already ended: it is {state}.")
        self.state = state


class IdempotencyInProgress(Conflict):
    """A request with this Idempotency-Key is still being processed."""

    code = "idempotency_in_progress"


class BodyTooLarge(ModelwrightError):
    """The request body is too large."""

    code = "body_too_large"


class UnsupportedFormat(ModelwrightError):
    """This format cannot be read."""

    code = "unsupported_format"


class RangeNotSatisfiable(ModelwrightError):
    """The requested range lies outside the content."""

    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The content has {size_bytes} bytes.")
        self.size_bytes = size_bytes


class InvalidRequest(ModelwrightError):
    """The request is understood, and wrong in the ways listed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("an invalid request names at least one problem")
        self.problems = tuple(problems)
        self.code = problems[0].code
        first = problems[0].detail
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first + more, hint=problems[0].hint)


class IdempotencyMismatch(InvalidRequest):
    """This Idempotency-Key was used before with a different body."""

    def __init__(self) -> None:
        detail = (type(self).__doc__ or "").strip()
        super().__init__([Problem("idempotency_mismatch", detail, hint="Use a new key for a new request.")])


class QuotaExceeded(ModelwrightError):
    """A quota of this tenant is used up."""

    code = "quota_exceeded"


class RateLimited(QuotaExceeded):
    """This tenant's requests come too often."""

    def __init__(self, detail: str, *, limit: int, retry_after_seconds: int, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ModelwrightError):
    """The service cannot answer right now; try again in a moment."""

    code = "unavailable"
    retry_after_seconds = 2


class Busy(Unavailable):
    """What is needed is loading, or at work for somebody else, for some seconds more."""

    retry_after_seconds = 5


class StorageFull(Unavailable):
    """There is no room left on the service's disk; what is stored can still be read."""

    code = "storage_full"
    retry_after_seconds = 60


class StoreUnavailable(Unavailable):
    """The object store does not answer right now; try again in a moment."""


class ChunkCorrupt(ModelwrightError):
    """Stored bytes do not match their checksum."""

    code = "chunk_corrupt"

    def __init__(self, detail: str | None = None, *, sha256: bytes | None = None) -> None:
        super().__init__(detail)
        self.sha256 = sha256


class Fenced(ModelwrightError):
    """Another worker owns this job now; nothing more may be written for this epoch."""

    code = "fenced"


class TrainingFailure(ModelwrightError):
    """Training failed."""

    code = "training_failed"

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        failure_class: FailureClass,
        retryable: bool,
        hint: str | None = None,
        pointer: str | None = None,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.code = code
        self.failure_class: FailureClass = failure_class
        self.retryable = retryable
        self.pointer = pointer

    @classmethod
    def from_dict(cls, error: Mapping[str, Any]) -> TrainingFailure:
        """Return the failure that ``to_dict`` wrote down."""
        return cls(
            error["message"],
            code=error["code"],
            failure_class=error["class"],
            retryable=error["retryable"],
            hint=error.get("hint"),
            pointer=error.get("pointer"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the ``error`` member of a job."""
        return {
            "code": self.code,
            "message": self.detail,
            "pointer": self.pointer,
            "class": self.failure_class,
            "retryable": self.retryable,
            "hint": self.hint,
        }


def user_failure(code: str, detail: str, *, hint: str | None = None, pointer: str | None = None) -> TrainingFailure:
    """Return a failure that a repeat would only repeat."""
    return TrainingFailure(detail, code=code, failure_class="user", retryable=False, hint=hint, pointer=pointer)
