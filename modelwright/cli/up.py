"""`modelwright up`: the whole service in the foreground, until Ctrl-C or TERM."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from modelwright.credentials import DEFAULT_FOLDER, FILE_NAME, Credentials
from modelwright.server.lock import hold
from modelwright.server.stack import Options, Stack, StopRequested

_TICK_SECONDS = 0.2


def run(options: Options, console: Console) -> None:
    """Start everything, say where it is, keep it running, stop it.

    Raises:
        ServerError: something cannot run, before or while it started; nothing is left behind.
    """
    begin = time.monotonic()
    with hold(options.directory), _stop_signals(console) as stopping:
        stack = Stack(options, report=lambda what: _say(console, what), stopping=stopping)
        try:
            found = stack.start()
            _welcome(console, options.directory, found, time.monotonic() - begin)
            while not stopping():
                stack.tick()
                time.sleep(_TICK_SECONDS)
        except StopRequested:
            pass
        except KeyboardInterrupt:  # the second Ctrl-C
            stack.kill()
            raise
        finally:
            stack.stop()
    _say(console, "stopped; the data stays in " + str(options.directory))


class _Stopping:
    """Becomes true with the first signal; the second one does not wait for anybody."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        _say(self._console, "stopping: running jobs write a checkpoint and go on at the next start (again to kill)")


@contextmanager
def _stop_signals(console: Console) -> Iterator[_Stopping]:
    stopping = _Stopping(console)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stopping.ask) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(console: Console, what: str) -> None:
    console.print(Text.assemble(("· ", "dim"), what), soft_wrap=True)


def _welcome(console: Console, directory: Path, found: Credentials, seconds: float) -> None:
    known = directory in (Path(DEFAULT_FOLDER).absolute(), (Path.home() / DEFAULT_FOLDER).absolute())
    lines = [
        ("key", f"{directory / FILE_NAME}"),
        ("logs", f"{directory / 'logs'}"),
        ("try", "modelwright submit examples/digits_mlp.json --watch"),
    ]
    if not known:
        lines.insert(2, ("first", f"export MODELWRIGHT_DATA_DIR='{directory}'"))
    console.print(Text.assemble("\nModelwright is ready at ", (found.url, "bold green"), f" after {seconds:.1f} s"))
    for name, value in lines:
        console.print(Text.assemble((f"  {name:<6}", "dim"), value), soft_wrap=True)
    console.print(Text("  Ctrl-C stops it; the data stays.\n", "dim"))
