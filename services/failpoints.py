"""Named moments at which a process can be made to die or to freeze, so that tests see what its death there costs.

``FAILPOINT=after_claim:kill`` arms one; `services.config` reads it, and each kind of process arms itself when it
starts. ``tests/faults`` finds every name by reading the source, and tries each with each action.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

_armed: dict[str, Callable[[], None]] = {}


def arm(text: str) -> None:
    """Arm the point that ``text`` names (``name:action``), or none if it is empty. It fires once in a process.

    Raises:
        ValueError: there is no such action.
    """
    name, _, action = text.partition(":")
    if name and action not in ACTIONS:
        raise ValueError(f"FAILPOINT must be name:action with one of {', '.join(ACTIONS)}, not {text!r}")
    _armed.clear()
    if name:
        _armed[name] = ACTIONS[action]


def hit(name: str) -> None:
    """Do what this point is armed for; with none armed this is one look at an empty dictionary."""
    if _armed:
        _fire(name)


def _fire(name: str) -> None:
    action = _armed.pop(name, None)
    if action is not None:
        action()


def _kill() -> None:
    """Die as a machine does: without a word, and with the whole process group."""
    with suppress(PermissionError):  # a trainer's filter lets it signal itself alone
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    """Freeze; somebody's SIGCONT lets this process go on exactly here, as one that does not know it was replaced."""
    os.kill(os.getpid(), signal.SIGSTOP)


ACTIONS: dict[str, Callable[[], None]] = {"kill": _kill, "stop": _stop}
