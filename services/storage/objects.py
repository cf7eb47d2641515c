"""The bytes of chunks in an S3 service: one object for each row that says where it lies, and never two rows for one.

An object's name ends with a word drawn for it alone. So whoever deletes the object of a row that is gone cannot meet
the object of a row that came back with the same sha256: neither needs to know of the other.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, NoReturn, TypeVar

from services import s3
from services.errors import StoreUnavailable
from services.s3_settings import ObjectPlace

_AT_ONCE = 8
_TRIES = 2
REACH_SECONDS = 0.8
"""How long the question whether the store is there waits for a connection, and then for an answer."""
_DELETED_AT_ONCE = 1000  # as S3 has it

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Which chunk an object holds, and the word that its row has for it."""

    tenant_id: str
    sha256: bytes
    word: str

    def key(self, prefix: str) -> str:
        """Return the object's key in the bucket."""
        return f"{prefix}{self.tenant_id}/{self.sha256.hex()}/{self.word}"

    @classmethod
    def parse(cls, key: str, prefix: str) -> ObjectName | None:
        """Return the name that a key says; None for an object of others."""
        tenant_id, slash, rest = key.removeprefix(prefix).partition("/")
        sha256, _, word = rest.partition("/")
        if not key.startswith(prefix) or not slash or len(sha256) != 64 or not word or "/" in word:
            return None
        try:
            return cls(tenant_id, bytes.fromhex(sha256), word)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of the objects, in the order of their keys: those of the store's own day before, and where to go on."""

    old: list[ObjectName]
    after: str | None


class ObjectStore:
    """A bucket's objects. Any thread may call; several are put, read and deleted at once. ``close`` it when done."""

    def __init__(self, place: ObjectPlace) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def put(self, objects: Mapping[ObjectName, bytes]) -> None:
        """Store objects, all or an error.

        Raises:
            StoreUnavailable: some are not stored; none may be referred to.
        """

        def one(name: ObjectName) -> None:
            data = objects[name]
            self._call("put_object", Key=self._key(name), Body=data, ContentType="application/octet-stream")

        self._each(one, objects)

    def read(self, names: Iterable[ObjectName]) -> dict[ObjectName, bytes]:
        """Return the bytes of the objects that are there.

        Raises:
            StoreUnavailable: nobody can say what is there: no answer, no access, no bucket.
        """
        wanted = list(names)
        found = zip(wanted, self._each(self._read_one, wanted), strict=True)
        return {name: data for name, data in found if data is not None}

    def delete(self, names: Iterable[ObjectName]) -> None:
        """Delete objects; one that is gone already is no error.

        Raises:
            StoreUnavailable: some may still be there.
        """
        self._each(lambda name: self._call("delete_object", Key=self._key(name)), list(names))

    def list_old(self, *, after: str | None, older_than_seconds: float, limit: int = _DELETED_AT_ONCE) -> Listing:
        """Return those of the next ``limit`` objects that are older, by the clock of the store, than so many seconds.

        Raises:
            StoreUnavailable: it does not answer.
        """
        begin = {"StartAfter": after} if after is not None else {}
        answer = self._call("list_objects_v2", Prefix=self._place.prefix, MaxKeys=limit, **begin)
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        contents = answer.get("Contents", [])
        old = [one["Key"] for one in contents if _age(now, one["LastModified"]) > older_than_seconds]
        names = (ObjectName.parse(key, self._place.prefix) for key in old)
        return Listing(
            [name for name in names if name is not None],
            contents[-1]["Key"] if answer.get("IsTruncated") and contents else None,
        )

    @property
    def redirects(self) -> bool:
        """Whether clients may be sent there."""
        return self._place.redirect is not None

    def has(self, name: ObjectName) -> bool:
        """Return whether an object is there.

        Raises:
            StoreUnavailable: nobody can say.
        """
        try:
            self._client().head_object(Bucket=self._place.bucket, Key=self._key(name))
        except s3.failures() as error:
            if s3.trouble(error) == "not_found":
                return False
            _refuse(error)
        return True

    def put_file(self, name: ObjectName, file: BinaryIO) -> None:
        """Store a whole file as one object, all of it or nothing: the store checks it by the sha256 of the request.

        Raises:
            StoreUnavailable: it is not stored.
        """
        self._call("put_object", Key=self._key(name), Body=file, ContentType="application/octet-stream")

    def address(self, name: ObjectName, *, file_name: str, media_type: str, seconds: int) -> str:
        """Return a signed URL, at which a client may begin to get an object within so many ``seconds``."""
        client = s3.open_client(replace(self._place.access, endpoint=self._place.redirect))
        signed: str = client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._place.bucket,
                "Key": self._key(name),
                "ResponseContentDisposition": f'attachment; filename="{file_name}"',
                "ResponseContentType": media_type,
            },
            ExpiresIn=seconds,
        )
        return signed

    def check(self) -> None:
        """Ask for the bucket.

        Raises:
            StoreUnavailable: it is not there, not ours, or nobody answers.
        """
        self._call("head_bucket")

    def reach(self) -> s3.Trouble | None:
        """Ask for the bucket once, within twice `REACH_SECONDS`; return what is wrong, None when nothing is."""
        client = s3.open_client(self._place.access, connect_seconds=REACH_SECONDS, read_seconds=REACH_SECONDS)
        try:
            client.head_bucket(Bucket=self._place.bucket)
        except s3.failures() as error:
            return s3.trouble(error)
        return None

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def _key(self, name: ObjectName) -> str:
        return name.key(self._place.prefix)

    def _read_one(self, name: ObjectName) -> bytes | None:
        try:
            answer = self._client().get_object(Bucket=self._place.bucket, Key=self._key(name))
            data: bytes = answer["Body"].read()
        except s3.failures() as error:
            if s3.trouble(error) == "not_found":
                return None
            _refuse(error)
        return data

    def _call(self, operation: str, **arguments: Any) -> Any:  # noqa: ANN401 - botocore's
        try:
            return getattr(self._client(), operation)(Bucket=self._place.bucket, **arguments)
        except s3.failures() as error:
            _refuse(error)

    def _client(self) -> Any:  # noqa: ANN401 - botocore makes its classes while it runs
        return s3.open_client(self._place.access, tries=_TRIES)

    def _each(self, action: Callable[[T], R], items: Iterable[T]) -> list[R]:
        given = list(items)
        if len(given) < 2:
            return [action(item) for item in given]
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects")
            futures = [self._pool.submit(action, item) for item in given]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:  # a store that is away costs one time-out, not one for each
                future.cancel()
            raise


def new_name(tenant_id: str, sha256: bytes) -> ObjectName:
    """Return a name that no object ever had."""
    return ObjectName(tenant_id, sha256, secrets.token_hex(8))


def _refuse(error: Exception) -> NoReturn:
    log.warning("object store: %s", error)
    raise StoreUnavailable(f"The object store does not answer ({s3.describe(error)}).") from error


def _age(now: datetime, then: datetime) -> float:
    return (now - then).total_seconds()
