"""What users import and type: the Python client, the command line, and the all-in-one launcher. No torch here.

::

    from modelwright import Client

    with Client() as client:
        job = client.submit({"model": "Sequential(Linear(64, 128), ReLU(), Linear(128, 10))", "data": …, "training": …})
        for job in client.watch(job["id"]):
            print(job["state"], job["progress"])
        client.download(job["id"], "digits.safetensors")
"""

from modelwright.client import Client
from modelwright.errors import (
    ApiError,
    CannotDescribe,
    ConnectionFailed,
    DownloadCorrupt,
    Forbidden,
    InvalidRequest,
    JobFailed,
    ModelwrightError,
    NoCredentials,
    NotFound,
    Problem,
    RateLimited,
    ServiceError,
    StateConflict,
    Unauthenticated,
    WaitTimeout,
)

__all__ = [
    "ApiError",
    "CannotDescribe",
    "Client",
    "ConnectionFailed",
    "DownloadCorrupt",
    "Forbidden",
    "InvalidRequest",
    "JobFailed",
    "ModelwrightError",
    "NoCredentials",
    "NotFound",
    "Problem",
    "RateLimited",
    "ServiceError",
    "StateConflict",
    "Unauthenticated",
    "WaitTimeout",
]
