"""Prepare this process to be somebody's child (die with the parent, drop root), then become another program.

Run as a file, not imported: ``python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM ARGUMENT…`` where
``UID`` and ``GID`` are ``-`` to stay who we are. A separate program, because code between fork and exec of a Python
process with threads may hang.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# From linux/prctl.h and linux/capability.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def main(arguments: list[str]) -> None:
    """Apply what the command line asks for, then replace this process; never returns.

    Raises:
        OSError: the program cannot be executed.
    """
    parent, death_signal, uid, gid, *program = arguments
    if uid != "-":
        become(int(uid), int(gid))
    die_with(int(parent), int(death_signal))
    os.execv(program[0], program)  # noqa: S606 - the whole point; no shell


def become(uid: int, gid: int) -> None:
    """Turn root into an ordinary account that may still reach files below folders such as ``/root``.

    PostgreSQL refuses to run as root, yet root's data folder and virtual environment are often below a folder that no
    other account may enter. Opening that folder to everybody would be wrong, so the child keeps one capability.
    """
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if library:
        library.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if library:
        _keep_file_access(library)


def die_with(parent: int, death_signal: int) -> None:
    """Ask the kernel to signal this process when ``parent`` dies, however it dies (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _keep_file_access(library: ctypes.CDLL) -> None:
    """Carry CAP_DAC_OVERRIDE over the exec. Best effort: without it, only reachable folders work."""
    bit = 1 << _CAP_DAC_OVERRIDE
    data = (_CapabilityData * 2)(_CapabilityData(bit, bit, bit), _CapabilityData(0, 0, 0))
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    if library.capset(ctypes.byref(header), data) == 0:
        library.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
