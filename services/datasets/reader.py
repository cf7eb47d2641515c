"""Has uploads read by a sandboxed child: limits, deadline, no network, one folder."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.config import Settings
from services.errors import InvalidRequest, Problem, Unavailable, UnsupportedFormat
from services.forkserver.child import Child
from services.forkserver.client import ForkServer
from services.forkserver.limits import Limits

TARGET = "services.datasets.parsing.child:run"
BUILTIN = "services.datasets.builtin_profile:run"
_PRELOAD = ("services.datasets.parsing.child",)
_OPEN_FILES = 64
_WAIT_SECONDS = 30.0
_SHORT_WAIT_SECONDS = 5.0  # a preview must not hold a thread behind large uploads
_LEFTOVER_SECONDS = 86_400.0
_SPREAD = 4  # the prepared file may be larger than the source: a byte of CSV can become eight


@contextmanager
def upload_folder(settings: Settings) -> Iterator[Path]:
    """Give a folder for one file and what is made of it; it is gone afterwards."""
    root = settings.scratch_dir / "uploads"
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(settings: Settings) -> None:
    """Delete the folders of a process that was killed."""
    long_ago = time.time() - _LEFTOVER_SECONDS
    for folder in (settings.scratch_dir / "uploads").glob("*"):
        if folder.stat().st_mtime < long_ago:
            shutil.rmtree(folder, ignore_errors=True)


class Reader:
    """Children of a fork server that read files, a few at a time. Its server starts with the first file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = ForkServer(preload=_PRELOAD)
        self._free = threading.BoundedSemaphore(settings.dataset_processes)
        self._builtins: dict[str, dict[str, Any]] = {}
        _remove_leftovers(settings)

    def read(self, folder: Path, *, format_: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of the file ``source`` in ``folder``, where the child leaves the prepared file.

        Raises:
            InvalidRequest: the file is not as it must be, with every problem.
            UnsupportedFormat: it is a pickle.
            Unavailable: no child could be had.
        """
        payload = {
            "folder": str(folder),
            "format": format_,
            "options": dict(options),
            "max_bytes": self._settings.max_dataset_bytes,
        }
        return self._ask(TARGET, payload, folder)

    def profile_builtin(self, name: str) -> dict[str, Any]:
        """Return statistics and preview of a built-in data set; after the first time from memory.

        Raises:
            Unavailable: no child could be had.
        """
        if name not in self._builtins:
            with upload_folder(self._settings) as folder:
                self._builtins[name] = self._ask(BUILTIN, {"name": name}, folder, wait_seconds=_SHORT_WAIT_SECONDS)
        return self._builtins[name]

    def close(self) -> None:
        """End the fork server and its children."""
        self._server.close()

    def _ask(
        self, target: str, payload: Mapping[str, Any], folder: Path, *, wait_seconds: float = _WAIT_SECONDS
    ) -> dict[str, Any]:
        if not self._free.acquire(timeout=wait_seconds):
            raise Unavailable("Too many data sets are being read.")
        try:
            with self._server.spawn(
                target, payload, limits=self._limits(), directory=folder, log=folder / "log"
            ) as child:
                answer = self._await(child)
        finally:
            self._free.release()
        if "table" in answer:
            return dict(answer["table"])
        problems = [Problem(**problem) for problem in answer["problems"]]
        if problems[0].code == UnsupportedFormat.code:
            raise UnsupportedFormat(problems[0].detail, hint=problems[0].hint)
        raise InvalidRequest(problems)

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            memory_bytes=settings.dataset_memory_bytes,
            cpu_seconds=int(settings.dataset_timeout_seconds) + 1,
            open_files=_OPEN_FILES,
            file_bytes=_SPREAD * settings.max_dataset_bytes,
        )

    def _await(self, child: Child) -> dict[str, Any]:
        """Wait for the answer until the deadline; a child that dies or hangs is the file's doing."""
        deadline = time.monotonic() + self._settings.dataset_timeout_seconds
        while not child.ended and time.monotonic() < deadline:
            for event in child.receive(max(deadline - time.monotonic(), 0.0)):
                if "table" in event or "problems" in event:
                    return event
        died = child.ended
        child.kill()
        seconds = self._settings.dataset_timeout_seconds
        why = (
            "used up the memory, time or disk that a reader may have" if died else f"does not end within {seconds:g} s"
        )
        problem = Problem("too_large", f"Reading this file {why}.", hint="Split the file, or send a simpler format.")
        return {"problems": [problem.to_dict()]}
