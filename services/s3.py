"""Clients of S3 services, by botocore: what they know comes from our settings alone, never from the machine.

botocore is imported by whoever opens the first client: it takes a second, and most services have no use for it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, Literal

from services.s3_settings import S3Access

CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
_CONNECTIONS = 16
_DENIED, _NOT_FOUND, _CHANGED, _LATER = 403, 404, (412, 416), (408, 425, 429)

Trouble = Literal["no_bucket", "not_found", "denied", "changed", "away", "other"]
"""Why a request came to nothing; only what is ``away`` may be back in a moment."""


@lru_cache(maxsize=8)
def open_client(
    access: S3Access, *, tries: int = 1, connect_seconds: float = CONNECT_SECONDS, read_seconds: float = READ_SECONDS
) -> Any:  # noqa: ANN401 - botocore makes its classes while it runs
    """Return a client that any thread may use, which sends a request up to ``tries`` times.

    No redirect to another host is followed, no proxy used; files and variables that AWS's tools read are not.
    """
    import botocore  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.session import Session  # noqa: PLC0415

    nobody = (None, None, None, None)
    nowhere = (None, None, os.devnull, None)
    session = Session(
        session_vars={"profile": nobody, "ca_bundle": nobody, "config_file": nowhere, "credentials_file": nowhere}
    )
    return session.create_client(
        "s3",
        region_name=access.region,
        endpoint_url=access.endpoint,
        verify=access.ca_file or True,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        aws_session_token=access.session_token,
        config=Config(
            signature_version="s3v4" if access.access_key_id else botocore.UNSIGNED,
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"total_max_attempts": tries, "mode": "standard"},
            max_pool_connections=_CONNECTIONS,
            proxies={},
            ignore_configured_endpoint_urls=True,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path" if access.endpoint else "virtual",  # others seldom have names for buckets
                "payload_signing_enabled": True,  # so the service verifies what it is sent
                "disable_s3_express_session_auth": True,
            },
        ),
    )


def failures() -> tuple[type[Exception], ...]:
    """Return what a client raises; `trouble` says what it means."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return (BotoCoreError, ClientError, OSError)


def trouble(error: Exception) -> Trouble:
    """Say in one word why a request came to nothing."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):  # no answer, or half of one
        return "away"
    status, code = response["ResponseMetadata"]["HTTPStatusCode"], response["Error"].get("Code", "")
    if status == _NOT_FOUND:
        return "no_bucket" if code == "NoSuchBucket" else "not_found"
    if status == _DENIED:
        return "denied"
    if status in _CHANGED:
        return "changed"
    return "away" if status >= 500 or status in _LATER else "other"


def describe(error: Exception) -> str:
    """Return what may be told of a failure: what the service called it, or the class; addresses and keys stay here."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return type(error).__name__
    code = str(response["Error"].get("Code", ""))[:60]
    return f"{code or 'HTTP'} {response['ResponseMetadata']['HTTPStatusCode']}"
