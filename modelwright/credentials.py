"""Where a client finds the service's address and its key, and the file in which `modelwright up` leaves them.

In this order, for each of the two: the argument; ``MODELWRIGHT_URL`` / ``MODELWRIGHT_API_KEY``; ``credentials.json`` in
``MODELWRIGHT_DATA_DIR``, else in ``./.modelwright``, else in ``~/.modelwright``. A key from a file goes only to the
address from the same file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from modelwright.errors import NoCredentials

FILE_NAME = "credentials.json"
DEFAULT_FOLDER = ".modelwright"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The address of a service (no trailing slash) and a key for it."""

    url: str
    api_key: str = field(repr=False)


def discover(
    url: str | None = None, api_key: str | None = None, *, environment: Mapping[str, str] | None = None
) -> Credentials:
    """Return the address and key to use.

    Raises:
        NoCredentials: one of them is nowhere; the message says where we looked.
    """
    source = os.environ if environment is None else environment
    url = (url or source.get("MODELWRIGHT_URL") or "").strip().rstrip("/")
    api_key = (api_key or source.get("MODELWRIGHT_API_KEY") or "").strip()
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise NoCredentials(f"{url!r} is not the address of a service: it looks like http://127.0.0.1:8000.")
    if url and api_key:
        return Credentials(url, api_key)
    found = next((one for file in _files(source) if (one := read(file))), None)
    if found and url in ("", found.url):
        return Credentials(found.url, api_key or found.api_key)
    raise NoCredentials(_missing(url, source))


def read(file: Path) -> Credentials | None:
    """Return what a credentials file holds, or ``None`` when there is none that can be used."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(file.read_text(encoding="utf-8"))
        return Credentials(str(content["url"]).rstrip("/"), str(content["api_key"]))
    return None


def write(file: Path, credentials: Credentials) -> None:
    """Write the file for its owner's eyes only; a reader sees the old or the new content, never a half."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(descriptor, 0o600)  # a file that was there before keeps its mode otherwise
        json.dump(asdict(credentials), stream, indent=2)
        stream.write("\n")
    fresh.replace(file)


def _files(source: Mapping[str, str]) -> list[Path]:
    chosen = source.get("MODELWRIGHT_DATA_DIR")
    folders = [Path(chosen).expanduser()] if chosen else [Path(DEFAULT_FOLDER), Path.home() / DEFAULT_FOLDER]
    return [folder / FILE_NAME for folder in folders]


def _missing(url: str, source: Mapping[str, str]) -> str:
    places = " or ".join(str(file) for file in _files(source))
    if url:
        return f"There is no API key for {url}: MODELWRIGHT_API_KEY is not set and {places} is for another address."
    return f"No service is known: MODELWRIGHT_URL is not set and {places} does not exist."
