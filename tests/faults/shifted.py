"""Runs a module of the service with a wall clock that is wrong: ``python -m tests.faults.shifted SECONDS MODULE …``.

Every way by which Python code asks for the time of day is shifted, in this process and in those that it forks.
"""

import datetime as datetimes
import runpy
import sys
import time
from typing import Any


def shift(seconds: float) -> None:
    now, now_ns, original = time.time, time.time_ns, datetimes.datetime

    class Shifted(original):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return original.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return original.fromtimestamp(time.time(), datetimes.UTC).replace(tzinfo=None)

    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)
    datetimes.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    shift(float(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
