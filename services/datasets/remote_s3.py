"""Reads an object of the S3 service that the operator named: from buckets on his list, the version that was meant."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from services import s3
from services.config import Settings
from services.datasets.remote import FetchFailed, Remote
from services.datasets.remote_address import POINTER, UrlNotAllowed
from services.errors import BodyTooLarge, InvalidRequest, Problem
from services.s3_settings import SCHEME, TENANT, is_bucket

_PIECE_BYTES = 64 << 10
_MAX_KEY_BYTES = 1024  # as S3 has it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """An object: the bucket it lies in, and its key."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Version:
    """Which content of an object is meant: its ETag, and its id where the bucket keeps old ones; None: any."""

    etag: str | None = None
    version_id: str | None = None

    def asked(self) -> dict[str, str]:
        """Return the arguments that ask for nothing else."""
        given = {"IfMatch": self.etag, "VersionId": self.version_id}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Seen:
    """What an object is right now."""

    version: str | None
    version_id: str | None
    size_bytes: int


def read_s3_url(url: str, settings: Settings, *, tenant_id: str) -> Place:
    """Return which object a URL names; nothing is sent.

    Raises:
        UrlNotAllowed: it is none, or lies in no bucket or prefix that the operator has allowed this tenant.
    """
    if not settings.s3_buckets:
        raise UrlNotAllowed("This service reads no object store: no bucket is allowed.", "Upload the file instead.")
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not is_bucket(bucket) or not key or len(key.encode()) > _MAX_KEY_BYTES:
        raise UrlNotAllowed("This is not s3://bucket/key.", "A key has 1 to 1024 bytes, and nothing is encoded in it.")
    if any(part in (".", "..") for part in key.split("/")) or any(one < " " or one == "\x7f" for one in key):
        raise UrlNotAllowed("A key has no control characters, and no `.` or `..` between slashes.")
    allowed = (entry.replace(TENANT, tenant_id).rstrip("/") for entry in settings.s3_buckets)
    if not any(f"{bucket}/{key}".startswith(f"{entry}/") for entry in allowed):
        raise UrlNotAllowed(
            f"Objects of this name in the bucket {bucket} are not allowed.",
            "The operator names the buckets, and the prefixes in them, that are.",
        )
    return Place(bucket, key)


def look(url: str, settings: Settings, *, tenant_id: str) -> Seen | None:
    """Return what an object is right now; None when the service cannot be asked, but may be in a moment.

    Raises:
        UrlNotAllowed: as `read_s3_url`.
        InvalidRequest: ``source_not_found``, ``source_access_denied``, ``empty_dataset``; ``fetch_failed``.
        BodyTooLarge: it is larger than a data set may be.
    """
    place = read_s3_url(url, settings, tenant_id=tenant_id)
    try:
        head = s3.open_client(settings.s3).head_object(Bucket=place.bucket, Key=place.key)
    except s3.failures() as error:
        failure = _failure(error)
        if failure.passing:
            return None
        raise InvalidRequest([Problem(failure.code, failure.detail, POINTER, failure.hint)]) from None
    size = int(head["ContentLength"])
    if size > settings.max_dataset_bytes:
        detail = f"A data set may have at most {settings.max_dataset_bytes} bytes, and this object has {size}."
        raise BodyTooLarge(detail)
    if not size:
        raise InvalidRequest([Problem("empty_dataset", "The object has no bytes.", POINTER)])
    return Seen(head.get("ETag"), _version_id(head), size)


@contextmanager
def opened(url: str, settings: Settings, *, tenant_id: str, begin: int, pinned: Version) -> Iterator[Remote]:
    """Read an object from byte ``begin`` on, as long as it is the version that was meant.

    Raises:
        UrlNotAllowed: the operator has taken the bucket from his list; nothing was sent.
        FetchFailed: no answer, not the object, or another content by now (``source_changed``).
    """
    place = read_s3_url(url, settings, tenant_id=tenant_id)
    rest = {"Range": f"bytes={begin}-"} if begin else {}
    try:
        answer = s3.open_client(settings.s3).get_object(Bucket=place.bucket, Key=place.key, **pinned.asked(), **rest)
    except s3.failures() as error:
        raise _failure(error) from None
    with closing(answer["Body"]) as body:
        yield _judged(answer, body, begin, pinned)


def _judged(answer: dict[str, Any], body: Any, begin: int, pinned: Version) -> Remote:  # noqa: ANN401 - botocore's
    etag = answer.get("ETag")
    if pinned.etag is not None and etag != pinned.etag:  # a service that ignores If-Match
        raise _changed()
    if begin and not str(answer.get("ContentRange", "")).startswith(f"bytes {begin}-"):
        raise FetchFailed("The object store sends another part than was asked for.", passing=True)
    encoding = answer.get("ContentEncoding", "").replace("aws-chunked", "").strip(", ").lower()
    if encoding not in ("", "identity"):
        raise FetchFailed(f"The object is stored compressed ({encoding[:40]}).", passing=False)
    return Remote(begin, etag, begin + int(answer["ContentLength"]), _pieces(body), _version_id(answer))


def _pieces(body: Any) -> Iterator[bytes]:  # noqa: ANN401 - botocore's
    try:
        yield from body.iter_chunks(_PIECE_BYTES)
    except s3.failures() as error:
        raise FetchFailed(f"The connection broke ({type(error).__name__}).", passing=True) from None


def _failure(error: Exception) -> FetchFailed:
    """Say of a request that came to nothing what the client may know."""
    why = s3.trouble(error)
    log.warning("object store: %s", error)
    if why in ("not_found", "no_bucket"):
        return FetchFailed("There is no such object.", passing=False, code="source_not_found")
    if why == "denied":
        detail = "The object store does not let this service read the object."
        hint = "Ask the operator. Some object stores say so, too, of an object that does not exist."
        return FetchFailed(detail, passing=False, code="source_access_denied", hint=hint)
    if why == "changed":
        return _changed()
    return FetchFailed(f"The object store does not answer ({s3.describe(error)}).", passing=why == "away")


def _changed() -> FetchFailed:
    detail = "The object has another content than when it was asked for."
    return FetchFailed(detail, passing=False, code="source_changed", hint="POST again for what it is now.")


def _version_id(answer: dict[str, Any]) -> str | None:
    """Return the id of a version that stays; in a bucket without versions it is "null", which the next one has too."""
    version_id = answer.get("VersionId")
    return None if version_id == "null" else version_id
