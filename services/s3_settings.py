"""What the operator says of S3 services: one that data sets may come from, one that holds the bytes of chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SCHEME = "s3://"
TENANT = "{tenant}"
"""Stands for the id of whoever asks, in a prefix."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a service is reached. Without an ``endpoint`` it is AWS; without a key requests are not signed."""

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Where the chunk store keeps bytes: a bucket, and a prefix that is empty or ends with a slash.

    ``redirect`` is the endpoint at which clients reach it; None: they do not, and all bytes go through the service.
    """

    bucket: str
    prefix: str
    access: S3Access
    redirect: str | None = None


def read_access(source: Mapping[str, str], name: str) -> S3Access:
    """Return what the variables that begin with ``name`` say.

    Raises:
        ValueError: half of a key, or an endpoint that is no URL; the message names the variable.
    """
    key, secret = source.get(f"{name}_ACCESS_KEY_ID") or None, source.get(f"{name}_SECRET_ACCESS_KEY") or None
    if (key is None) != (secret is None):
        raise ValueError(f"{name}_ACCESS_KEY_ID and {name}_SECRET_ACCESS_KEY go together")
    return S3Access(
        endpoint=_url(source, f"{name}_ENDPOINT"),
        region=source.get(f"{name}_REGION") or "us-east-1",
        access_key_id=key,
        secret_access_key=secret,
        session_token=source.get(f"{name}_SESSION_TOKEN") or None,
        ca_file=source.get(f"{name}_CA_FILE") or None,
    )


def read_place(source: Mapping[str, str], name: str) -> ObjectPlace | None:
    """Return where the variable ``name`` says that chunks lie; None when it says nothing: in the database.

    Raises:
        ValueError: it is not ``s3://bucket`` or ``s3://bucket/prefix``; clients are to be sent there and no key is
            there to sign with; or as `read_access`.
    """
    url = source.get(name) or ""
    if not url:
        return None
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not is_bucket(bucket):
        raise ValueError(f"{name} must be s3://bucket or s3://bucket/prefix, not {url!r}")
    prefix = prefix.strip("/")
    access, redirect = read_access(source, name), _url(source, f"{name}_REDIRECT")
    if redirect is not None and access.access_key_id is None:
        raise ValueError(f"{name}_REDIRECT needs {name}_ACCESS_KEY_ID: addresses are signed with it")
    return ObjectPlace(bucket, f"{prefix}/" if prefix else "", access, redirect)


def check_buckets(buckets: Sequence[str], name: str, *, apart_from: ObjectPlace | None) -> None:
    """Refuse a list of buckets that does not say what it means, or would show tenants the chunks of all.

    Raises:
        ValueError: the message names the variable and the entry.
    """
    for entry in buckets:
        bucket, _, _ = entry.partition("/")
        if not is_bucket(bucket):
            raise ValueError(f"{name} has {entry!r}, which is neither a bucket nor bucket/prefix")
        if apart_from is not None and bucket == apart_from.bucket:
            raise ValueError(f"{name} names {bucket!r}, in which the chunks of all tenants lie: use another bucket")


def is_bucket(name: str) -> bool:
    """Tell whether this can be a bucket's name."""
    return bool(_BUCKET.fullmatch(name)) and ".." not in name


def _url(source: Mapping[str, str], name: str) -> str | None:
    url = source.get(name) or None
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise ValueError(f"{name} must be an http or https URL, not {url!r}")
    return url
