"""Whole files as single objects, so that clients can be sent to the object store for them: copies, made when asked for.

A file is many chunks, which no address yields one behind the other. Whoever downloads a large one is served as ever;
meanwhile a copy is put beside the chunks, and those who come later are sent there. No row refers to a copy: a day after
it was made it is what `orphans` deletes, so it needs no collector of its own. Its name has the half day in which it was
made, and it is handed out in that half day alone: twelve hours or more before it can be deleted.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.exc import SQLAlchemyError

from services.errors import ModelwrightError, StoreUnavailable
from services.storage.objects import ObjectName, ObjectStore

SMALLEST_BYTES = 8 << 20
"""A smaller file is here sooner than the way to the store is explained."""
LARGEST_BYTES = 5 << 30
"""The most that S3 takes in one piece, and so all of it or nothing."""
LINK_SECONDS = 60
_HALF_DAY_SECONDS = 43_200
_WAITING = 16
_CLOSE_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file that is downloaded; ``pieces`` returns its bytes, in order."""

    tenant_id: str
    sha256: str
    size_bytes: int
    file_name: str
    media_type: str
    pieces: Callable[[], Iterable[bytes]]


class Copies:
    """Makes copies, one after the other in a thread of its own, and signs addresses of those that are there.

    Any thread may ask. ``folder`` has room for one file: it is put together there, and checked, before it is sent.
    """

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._lock = threading.Lock()
        self._wanted: queue.Queue[tuple[ObjectName, WholeFile] | None] = queue.Queue()
        self._making: set[ObjectName] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def find_address(self, file: WholeFile) -> str | None:
        """Return a signed URL of a copy; None where there is none, and then one is made meanwhile if it is worth it."""
        if not SMALLEST_BYTES <= file.size_bytes <= LARGEST_BYTES:
            return None
        name = _name(file)
        try:
            there = self._store.has(name)
        except StoreUnavailable:  # the service may have the bytes all the same
            return None
        if not there:
            self._want(name, file)
            return None
        return self._store.address(name, file_name=file.file_name, media_type=file.media_type, seconds=LINK_SECONDS)

    def close(self) -> None:
        """Give up what is under way; what is not whole is nowhere."""
        with self._lock:
            self._closed, thread = True, self._thread
        self._wanted.put(None)
        if thread is not None:
            thread.join(_CLOSE_SECONDS)

    def _want(self, name: ObjectName, file: WholeFile) -> None:
        """Have a copy made, unless it is being made, or too many others are before it: the next download asks again."""
        with self._lock:
            if self._closed or name in self._making or len(self._making) >= _WAITING:
                return
            self._making.add(name)
            if self._thread is None:  # a daemon: an upload that hangs must not keep the process
                self._thread = threading.Thread(target=self._work, name="copies", daemon=True)
                self._thread.start()
        self._wanted.put((name, file))

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closed:
            name, file = wanted
            try:
                self._make(name, file)
            except (ModelwrightError, SQLAlchemyError, OSError) as error:
                log.warning("no copy of %s: %s", file.file_name, error)
            finally:
                with self._lock:
                    self._making.discard(name)

    def _make(self, name: ObjectName, file: WholeFile) -> None:
        """Put a file together where no name leads to it, so that nothing stays behind, and store it if it is right."""
        self._folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with tempfile.TemporaryFile(dir=self._folder) as whole:
            if not self._filled(whole, file):
                return
            whole.seek(0)
            self._store.put_file(name, whole)
        log.info("copy of %s: %d bytes in %.1f s", file.file_name, file.size_bytes, time.monotonic() - began)

    def _filled(self, whole: BinaryIO, file: WholeFile) -> bool:
        digest = hashlib.sha256()
        for piece in file.pieces():
            if self._closed:
                return False
            digest.update(piece)
            whole.write(piece)
        if digest.hexdigest() != file.sha256:
            log.error("no copy of %s: its bytes are not those of its sha256", file.file_name)
            return False
        return True


def _name(file: WholeFile) -> ObjectName:
    return ObjectName(file.tenant_id, bytes.fromhex(file.sha256), f"file-{_half_day()}")


def _half_day() -> int:
    return int(time.time()) // _HALF_DAY_SECONDS
