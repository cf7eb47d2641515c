"""How many steps a plan has, and what depends on that: lengths of schedules, where averaging begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# The argument that stands for the length of the run when it is left out.
WHOLE_RUN_ARGUMENTS = {"PolynomialLR": "total_iters", "CosineAnnealingLR": "T_max", "OneCycleLR": "total_steps"}
_SWA_SHARE = 0.75  # of the epochs go by before the first average, as in the method's paper


def steps_per_epoch(rows: int, batch_size: int, *, drop_last: bool, accumulate: int) -> int:
    """Return the optimizer steps of an epoch; the last one may have fewer batches, but not fewer than one."""
    batches = rows // batch_size if drop_last else math.ceil(rows / batch_size)
    return max(1, math.ceil(batches / accumulate))


def with_lengths(training: Mapping[str, Any], steps_an_epoch: int) -> dict[str, Any]:
    """Return the plan with its lengths counted, and what they decide filled in."""
    steps = training["steps"]
    total_steps = steps if steps is not None else training["epochs"] * steps_an_epoch
    total_epochs = math.ceil(total_steps / steps_an_epoch)
    return {
        **training,
        "scheduler": _scheduler(training, total_steps, total_epochs),
        "swa": _swa(training["swa"], total_epochs),
        "steps_per_epoch": steps_an_epoch,
        "total_steps": total_steps,
        "total_epochs": total_epochs,
    }


def without_lengths(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return those members of a plan that lengths decide, as they stand before a batch size is known."""
    return {
        "scheduler": training["scheduler"],
        "swa": training["swa"],
        "steps_per_epoch": None,
        "total_steps": training["steps"],
        "total_epochs": training["epochs"],
    }


def _scheduler(training: Mapping[str, Any], total_steps: int, total_epochs: int) -> dict[str, Any] | None:
    scheduler, warmup = training["scheduler"], training["warmup"]
    if warmup is not None:
        return _warmed(scheduler, warmup, {"step": total_steps, "epoch": total_epochs})
    if scheduler is None:
        return None
    return _filled(scheduler, total_steps if scheduler.get("interval") == "step" else total_epochs)


def _filled(scheduler: Mapping[str, Any], turns: int) -> dict[str, Any]:
    """Return a schedule with its length, if it was left open; the parts of a sequence share the run between them."""
    filled = dict(scheduler)
    if scheduler["type"] == "SequentialLR":
        ends = [*scheduler["milestones"], max(turns, scheduler["milestones"][-1] + 1 if scheduler["milestones"] else 1)]
        begins = [0, *scheduler["milestones"]]
        lengths = [end - begin for begin, end in zip(begins, ends, strict=True)]
        filled["schedulers"] = [
            _filled(part, length) for part, length in zip(scheduler["schedulers"], lengths, strict=True)
        ]
    elif scheduler["type"] == "ChainedScheduler":
        filled["schedulers"] = [_filled(part, turns) for part in scheduler["schedulers"]]
    argument = WHOLE_RUN_ARGUMENTS.get(scheduler["type"])
    if argument is not None and scheduler[argument] is None:
        filled[argument] = turns
    return filled


def _warmed(scheduler: Mapping[str, Any] | None, warmup: Mapping[str, Any], turns: Mapping[str, int]) -> dict[str, Any]:
    """Return a sequence of a linear rise and the schedule itself."""
    interval, length = ("step", warmup["steps"]) if warmup["steps"] is not None else ("epoch", warmup["epochs"])
    rise = {
        "interval": interval,
        "type": "LinearLR",
        "start_factor": warmup["start_factor"],
        "end_factor": 1.0,
        "total_iters": length,
    }
    if scheduler is None:
        return rise
    parts = {"schedulers": [rise, dict(scheduler)], "milestones": [length]}
    return _filled({"interval": interval, "type": "SequentialLR", **parts}, turns[interval])


def _swa(swa: Mapping[str, Any] | None, total_epochs: int) -> dict[str, Any] | None:
    if swa is None or swa["start_epoch"] is not None:
        return dict(swa) if swa is not None else None
    return {**swa, "start_epoch": max(1, int(total_epochs * _SWA_SHARE))}
