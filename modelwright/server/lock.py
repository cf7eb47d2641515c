"""One `modelwright up` for each data folder: a lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.server.process import ServerError


class InUse(ServerError):
    """Another process holds the lock."""


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Hold the lock of ``directory`` (made if need be, for its owner alone) inside the ``with`` block.

    Raises:
        InUse: another process holds it; the message says which.
        ServerError: the folder cannot be used.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / "lock").open("a+")
    except OSError as error:
        raise ServerError(f"{directory} cannot be used as the data folder: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            running = f"`modelwright up` is running on {directory} already (process {holder})"
            raise InUse(f"{running}. Stop that one, or use another --data.") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
