"""A seccomp filter that denies a child what numerical code never needs: sockets, other processes, kernel back doors.

Written as classic BPF by hand, for it must work with nothing installed. See seccomp(2) and
Documentation/userspace-api/seccomp_filter.rst of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

_SET_MODE_FILTER = 1
_FLAG_ALL_THREADS = 1
_FLAG_SPEC_ALLOW = 4  # without it older kernels slow every branch of a filtered process (speculative store bypass)
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FIRST_ARGUMENT = 0, 4, 16


@dataclass(frozen=True, slots=True)
class _Machine:
    audit_arch: int
    seccomp: int
    numbers: dict[str, int]


# What is denied: its number on x86_64 and on aarch64 (which never had the older ones).
_CALLS: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198),
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "clone3": (435, 435),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
}
_PROCESS_CALLS = ("fork", "vfork", "execve", "execveat", "clone", "clone3", "kill", "tgkill", "tkill")
_OWN_SIGNALS = ("kill", "tgkill")  # abort() signals its own process; any other target is denied


def _numbers(column: int) -> dict[str, int]:
    return {name: number for name, row in _CALLS.items() if (number := row[column]) is not None}


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, _numbers(0)),
    "aarch64": _Machine(0xC00000B7, 277, _numbers(1)),
}


def install(libc: ctypes.CDLL, *, network: bool, processes: bool) -> bool:
    """Put the filter over this process and its threads, for good; a second one can only deny more.

    Needs ``no_new_privs``. Return False where the kernel has none.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    program = _program(machine, network=network, processes=processes)
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    result: int = libc.syscall(machine.seccomp, _SET_MODE_FILTER, _FLAG_SPEC_ALLOW | _FLAG_ALL_THREADS, header)
    return result == 0


def _program(machine: _Machine, *, network: bool, processes: bool) -> list[bytes]:
    numbers = dict(machine.numbers)
    if network:
        numbers.pop("socket")
    if processes:
        numbers = {name: number for name, number in numbers.items() if name not in _PROCESS_CALLS}
    program = [
        _statement(_LOAD, _OFFSET_ARCH),
        _jump(_JUMP_EQUAL, machine.audit_arch, 1, 0),  # another calling convention has other numbers
        _statement(_RETURN, _KILL),
        _statement(_LOAD, _OFFSET_NUMBER),
        _jump(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1),
        _statement(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for name, number in numbers.items():
        program += _rule(name, number)
    return [*program, _statement(_RETURN, _ALLOW)]


def _rule(name: str, number: int) -> list[bytes]:
    """Return the instructions for one call; the accumulator holds the call's number before and after."""
    if name == "clone":
        return _by_argument(number, _jump(_JUMP_SET, _CLONE_THREAD, 1, 0))
    if name in _OWN_SIGNALS:
        return _by_argument(number, _jump(_JUMP_EQUAL, os.getpid(), 1, 0))
    # The C library falls back from clone3 to clone, whose flags a filter can read, when it does not exist.
    error = errno.ENOSYS if name == "clone3" else errno.EACCES
    return [_jump(_JUMP_EQUAL, number, 0, 1), _statement(_RETURN, _ERRNO | error)]


def _by_argument(number: int, allowed: bytes) -> list[bytes]:
    """Return instructions that deny call ``number`` unless ``allowed`` jumps over the denial."""
    return [
        _jump(_JUMP_EQUAL, number, 0, 4),
        _statement(_LOAD, _OFFSET_FIRST_ARGUMENT),
        allowed,
        _statement(_RETURN, _ERRNO | errno.EACCES),
        _statement(_RETURN, _ALLOW),
    ]


def _statement(code: int, value: int) -> bytes:
    return struct.pack("HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
