"""Where to look next: a point of the grid, or one that Optuna draws from what is known; the same each time it is asked.

A study is built anew from the stored trials for each suggestion, with a sampler seeded by (sweep's seed, trial's
number). So nothing of a sampler has to be stored: who asks again, after a crash or beside another, gets the same point.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from services.sweeps.schema import Strategy
from services.sweeps.space import Dimension, Drawn, grid_point

Outcome = Literal["value", "bad", "open", "unknown"]
REDRAWS = 20
"""How often a point that was tried already is drawn anew before it is taken after all."""


@dataclass(frozen=True, slots=True)
class Past:
    """A trial that was drawn before.

    ``outcome`` is ``value`` when it has an objective, ``bad`` when its point is to be avoided (it failed, could not be
    trained, or was pruned), ``open`` while it trains, ``unknown`` when a user ended it.
    """

    number: int
    drawn: Drawn
    outcome: Outcome
    value: float | None = None
    rung: tuple[int, float] | None = None
    """Of a pruned trial: the last step and value that it was judged by."""


def suggest(
    space: Sequence[Dimension], *, strategy: Strategy, mode: str, seed: int, number: int, past: Sequence[Past]
) -> Drawn:
    """Return the point of trial ``number``; ``past`` are all trials before it, by number."""
    if strategy == "grid":
        return grid_point(space, number)
    known = [one.drawn for one in past]
    drawn: Drawn = {}
    for attempt in range(REDRAWS):
        drawn = _draw(space, strategy, mode, _derived(seed, number, attempt), past)
        if drawn not in known:
            break
    return drawn


def _draw(space: Sequence[Dimension], strategy: Strategy, mode: str, seed: int, past: Sequence[Past]) -> Drawn:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {dimension.pointer: _distribution(dimension) for dimension in space}
    sampler = optuna.samplers.RandomSampler(seed) if strategy == "random" else optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="minimize" if mode == "min" else "maximize", sampler=sampler)
    if strategy == "tpe":
        study.add_trials([_frozen(one, distributions) for one in past])
    found = study.ask(distributions).params
    return {dimension.pointer: found[dimension.pointer] for dimension in space}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.kind == "choice":
        return CategoricalDistribution(range(len(dimension.values)))
    if dimension.kind == "steps":
        return IntDistribution(0, len(dimension.values) - 1)
    if dimension.kind == "float":
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    low, high = int(dimension.low), int(dimension.high)
    return IntDistribution(low, high - (high - low) % dimension.step, log=dimension.log, step=dimension.step)


def _frozen(one: Past, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    """Return a trial as Optuna knows it.

    TPE learns from completed and from pruned ones. A point that failed is told as pruned before its first step: TPE
    then takes it for worse than all others, where it would learn nothing from Optuna's FAIL.
    """
    states = {"value": TrialState.COMPLETE, "bad": TrialState.PRUNED, "open": TrialState.RUNNING}
    return optuna.create_trial(
        state=states.get(one.outcome, TrialState.FAIL),
        value=one.value if one.outcome == "value" else None,
        params=dict(one.drawn),
        distributions=distributions,
        intermediate_values=dict([one.rung]) if one.rung is not None else None,
    )


def _derived(seed: int, number: int, attempt: int) -> int:
    """Return 32 bits for numpy's generator: neighbouring numbers give unrelated seeds."""
    digest = hashlib.sha256(f"{seed}/{number}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
