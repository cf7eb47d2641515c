"""What a forked child may use."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OUT_OF_MEMORY = 12
"""What a child exits with when an allocation met its limit (ENOMEM); another code is a fault of ours."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child; 0 means unbounded.

    ``memory_bytes`` is the address space that the child may map *on top of* what it is born with (the preloaded
    modules already map a few GiB), so that it speaks of the child's own appetite. Leave it 0 with CUDA, which reserves
    far more address space than it uses. ``file_bytes`` bounds each written file. Without ``network`` no socket can be
    opened; without ``processes`` the child may start threads, but no process and no program. With ``siblings`` it may
    fork and open sockets until it calls ``isolation.lock``, for processes that have to find each other first.
    ``niceness`` (see nice(2)) lets others go first where processors are short.
    """

    memory_bytes: int = 0
    cpu_seconds: int = 0
    open_files: int = 256
    file_bytes: int = 0
    network: bool = False
    processes: bool = False
    siblings: bool = False
    niceness: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that the server reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Limits:
        """Return the limits that ``to_dict`` wrote."""
        return cls(**members)

    def apply(self) -> None:
        """Set the resource limits of this process; there is no way back."""
        if self.niceness:
            step_back(self.niceness)
        _bound(resource.RLIMIT_CORE, 0)
        if self.memory_bytes:
            _bound(resource.RLIMIT_AS, _mapped_bytes() + self.memory_bytes)
        if self.cpu_seconds:
            _bound(resource.RLIMIT_CPU, self.cpu_seconds)
        if self.open_files:
            _bound(resource.RLIMIT_NOFILE, self.open_files)
        if self.file_bytes:
            _bound(resource.RLIMIT_FSIZE, self.file_bytes)


def step_back(niceness: int) -> None:
    """Let others go first where processors are short; alone this process is as fast as before.

    A child is a session of its own, and where Linux weighs sessions against each other (``sched_autogroup``) the
    niceness of a process counts within its session alone: that of the session is set, too (sched(7)).
    """
    os.nice(niceness)
    with suppress(OSError):  # no such kernel, or another session did it less than 0.1 s ago
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def _bound(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
