"""ASHA: rungs are read from stored metrics, and who is not among the best is stopped there."""

from __future__ import annotations

from typing import Any

from tests.services.sweeps.harness import LR, STEPS_PER_EPOCH, Rig

RATES = [0.1, 0.2, 0.3, 0.4, 0.5]
SWEEP: dict[str, Any] = {
    "strategy": "grid",
    "space": {LR: {"choice": RATES}},
    "asha": {"min_epochs": 1, "reduction_factor": 2},
    "budget": {"parallel": 5},
}


def test_a_trial_that_is_not_among_the_best_at_a_rung_is_stopped_and_keeps_what_it_has(rig: Rig) -> None:
    sweep_id = rig.create(**SWEEP)
    rig.advance(sweep_id)
    claims = [rig.claim() for _ in RATES]
    for place, (claimed, value) in enumerate(zip(claims, (0.5, 0.9, 0.4, 0.3, 0.8), strict=True)):
        assert claimed is not None
        rig.report(claimed, [value])
        rig.advance(sweep_id)
        assert len(rig.trials(sweep_id)[place].rungs) == 1
    rungs = [trial.rungs[0] for trial in rig.trials(sweep_id)]
    assert [rung["promoted"] for rung in rungs] == [True, False, True, True, False]
    assert {rung["step"] for rung in rungs} == {STEPS_PER_EPOCH}
    asked = [job.cancel_requested_at is not None for job in rig.jobs()]
    assert asked == [False, True, False, False, True]
    for claimed in (claims[1], claims[4]):
        assert claimed is not None
        rig.stop(claimed)
    rig.advance(sweep_id)
    second = rig.trials(sweep_id)[1]
    assert (second.state, second.objective, second.best_step) == ("pruned", 0.9, STEPS_PER_EPOCH)
    job = rig.jobs()[1]
    assert (job.state, job.reason) == ("cancelled", "pruned")


def test_the_next_rung_lies_a_factor_further_on(rig: Rig) -> None:
    sweep_id = rig.create(**SWEEP)
    rig.advance(sweep_id)
    first, second = rig.claim(), rig.claim()
    assert first is not None
    assert second is not None
    rig.report(first, [0.9, 0.8, 0.7, 0.6, 0.2])
    rig.advance(sweep_id)
    rig.report(second, [0.5, 0.95, 0.7])
    rig.advance(sweep_id)
    trials = rig.trials(sweep_id)
    assert [(rung["step"] // STEPS_PER_EPOCH, rung["value"]) for rung in trials[0].rungs] == [
        (1, 0.9),
        (2, 0.8),
        (4, 0.6),
    ]
    assert [(rung["value"], rung["promoted"]) for rung in trials[1].rungs] == [(0.5, True), (0.95, False)]


def test_a_trial_without_a_finite_value_at_a_rung_is_stopped(rig: Rig) -> None:
    sweep_id = rig.create(**SWEEP)
    rig.advance(sweep_id)
    claimed = rig.claim()
    assert claimed is not None
    rig.report(claimed, [float("nan")])
    rig.advance(sweep_id)
    assert rig.trials(sweep_id)[0].rungs == [{"step": STEPS_PER_EPOCH, "value": None, "promoted": False}]
    assert rig.jobs()[0].cancel_requested_at is not None


def test_a_trial_that_ended_before_it_was_looked_at_is_compared_with_and_not_stopped(rig: Rig) -> None:
    sweep_id = rig.create(**SWEEP)
    rig.advance(sweep_id)
    quick, slow = rig.claim(), rig.claim()
    assert quick is not None
    assert slow is not None
    rig.report(quick, [0.3, 0.3])
    rig.succeed(quick)
    rig.advance(sweep_id)
    rig.report(slow, [0.4])
    rig.advance(sweep_id)
    trials = rig.trials(sweep_id)
    assert trials[0].state == "succeeded"
    assert [rung["value"] for rung in trials[0].rungs] == [0.3, 0.3]
    assert trials[1].rungs[0]["promoted"] is False


def test_a_rung_is_judged_once_whatever_dies(rig: Rig) -> None:
    """A trial that was promoted stays so when better ones arrive later."""
    sweep_id = rig.create(**SWEEP)
    rig.advance(sweep_id)
    claims = [rig.claim() for _ in range(3)]
    for claimed, value in zip(claims, (0.9, 0.1, 0.05), strict=True):
        assert claimed is not None
        rig.report(claimed, [value])
        rig.advance(sweep_id)
        rig.advance(sweep_id)
    assert [trial.rungs[0]["promoted"] for trial in rig.trials(sweep_id)[:3]] == [True, True, True]
    assert all(job.cancel_requested_at is None for job in rig.jobs())


def test_pruned_trials_teach_tpe(rig: Rig) -> None:
    body = {**SWEEP, "strategy": "tpe", "space": {LR: {"log_uniform": [1e-4, 1.0]}}}
    sweep_id = rig.create(**{**body, "budget": {"trials": 14, "parallel": 1}})
    for _ in range(14):
        rig.advance(sweep_id)
        claimed = rig.claim()
        assert claimed is not None
        rig.report(claimed, [abs(rig.trials(sweep_id)[-1].parameters[LR] - 0.01)])
        rig.advance(sweep_id)
        stopped = rig.jobs()[-1].cancel_requested_at is not None
        rig.stop(claimed) if stopped else rig.succeed(claimed)
    rig.advance(sweep_id)
    view = rig.get(sweep_id)
    assert view["state"] == "succeeded"
    assert set(view["progress"]["counts"]) == {"succeeded", "pruned"}
