"""The walls round a forked child: session, resource limits, no privileges, no network, death with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from services.forkserver import seccomp
from services.forkserver.limits import Limits

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP, _NAME_BYTES = 0x8914, 1, 16
# An allow list: a credential that nobody thought of must not reach a trainer.
_ENVIRONMENT_NAMES = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "USER", "VIRTUAL_ENV"})
_ENVIRONMENT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "CUBLAS_", "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "PYTHON")

# Looked up once, before any fork: the dynamic linker takes locks.
_libc = ctypes.CDLL(None, use_errno=True)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a server and its children may know."""
    return {
        name: value
        for name, value in environment.items()
        if name in _ENVIRONMENT_NAMES or name.startswith(_ENVIRONMENT_PREFIXES)
    }


def isolate(limits: Limits, *, parent_pid: int) -> list[str]:
    """Wall this process in, and return the names of the walls that hold.

    It must be a fresh fork with one thread. ``no_new_privs``, the resource limits and death with the parent always
    hold; namespaces and the system call filter do where the kernel has them.
    """
    walls = ["session", "resource_limits", "no_new_privs", "parent_death_signal"]
    limits.apply()
    if not limits.network:
        walls += _unshare_network(loopback=limits.siblings)
    if _drop_capabilities():
        walls.append("no_capabilities")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    network, processes = limits.network or limits.siblings, limits.processes or limits.siblings
    if seccomp.install(_libc, network=network, processes=processes):
        walls.append("seccomp")
    # Last, for a change of credentials clears both.
    _prctl(_PR_SET_DUMPABLE, 1)
    die_with(parent_pid)
    return walls


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:  # the parent died before it was asked to take us along
        os._exit(1)


def forbid_processes() -> bool:
    """Start no process and no program from here on, in any thread; there is no way back. False without seccomp."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return seccomp.install(_libc, network=True, processes=False)


def lock() -> bool:
    """Open no socket and start no process from here on, in any thread: the end of what ``Limits.siblings`` allows.

    Sockets that are open stay so. False without seccomp.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return seccomp.install(_libc, network=False, processes=False)


def signal_group(pid: int, number: int) -> None:
    """Signal the process group that ``pid`` leads; one that is gone is no error."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)  # it has not called setsid yet


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _unshare_network(*, loopback: bool) -> list[str]:
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        _map_user(user, group)
        walls = ["user_namespace", "network_namespace"]
    else:
        walls = ["network_namespace"] if _libc.unshare(_CLONE_NEWNET) == 0 else []
    if walls and loopback:
        _bring_up_loopback()
    return walls


def _bring_up_loopback() -> None:
    """Let processes in this new network namespace talk to each other: it has nothing but ``lo``, which is down."""
    request = struct.pack(f"{_NAME_BYTES}sH22x", b"lo", _IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def _map_user(user: int, group: int) -> None:
    """Keep our own ids inside the new namespace, so that files look as before."""
    process = Path("/proc/self")
    try:
        (process / "setgroups").write_text("deny", encoding="ascii")
        (process / "uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        (process / "gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    except OSError:
        return  # unmapped ids show as "nobody"; access rights are the same


def _drop_capabilities() -> bool:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    empty = (ctypes.c_uint32 * 6)()
    result: int = _libc.capset(header, empty)
    return result == 0
