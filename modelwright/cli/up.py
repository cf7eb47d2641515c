"""`modelwright up`: the whole service in the foreground, until Ctrl-C or TERM."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from modelwright.credentials import DEFAULT_FOLDER, FILE_NAME, Credentials
from modelwright.server.lock import hold
from modelwright.server.process import ServerError
from modelwright.server.stack import Options, Stack, StopRequested

_TICK_SECONDS = 0.1
_COMMAND_STOP_SECONDS = 10.0

Say = Callable[[str], None]


def run(options: Options, console: Console, *, command: Sequence[str] = (), quiet: bool = False) -> int:
    """Start everything, say where it is, keep it running, stop it; return the exit status.

    With ``command`` the service lives as long as that command, which finds address and key in its environment; its
    exit status is returned.

    Raises:
        ServerError: something cannot run, before or while it started; nothing is left behind.
    """
    begin = time.monotonic()
    say = _nothing if quiet else partial(_say, console)
    with hold(options.directory), _stop_signals(say) as stopping:
        stack = Stack(options, report=say, stopping=stopping)
        try:
            found = stack.start()
            if command:
                return _run_beside(stack, found, command, stopping)
            _welcome(console, options.directory, found, time.monotonic() - begin)
            _until(stack, stopping)
        except StopRequested:
            pass
        finally:
            _stop(stack)
    say(f"stopped; the data stays in {options.directory}")
    return 0


def program_name() -> str:
    """Return what to type for this program: its path from here, where a shell does not find it by name."""
    if shutil.which("modelwright"):
        return "modelwright"
    return os.path.relpath(Path(sys.executable).with_name("modelwright"))


def _stop(stack: Stack) -> None:
    try:
        stack.stop()
    except KeyboardInterrupt:  # the second Ctrl-C: do not wait for anybody
        stack.kill()
        raise


def _run_beside(stack: Stack, found: Credentials, command: Sequence[str], stopping: Callable[[], bool]) -> int:
    environment = {**os.environ, "MODELWRIGHT_URL": found.url, "MODELWRIGHT_API_KEY": found.api_key}
    try:
        child = subprocess.Popen(list(command), env=environment)  # noqa: S603 - the user's own command line
    except OSError as error:
        raise ServerError(f"{command[0]} cannot be run: {error.strerror}.") from error
    _until(stack, lambda: stopping() or child.poll() is not None)
    if child.poll() is None:
        child.terminate()
    try:
        status = child.wait(_COMMAND_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        status = child.wait()
    return status if status >= 0 else 128 - status  # as a shell says which signal it was


def _until(stack: Stack, over: Callable[[], bool]) -> None:
    while not over():
        stack.tick()
        time.sleep(_TICK_SECONDS)


class _Stopping:
    """Becomes true with the first signal; the second one does not wait for anybody."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._say("stopping: running jobs write a checkpoint and go on at the next start (again to kill)")


@contextmanager
def _stop_signals(say: Say) -> Iterator[_Stopping]:
    stopping = _Stopping(say)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stopping.ask) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(console: Console, what: str) -> None:
    with suppress(OSError, SystemExit):  # a terminal that was closed must not keep us from stopping in order
        console.print(Text.assemble(("· ", "dim"), what), soft_wrap=True)


def _nothing(what: str) -> None:
    """Say nothing."""


def _welcome(console: Console, directory: Path, found: Credentials, seconds: float) -> None:
    known = directory in (Path(DEFAULT_FOLDER).absolute(), (Path.home() / DEFAULT_FOLDER).absolute())
    lines = [
        ("key", f"{directory / FILE_NAME}"),
        ("logs", f"{directory / 'logs'}"),
        ("try", f"{program_name()} submit examples/digits_mlp.json --watch"),
    ]
    if not known:
        lines.insert(2, ("first", f"export MODELWRIGHT_DATA_DIR='{directory}'"))
    console.print(Text.assemble("\nModelwright is ready at ", (found.url, "bold green"), f" after {seconds:.1f} s"))
    for name, value in lines:
        console.print(Text.assemble((f"  {name:<6}", "dim"), value), soft_wrap=True)
    console.print(Text("  Ctrl-C stops it; the data stays.\n", "dim"))
