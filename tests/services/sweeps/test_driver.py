"""Sweeps move on from their rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from services.db.models import Job
from services.db.sweep_models import Sweep
from services.errors import AlreadyTerminal
from services.sweeps import driver, repository
from services.sweeps.driver import advance, step
from services.sweeps.sampling import suggest
from services.sweeps.space import read_space
from tests.services.sweeps.harness import BASE, LR, METRIC, WIDTHS, Rig, rate

GRID: dict[str, Any] = {"strategy": "grid", "space": {LR: {"choice": [0.1, 0.01, 0.001]}}}
TPE: dict[str, Any] = {"strategy": "tpe", "space": {LR: {"log_uniform": [1e-4, 1.0]}}}


class Killed(BaseException):
    """The driver dies here."""


def test_every_point_of_a_grid_is_a_job_and_the_best_is_known(rig: Rig) -> None:
    sweep_id = rig.create(**GRID, budget={"parallel": 2})
    rig.advance(sweep_id)
    assert rig.states(sweep_id) == ["submitted", "submitted"]
    jobs = rig.jobs()
    assert [job.request["training"]["optimizer"]["lr"] for job in jobs] == [0.1, 0.01]
    assert jobs[1].labels == {"sweep": sweep_id, "trial": "1"}
    assert jobs[1].origin == {"kind": "sweep", "sweep_id": sweep_id, "trial": 1}
    assert {job.resolved["training"]["seed"] for job in jobs} == {1}
    view = rig.run(sweep_id, rate)
    assert (view["state"], view["reason"]) == ("succeeded", None)
    assert view["progress"] == {"trials": 3, "ended": 3, "percent": 100.0, "counts": {"succeeded": 3}}
    best = view["best"]
    assert (best["trial"], best["objective"], best["parameters"], best["step"]) == (1, 0.0, {LR: 0.01}, 23)
    assert best["job_id"] == rig.trials(sweep_id)[1].job_id


def test_the_objective_is_the_best_value_of_the_series_whatever_came_after(rig: Rig) -> None:
    sweep_id = rig.create(**GRID, objective={"metric": METRIC, "mode": "max"})
    rig.advance(sweep_id)
    claimed = rig.claim()
    assert claimed is not None
    rig.report(claimed, [0.2, 0.9, float("nan"), 0.4])
    rig.succeed(claimed)
    rig.advance(sweep_id)
    first = rig.trials(sweep_id)[0]
    assert (first.state, first.objective, first.best_step) == ("succeeded", 0.9, 46)


def test_tpe_goes_where_the_values_are_good_and_repeats_itself(rig: Rig) -> None:
    seen = []
    for trials in (12, 20):  # a longer sweep begins as the shorter one did
        sweep_id = rig.create(**TPE, budget={"trials": trials, "parallel": 1})
        view = rig.run(sweep_id, rate)
        seen.append([trial.parameters for trial in rig.trials(sweep_id)])
    assert seen[0] == seen[1][:12]
    assert len(seen[1]) == 20
    late = [point[LR] for point in seen[1][10:]]
    assert sum(0.003 < value < 0.03 for value in late) >= 5
    assert view["best"]["objective"] < 0.2


def test_random_draws_do_not_depend_on_who_ends_first(rig: Rig) -> None:
    found = []
    for parallel in (1, 5):
        sweep_id = rig.create(strategy="random", space=TPE["space"], budget={"trials": 6, "parallel": parallel})
        rig.run(sweep_id, rate)
        found.append([trial.parameters for trial in rig.trials(sweep_id)])
    assert found[0] == found[1]


def test_points_whose_shapes_do_not_fit_are_dropped_before_they_cost_a_job(rig: Rig) -> None:
    space = {"/model/model/first": {"choice": [4, 8]}, "/model/model/second": {"choice": [4, 8]}}
    sweep_id = rig.create(base={**BASE, "model": WIDTHS}, space=space, strategy="grid")
    view = rig.run(sweep_id, lambda request: float(request["model"]["model"]["first"]))
    assert rig.states(sweep_id) == ["succeeded", "invalid", "invalid", "succeeded"]
    assert len(rig.jobs()) == 2
    problem = rig.trials(sweep_id)[1].problem
    assert problem is not None
    assert problem["code"] == "shape_mismatch"
    assert problem["pointer"].startswith("/model")
    assert view["state"] == "succeeded"
    assert view["best"]["objective"] == 4.0


def test_invalid_points_cost_no_trial_of_the_budget_up_to_their_cap(rig: Rig) -> None:
    widths = {"int": [1, 3]}
    space = {"/model/model/first": widths, "/model/model/second": widths, LR: {"uniform": [0.1, 1]}}
    body = {"base": {**BASE, "model": WIDTHS}, "space": space, "strategy": "random"}
    sweep_id = rig.create(**body, budget={"trials": 3, "parallel": 2})
    rig.run(sweep_id, rate)
    states = rig.states(sweep_id)
    assert states.count("succeeded") == 3
    assert "invalid" in states
    capped = rig.create(**body, budget={"trials": 500, "parallel": 2, "invalid_trials": 4})
    view = rig.run(capped, rate)
    assert rig.states(capped).count("invalid") in (5, 6)  # two are drawn at a time
    assert (view["state"], view["reason"]) == ("succeeded", "too_many_invalid_trials")


def test_a_sweep_all_of_whose_trials_fail_ends_early(rig: Rig) -> None:
    sweep_id = rig.create(**TPE, budget={"trials": 100, "parallel": 4, "failed_trials": 5})
    for _ in range(20):
        rig.advance(sweep_id)
        while (claimed := rig.claim()) is not None:
            rig.fail(claimed)
    view = rig.get(sweep_id)
    assert (view["state"], view["reason"], view["best"]) == ("failed", "too_many_failed_trials", None)
    assert rig.states(sweep_id).count("failed") <= 5 + 4
    problem = rig.trials(sweep_id)[0].problem
    assert problem == {"code": "non_finite_loss", "detail": "It broke.", "hint": "Mend it.", "pointer": None}


def test_a_trial_that_measured_nothing_has_failed(rig: Rig) -> None:
    sweep_id = rig.create(**GRID)
    rig.advance(sweep_id)
    while (claimed := rig.claim()) is not None:
        rig.report(claimed, [float("nan")])
        rig.succeed(claimed)
    rig.advance(sweep_id)
    view = rig.get(sweep_id)
    assert (view["state"], view["reason"]) == ("failed", "no_trial_succeeded")
    assert [trial.problem and trial.problem["code"] for trial in rig.trials(sweep_id)] == ["no_objective"] * 3


def test_when_its_time_is_up_what_trains_is_stopped_and_the_best_stays(rig: Rig) -> None:
    sweep_id = rig.create(**GRID, budget={"parallel": 2, "max_runtime_seconds": 60})
    rig.advance(sweep_id)
    first, second = rig.claim(), rig.claim()
    assert first is not None
    assert second is not None
    rig.report(first, [0.5])
    rig.succeed(first)
    rig.report(second, [0.7])
    with rig.database.session() as session:
        session.execute(text("UPDATE sweep SET created_at = now() - interval '61 seconds'"))
    rig.advance(sweep_id)
    assert rig.get(sweep_id)["state"] == "stopping"
    rig.stop(second)
    rig.advance(sweep_id)
    view = rig.get(sweep_id)
    assert (view["state"], view["reason"], view["best"]["objective"]) == ("succeeded", "timeout", 0.5)
    assert rig.states(sweep_id) == ["succeeded", "cancelled"]


def test_cancel_ends_the_jobs_too(rig: Rig) -> None:
    sweep_id = rig.create(**GRID, budget={"parallel": 2})
    rig.advance(sweep_id)
    running = rig.claim()
    assert running is not None
    assert rig.cancel(sweep_id)["state"] == "cancelling"
    assert rig.cancel(sweep_id)["state"] == "cancelling"
    assert {job.state for job in rig.jobs()} == {"cancelling", "cancelled"}
    rig.advance(sweep_id)
    assert rig.get(sweep_id)["state"] == "cancelling"
    rig.stop(running)
    rig.advance(sweep_id)
    view = rig.get(sweep_id)
    assert (view["state"], view["reason"]) == ("cancelled", "cancel_requested")
    assert view["finished_at"] is not None
    assert {job.reason for job in rig.jobs()} == {"sweep_cancelled"}
    with pytest.raises(AlreadyTerminal, match="sweep has already ended"):
        rig.cancel(sweep_id)


def test_a_quota_makes_trials_wait_and_says_so(rig: Rig) -> None:
    import dataclasses

    sweep_id = rig.create(**GRID)
    full = dataclasses.replace(rig.means, settings=dataclasses.replace(rig.settings, max_queued_jobs=1))
    assert advance(full, sweep_id=sweep_id) is True
    assert advance(full, sweep_id=sweep_id) is False
    assert rig.states(sweep_id) == ["submitted", "proposed", "proposed"]
    problem = rig.trials(sweep_id)[1].problem
    assert problem is not None
    assert problem["code"] == "quota_exceeded"
    rig.run(sweep_id, rate)
    assert rig.states(sweep_id) == ["succeeded"] * 3
    assert rig.trials(sweep_id)[1].problem is None


PLACES = ("_drawn", "submit", "_locked", "finish", "settle", "_stop_if_due")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("after", [False, True])
def test_a_driver_may_die_anywhere_and_no_trial_is_lost_or_doubled(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, place: str, after: bool
) -> None:
    """Each call of the function dies once, before or after it did its work; the next driver finds rows alone."""
    space = read_space({LR: TPE["space"][LR]})
    draws = [suggest(space, strategy="random", mode="min", seed=1, number=number, past=[]) for number in range(3)]
    sweep_id = rig.create(strategy="random", space=TPE["space"], budget={"trials": 3, "parallel": 1})
    real = getattr(driver, place)
    calls: Iterator[bool] = iter([True, False] * 100)

    def dying(*arguments: Any, **options: Any) -> Any:
        if next(calls):
            if after:
                real(*arguments, **options)
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(driver, place, dying)
    for _ in range(60):
        try:
            rig.advance(sweep_id)
        except Killed:
            continue
        if rig.get(sweep_id)["terminal"]:
            break
        rig.work(rate)
    assert [trial.parameters for trial in rig.trials(sweep_id)] == draws
    assert rig.states(sweep_id) == ["succeeded"] * 3
    assert rig.get(sweep_id)["state"] == "succeeded"
    assert len(rig.jobs()) == 3


def test_drivers_beside_each_other_make_each_trial_once(rig: Rig) -> None:
    sweep_id = rig.create(strategy="grid", space={"/training/seed": {"int": [0, 15]}}, budget={"parallel": 5})
    with ThreadPoolExecutor(4) as pool:
        for _ in range(40):
            list(pool.map(lambda _: advance(rig.means, sweep_id=sweep_id), range(4)))
            rig.work(lambda request: float(request["training"]["seed"]))
            if rig.get(sweep_id)["terminal"]:
                break
    trials = rig.trials(sweep_id)
    assert [trial.parameters["/training/seed"] for trial in trials] == list(range(16))
    assert len(rig.jobs()) == 16
    assert len({trial.job_id for trial in trials}) == 16
    assert rig.get(sweep_id)["best"]["trial"] == 0


@pytest.mark.parametrize("meanwhile", ["launched", "cancelled"])
def test_what_happens_while_a_trial_is_checked_is_seen_before_its_job_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Another driver is quicker, or the sweep is cancelled, after the job is inserted and before the lock is there."""
    sweep_id = rig.create(**GRID, budget={"parallel": 1})
    with rig.database.session() as session:
        assert step(session, sweep_id=sweep_id) == [0]
    real, first = driver.submit, iter([True])

    def overtaken(*arguments: Any, **options: Any) -> Any:
        made = real(*arguments, **options)
        if next(first, False):
            rig.cancel(sweep_id) if meanwhile == "cancelled" else advance(rig.means, sweep_id=sweep_id)
        return made

    monkeypatch.setattr(driver, "submit", overtaken)
    advance(rig.means, sweep_id=sweep_id)
    (trial,) = rig.trials(sweep_id)
    kept = [job.id for job in rig.jobs()]
    wanted = ("cancelled", []) if meanwhile == "cancelled" else ("submitted", [trial.job_id])
    assert (trial.state, kept) == wanted


