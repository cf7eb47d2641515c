"""Documents by the thousand through check, emit, preflight and one real forward, in children with limits.

``python -m benchmarks.fuzz_language 100000 --parts FOLDER``. Each document comes from a number, so that any finding
can be had again (``tests.conformance.fuzzing.sample``) and a run can be split, ended and taken up. Ends with status 1
when a child died, when checking a document took over a second or more memory than it may, or when anything but a clean
answer came.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import IO, Any

import torch

from benchmarks._tally import Tally, joined, report
from services.definition import check
from services.errors import InvalidRequest
from services.forkserver.limits import Limits
from services.modules import build, emit, preflight
from tests.conformance import article, generative, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.audit import assert_harmless
from tests.conformance.fuzzing import Sample, sample

BATCH = 200
"""Documents for one child."""
PART = 1_000
CHECK_SECONDS = 1.0
TRIAL_SECONDS = 3.0
"""Of the processor; the service's own deadline of a preflight is 10 s by the clock."""
STUCK_SECONDS = 300.0
"""A child that says nothing for so long, by the clock, is taken for stuck."""
CHECK_BYTES = 64 << 20
TRIAL_BYTES = 1 << 30
"""Address space that a child may map on top of what it is born with."""
REAL_PARAMETERS = 1_000_000
"""Models up to this size are run on real numbers too."""
_BUDGET_WORDS = ("one forward took more than", "an integer grew beyond", "still goes on after", "called itself deeper")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--parts", type=Path, help="a folder that keeps what is done, a thousand documents a file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    first, end = arguments.first, arguments.first + arguments.count
    if arguments.parts is None:
        tally = run(first, arguments.count)
    else:
        run_parts(first, end, arguments.parts)
        tally = joined(arguments.parts, first, end)
    report(tally)
    return 1 if tally.findings else 0


def run_parts(first: int, end: int, folder: Path) -> None:
    """Run what the folder does not hold yet; each part is written when it is done, so that a run can be taken up."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(first, end, PART):
        path = folder / f"{start:06}.json"
        if not path.exists():
            tally = run(start, min(PART, end - start))
            if tally.stopped:
                return
            path.write_text(json.dumps(tally.written(), indent=1), encoding="utf-8")


def run(first: int, count: int) -> Tally:
    """Try ``count`` documents from the seed ``first`` on."""
    tally = Tally()
    begin, busy = time.monotonic(), os.times()
    seed, end = first, first + count
    try:
        while seed < end:
            seed = _batch(seed, min(seed + BATCH, end), tally)
    except KeyboardInterrupt:  # what was seen so far counts
        tally.stopped = True
    after = os.times()
    tally.wall_seconds = time.monotonic() - begin
    tally.processor_seconds = sum(after[:4]) - sum(busy[:4])
    return tally


def _batch(seed: int, end: int, tally: Tally) -> int:
    """Run one child until it has done its documents, dies, or is stuck; returns the next seed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(reader)
        _child(seed, end, writer)
    os.close(writer)
    line: bytes | None = b""
    try:
        # Without a buffer: what it held would be hidden from select.
        with os.fdopen(reader, "rb", buffering=0) as lines:
            while seed < end and (line := _line(lines)):
                tally.add(json.loads(line))
                seed += 1
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    if line is None:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if seed < end:
        how = "hangs" if line is None else f"dies ({status})"
        tally.add({"seed": seed, "state": how, "codes": [], "worst": {}, "finding": how})
        seed += 1
    return seed


def _line(lines: IO[bytes]) -> bytes | None:
    """Return the next line: nothing when the child has ended, ``None`` when it is stuck."""
    ready, _, _ = select.select([lines], [], [], STUCK_SECONDS)
    return lines.readline() if ready else None


def _child(seed: int, end: int, writer: int) -> None:
    try:
        Limits(memory_bytes=TRIAL_BYTES).apply()
        with os.fdopen(writer, "w", buffering=1) as out:
            for one in range(seed, end):
                out.write(json.dumps(_try(one)) + "\n")
    except BaseException:  # noqa: BLE001 - this process is a fork: nothing of its parent's may run on in it
        os._exit(1)
    os._exit(0)


def _try(seed: int) -> dict[str, Any]:
    """Return what became of one document."""
    given = sample(seed)
    row: dict[str, Any] = {"seed": seed, "state": "", "codes": [], "worst": {}}
    signal.signal(signal.SIGPROF, _late)
    try:
        row["state"] = _tried(given, row)
    except InvalidRequest as error:
        row["codes"] = sorted({problem.code for problem in error.problems})
        row["state"] = row["state"] or f"{given.kind}: refused"
        if not all(problem.detail for problem in error.problems):
            row["finding"] = "a problem without words"
    except Exception:  # noqa: BLE001 - the finding is what this run is for
        row["state"], row["finding"] = "breaks", traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return row


class Late(BaseException):
    """The deadline of a trial passed."""


def _late(*_: object) -> None:
    raise Late


def _tried(given: Sample, row: dict[str, Any]) -> str:
    with Watch("check", row):
        definition = check(given.document)
        assert_harmless(emit(definition))
    row["state"] = f"{given.kind}: accepted, refused by preflight"
    signal.setitimer(signal.ITIMER_PROF, TRIAL_SECONDS)  # of the processor: others may load the machine
    try:
        with Watch("trial", row):
            told = preflight(definition, given.inputs, max_parameters=1_000_000_000)
        if told["parameters"]["total"] > REAL_PARAMETERS:
            return f"{given.kind}: accepted, not run (large)"
        with Watch("forward", row):
            return f"{given.kind}: accepted, {_forward(definition, given)}"
    except (Late, MemoryError) as error:
        return f"{given.kind}: accepted, stopped by the limit of {'time' if isinstance(error, Late) else 'memory'}"


def _forward(definition: Any, given: Sample) -> str:  # noqa: ANN401 - a checked definition
    """Run the model once on real numbers; whatever its own text raises is an answer."""
    torch.manual_seed(0)
    tensors = [torch.ones(one["shape"], dtype=getattr(torch, one["dtype"])) for one in given.inputs.values()]
    try:
        build(definition)(*tensors)
    except (MemoryError, InvalidRequest):
        raise
    except Exception as error:  # noqa: BLE001 - as the docstring says
        return "spent its budget" if any(words in str(error) for words in _BUDGET_WORDS) else "its forward raises"
    return "run"


class Watch:
    """Notes the time of a part and how much memory it took at its peak (proc(5))."""

    def __init__(self, name: str, row: dict[str, Any]) -> None:
        self.name = name
        self.row = row

    def __enter__(self) -> Watch:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._resident = _status("VmRSS")
        self._begin = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, busy = time.monotonic() - self._begin[0], time.process_time() - self._begin[1]
        taken = max(_status("VmHWM") - self._resident, 0)
        # On a machine that others load the wall clock says little: what counts is the processor's time.
        if self.name == "check" and (busy > CHECK_SECONDS or taken > CHECK_BYTES):
            self.row["finding"] = f"checking takes {busy:.2f} s and {taken >> 20} MiB"
        self.row["worst"] |= {f"{self.name}: wall ms": wall * 1000, f"{self.name}: processor ms": busy * 1000,
                              f"{self.name}: memory MiB": taken / 2**20}  # fmt: skip


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) * 1024


if __name__ == "__main__":
    sys.exit(main())
