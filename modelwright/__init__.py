"""What users import and type: the Python client, the command line, and the all-in-one launcher. No torch here.

::

    from modelwright import Client

    with Client() as client:
        job = client.submit({"model": "Sequential(Linear(64, 128), ReLU(), Linear(128, 10))", "data": …, "training": …})
        job.watch()                                 # a progress bar, in a terminal or a notebook
        print(job.metrics().records()[-1])
        model = job.load()                          # a torch.nn.Module; or job.download("digits.safetensors")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwright.client import Client
from modelwright.errors import (
    ApiError,
    CannotDescribe,
    CannotLoad,
    ConnectionFailed,
    DownloadCorrupt,
    Forbidden,
    InvalidRequest,
    JobFailed,
    ModelwrightError,
    NoCredentials,
    NotFound,
    PreconditionFailed,
    Problem,
    RateLimited,
    ServiceError,
    StateConflict,
    Unauthenticated,
    WaitTimeout,
)
from modelwright.job import Job
from modelwright.metrics import Metrics

if TYPE_CHECKING:
    from modelwright.async_client import AsyncClient
    from modelwright.async_job import AsyncJob

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncJob",
    "CannotDescribe",
    "CannotLoad",
    "Client",
    "ConnectionFailed",
    "DownloadCorrupt",
    "Forbidden",
    "InvalidRequest",
    "Job",
    "JobFailed",
    "Metrics",
    "ModelwrightError",
    "NoCredentials",
    "NotFound",
    "PreconditionFailed",
    "Problem",
    "RateLimited",
    "ServiceError",
    "StateConflict",
    "Unauthenticated",
    "WaitTimeout",
]

_LATER = {"AsyncClient": "modelwright.async_client", "AsyncJob": "modelwright.async_job"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    """Import what few need, and what takes longer than all the rest, when it is asked for."""
    if name in _LATER:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