def test_cancel_raced_with_submission_and_finish_leaves_one_ending_and_no_job_behind(rig: Rig) -> None:
    for _ in range(5):
        sweep_id = rig.create(**GRID, budget={"parallel": 3})
        with ThreadPoolExecutor(3) as pool:
            moved = pool.submit(rig.run, sweep_id, rate)
            with suppress(AlreadyTerminal):
                rig.cancel(sweep_id)
            view = moved.result()
        assert view["state"] in ("succeeded", "cancelled")
        assert {job.state for job in rig.jobs()} <= {"succeeded", "cancelled"}
        assert set(rig.states(sweep_id)) <= {"succeeded", "cancelled"}


def test_a_large_grid_is_counted_and_gone_through(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are inserted as a submission would, but without its checks: those have tests of their own."""

    def submit(session: Any, **members: Any) -> Any:
        job = Job(
            id=f"job_{members['origin']['trial']:026d}",
            tenant_id=members["tenant_id"],
            request=members["body"],
            resolved={},
            definition_sha256="0",
            preflight={},
            state="succeeded",
        )
        session.add(job)
        session.flush()
        session.execute(text("UPDATE job SET finished_at = now() WHERE id = :id"), {"id": job.id})
        return type("Made", (), {"job": {"id": job.id}})

    monkeypatch.setattr(driver, "submit", submit)
    space = {LR: {"log_uniform": [1e-4, 1], "points": 10}, "/training/seed": {"int": [0, 5]}}
    sweep_id = rig.create(strategy="grid", space=space, budget={"parallel": 64, "failed_trials": 1000})
    while not rig.row(sweep_id).finished_at:
        rig.advance(sweep_id)
    points = {tuple(trial.parameters.values()) for trial in rig.trials(sweep_id)}
    assert len(points) == len(rig.trials(sweep_id)) == 60


def test_a_sweep_that_another_driver_holds_is_left_to_it(rig: Rig) -> None:
    sweep_id = rig.create(**GRID)
    with rig.database.session() as first:
        assert repository.find_locked(first, sweep_id=sweep_id) is not None
        with rig.database.session() as second:
            assert step(second, sweep_id=sweep_id) == []
    assert rig.trials(sweep_id) == []
    with rig.database.session() as session:
        assert session.get_one(Sweep, sweep_id).state == "running"
