"""Asynchronous successive halving: whether a trial that reached a rung goes on (Optuna's `SuccessiveHalvingPruner`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState

_RUNG = "completed_rung_0"
"""The attribute under which Optuna's pruner keeps what a trial had at its first rung."""


def survives(value: float, others: Sequence[float], *, mode: str, reduction_factor: int) -> bool:
    """Return whether ``value`` is among the best 1/``reduction_factor`` of those that reached this rung so far.

    The first to arrive always goes on: nobody waits for anybody (ASHA, Li et al., 2020). One rung is one study here,
    for the values of each rung are stored with the trials.
    """
    if not math.isfinite(value):
        return False
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=reduction_factor)
    study = optuna.create_study(direction="minimize" if mode == "min" else "maximize", pruner=pruner)
    for other in others:
        study.add_trial(optuna.create_trial(state=TrialState.PRUNED, system_attrs={_RUNG: other}))
    study.add_trial(optuna.create_trial(state=TrialState.RUNNING, intermediate_values={1: value}))
    return not pruner.prune(study, study.trials[-1])
