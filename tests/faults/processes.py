"""Processes that are stopped for a while, as if their machine hung."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

from tests.stack import family


@contextmanager
def frozen(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop processes and all that they started while the block runs."""
    members = [member for process in processes for member in family(process.pid)]
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.suspend()
    try:
        yield
    finally:
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.resume()


def is_stopped(pid: int) -> bool:
    """Whether a process exists and is stopped by a signal."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False
