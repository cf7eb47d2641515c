"""What a sampler is told of the trials that are stored."""

from __future__ import annotations

from services.db.sweep_models import OPEN_TRIAL_STATES, SweepTrial
from services.sweeps.sampling import Outcome, Past


def past(trial: SweepTrial) -> Past:
    """Return a stored trial as `suggest` wants it.

    Only trials that ran to their end count with their objective: one that was pruned shows what it had at its last
    rung, as Optuna's own pruned trials do.
    """
    last = trial.rungs[-1] if trial.rungs else None
    pruned = trial.state == "pruned" and last is not None and last["value"] is not None
    return Past(
        number=trial.number,
        drawn=trial.drawn,
        outcome=_outcome(trial),
        value=trial.objective if trial.state == "succeeded" else None,
        rung=(last["step"], last["value"]) if pruned and last is not None else None,
    )


def _outcome(trial: SweepTrial) -> Outcome:
    if trial.state in OPEN_TRIAL_STATES:
        return "open"
    if trial.state == "succeeded":
        return "value"
    return "unknown" if trial.state == "cancelled" else "bad"
