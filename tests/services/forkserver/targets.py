"""Functions that the tests run inside forked children."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def warm():
    os.environ["WARMED"] = "yes"


def echo(payload, channel):
    channel.emit({"echo": payload, "isolation": list(channel.isolation)})
    return payload.get("code", 0)


def answer_commands(payload, channel):
    while True:
        for command in channel.poll():
            channel.emit({"answer": command})
            if command.get("stop"):
                return 0
        time.sleep(0.001)


def sleep(payload, channel):
    channel.emit({"pid": os.getpid()})
    time.sleep(600)


def spin(payload, channel):
    while True:
        pass


def crash(payload, channel):
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(payload, channel):
    print("a line on stdout")
    raise RuntimeError("a traceback in the log")


def emit_garbage(payload, channel):
    connection = socket.socket(fileno=os.dup(3))
    connection.sendall(b"not json\n[1,2]\n\xff\xfe\n" + b"[" * 100_000 + b"\n\n")
    channel.emit({"still": "here"})


def endless_line(payload, channel):
    connection = socket.socket(fileno=os.dup(3))
    while True:
        connection.sendall(b"x" * (1 << 20))


def emit_many(payload, channel):
    for number in range(payload["count"]):
        channel.emit({"number": number, "text": "x" * 100})


def describe(payload, channel):
    channel.emit(
        {
            "environment": dict(os.environ),
            "initial_environment": Path("/proc/self/environ").read_bytes().decode(),
            "fds": sorted(fd for fd in map(int, _names("/proc/self/fd")) if _is_open(fd)),
            "threads": len(_names("/proc/self/task")),
            "cwd": str(Path.cwd()),
            "session": os.getsid(0),
            "pid": os.getpid(),
            "modules": [name for name in ("torch", "fractions") if name in sys.modules],
            "status": Path("/proc/self/status").read_text(),
        }
    )


def _names(folder):
    return [path.name for path in Path(folder).iterdir()]


def _is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def try_to_escape(payload, channel):
    attempts = {
        "tcp": lambda: socket.create_connection(("127.0.0.1", payload["port"]), timeout=2),
        "unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "fork": lambda: os.fork() or os._exit(0),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "kill_owner": lambda: os.kill(payload["owner"], signal.SIGTERM),
        "many_files": lambda: [os.open("/dev/null", os.O_RDONLY) for _ in range(1000)],
        "memory": lambda: bytearray(1 << 31),
        "big_file": lambda: Path("big").write_bytes(b"x" * (2 << 20)),
    }
    chosen = payload.get("only") or attempts
    channel.emit({"outcomes": {name: _attempt(attempts[name]) for name in chosen}})


def _attempt(attempt):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "allowed"


def use_threads(payload, channel):
    import threading

    thread = threading.Thread(target=lambda: channel.emit({"from": "thread"}))
    thread.start()
    thread.join()


def use_torch(payload, channel):
    import torch

    torch.set_num_threads(2)
    total = (torch.ones(600, 600) @ torch.ones(600, 600)).sum()
    channel.emit({"total": float(total), "threads": len(_names("/proc/self/task"))})


def abort(payload, channel):
    os.abort()


def lock_later(payload, channel):
    """Start a program, then forbid programs from another thread's view too, and try again in both."""
    import threading

    from services.forkserver.isolation import forbid_processes

    def start():
        subprocess.run(["/bin/true"], check=True)

    before, locked = threading.Event(), threading.Event()
    elsewhere = []

    def other():
        before.set()
        locked.wait(10)
        elsewhere.append(_attempt(start))

    thread = threading.Thread(target=other)
    thread.start()
    before.wait(10)
    outcomes = {"at_first": _attempt(start), "locked": forbid_processes(), "then": _attempt(start)}
    locked.set()
    thread.join()
    channel.emit({**outcomes, "in_a_thread": elsewhere[0]})


def nap():
    time.sleep(0.7)


def meet_and_lock(payload, channel):
    """Do what the processes of one job do: fork, talk over loopback, lock; then try what they must not."""
    import threading

    from services.forkserver.isolation import lock

    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        met = socket.create_connection(listener.getsockname(), timeout=5)
        lock()
        met.sendall(_attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)).encode())
        os._exit(0)
    met, _ = listener.accept()
    outside = _attempt(lambda: socket.create_connection(("127.0.0.1", payload["port"]), timeout=2))
    waiting = threading.Event()
    found = []
    thread = threading.Thread(target=lambda: (waiting.wait(), found.append(_attempt(lambda: os.fork() or os._exit(0)))))
    thread.start()
    locked = lock()
    waiting.set()
    thread.join()
    outcomes = {
        "locked": locked,
        "sibling": met.recv(100).decode(),  # what is open stays so
        "outside": outside,
        "thread": found[0],
        "tcp": _attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        "fork": _attempt(lambda: os.fork() or os._exit(0)),
        "sibling_is_killed": _attempt(lambda: os.kill(pid, signal.SIGKILL)),
    }
    channel.emit({"isolation": list(channel.isolation), "outcomes": outcomes})
