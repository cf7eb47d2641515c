"""No process of a worker outlives Celery's main process, however that one dies (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_main_pid = os.getpid()
"""Who imported this first: Celery's main process, which forks the others."""


def die_with_main() -> None:
    """Have the kernel kill this forked process when Celery's main process dies; does nothing in the latter."""
    if sys.platform != "linux" or os.getpid() == _main_pid:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != _main_pid:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
