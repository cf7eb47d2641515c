"""Runs one attempt at a job and says how it ended: the function that a supervisor's fork server calls."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch._dynamo  # noqa: F401 - an optimizer imports it at its first step, for two seconds: better before the fork

from services import failpoints
from services.errors import TrainingFailure
from services.modules import build
from worker.trainer.assembly import Build, assemble
from worker.trainer.control import Line
from worker.trainer.failures import StepFailure, explain
from worker.trainer.job import Job, processes_of
from worker.trainer.loop import Trainer
from worker.trainer.parallel import Ranks, launch

SUCCESS, FAILURE = 0, 1
_WARNINGS = 100
"""So many are passed on; Python itself shows each place once."""


def run(payload: Mapping[str, Any], line: Line) -> int:
    """Train the job in ``payload`` and report on ``line``; return the exit code. No exception leaves this function."""
    return train(payload, line, build)


def train(payload: Mapping[str, Any], line: Line, build: Build) -> int:
    """Do what ``run`` does, with a way of one's own to build the model."""
    return launch(processes_of(payload), line, lambda ranks, line: _train(payload, line, build, ranks))


def _train(payload: Mapping[str, Any], line: Line, build: Build, ranks: Ranks) -> int:
    """Be one of the processes that train the job."""
    trainer: Trainer | None = None
    warnings.showwarning = _pass_on(line)
    try:
        failpoints.arm(payload.get("failpoint", ""))
        trainer = assemble(Job.from_payload(payload), line, build, ranks)
        trainer.control.install_signals()
        ending = trainer.run()
    except Exception as error:  # noqa: BLE001 - every failure ends as an event; the traceback goes to the log
        cause = ranks.cause(error)  # whoever only lost contact with one that failed ends here, without a word
        with contextlib.suppress(OSError):  # the log lies on the disk that may be full
            traceback.print_exc()
        _report(cause, trainer, payload, line)
        return FAILURE
    line.emit({"event": "finished", "outcome": ending.outcome, "reason": ending.reason, "step": trainer.step})
    return SUCCESS


def _report(error: Exception, trainer: Trainer | None, payload: Mapping[str, Any], line: Line) -> None:
    if trainer is not None:
        with contextlib.suppress(Exception):
            trainer.writer.wait()  # the last good checkpoint is announced before the end is
    size = payload.get("data", {}).get("batch_size")
    batch_size = size if isinstance(size, int) else 1
    failure: TrainingFailure = explain(error, trainer.model if trainer else None, batch_size=batch_size)
    step = failure.step if isinstance(failure, StepFailure) else trainer.step if trainer else 0
    line.emit({"event": "failed", "error": failure.to_dict(), "step": step})


def _pass_on(line: Line) -> Callable[..., None]:
    """Return what shows a warning of torch, or of the user's model: in the log of the job."""
    left = _WARNINGS

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            line.emit({"event": "warning", "message": f"{category.__name__}: {' '.join(str(message).split())}"})

    return show
