"""Where a data set that is fetched comes from: an https server, or an object of an S3 service."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from services.config import Settings
from services.datasets import remote, remote_s3
from services.datasets.remote import Remote
from services.datasets.remote_address import resolve_now
from services.s3_settings import SCHEME


@dataclass(frozen=True, slots=True)
class Pin:
    """What is known of a file before it is read; ``version`` (an ETag) says which one was meant."""

    version: str | None = None
    version_id: str | None = None
    size_bytes: int | None = None


def pin(url: str, settings: Settings, *, tenant_id: str) -> Pin:
    """Judge an address when it is given; an object is looked at, so that what is read later is that one.

    Raises:
        UrlNotAllowed: nothing was sent.
        InvalidRequest: ``source_not_found``, ``source_access_denied``, ``empty_dataset``.
        BodyTooLarge: it is larger than a data set may be.
    """
    if not url.startswith(SCHEME):
        resolve_now(url, settings)
        return Pin()
    seen = remote_s3.look(url, settings, tenant_id=tenant_id)
    return Pin() if seen is None else Pin(seen.version, seen.version_id, seen.size_bytes)


def to_fetch(url: str, found: Pin) -> dict[str, Any]:
    """Return what a data set keeps of its source, and of how far it was fetched."""
    return {
        "url": url,
        "version": found.version,
        "version_id": found.version_id,
        "size_bytes": found.size_bytes,
        "received_bytes": 0,
        "farthest_bytes": 0,
        "tries": 0,
        "error": None,
        "complete": False,
    }


def opened_source(
    source: Mapping[str, Any], settings: Settings, *, tenant_id: str, begin: int
) -> AbstractContextManager[Remote]:
    """Ask for a file from byte ``begin`` on, as `remote.opened` or `remote_s3.opened` does."""
    url, version = source["url"], source["version"]
    if not url.startswith(SCHEME):
        return remote.opened(url, settings, begin=begin, version=version)
    pinned = remote_s3.Version(version, source.get("version_id"))
    return remote_s3.opened(url, settings, tenant_id=tenant_id, begin=begin, pinned=pinned)
