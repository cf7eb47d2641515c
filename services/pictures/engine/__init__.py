"""Graphviz in a child process: positions of boxes and lines for sizes and links; no system program is needed.

``viz-global.js`` is Graphviz as WebAssembly (Viz.js 3.31.0, `NOTICE`); `mini-racer` brings the V8 that runs it. A child
for each call keeps its memory and its failures out of the service.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.errors import Unavailable

TIMEOUT_SECONDS = 30.0
AT_A_TIME = 2
_WAIT_SECONDS = 20.0
_CHILD = Path(__file__).with_name("child.py")
_slots = threading.BoundedSemaphore(AT_A_TIME)


class LayoutFailed(Exception):
    """The engine gave up, or ran out of time or memory."""


def lay_out(graphs: Sequence[str], *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[dict[str, Any]]:
    """Return the layout of each graph, DOT in, Graphviz's ``json0`` out; the same text gives the same numbers.

    Raises:
        LayoutFailed: a graph is too much for the engine, or wrong.
        Unavailable: too many pictures are being drawn.
    """
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise Unavailable("Too many pictures are being drawn.")
    try:
        return _ask(json.dumps(graphs), timeout_seconds)
    finally:
        _slots.release()


def _ask(request: str, timeout_seconds: float) -> list[dict[str, Any]]:
    # Isolated and without our environment: the child needs mini-racer and nothing else.
    command = [sys.executable, "-I", str(_CHILD)]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, our own file
            command, input=request.encode(), capture_output=True, timeout=timeout_seconds, check=False, env={}
        )
    except subprocess.TimeoutExpired as error:
        raise LayoutFailed(f"no layout after {timeout_seconds:g} s") from error
    if done.returncode != 0:
        raise LayoutFailed(done.stderr.decode(errors="replace").strip()[-500:] or f"exit status {done.returncode}")
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer
