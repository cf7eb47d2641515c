"""From a request to a sweep that can run: every check that needs no draw, and the defaults filled in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from services.config import Settings
from services.errors import InvalidRequest, Problem
from services.jobs.service import plan_request
from services.preflight import Preflight
from services.sweeps.pointers import check_pointers, place
from services.sweeps.requests import RESERVED_LABELS, prepared
from services.sweeps.schema import DEFAULT_TRIALS, MAX_TRIALS, SweepRequest
from services.sweeps.space import Dimension, dimensions, size
from services.sweeps.values import check_values
from services.training.plan_checks import watchable
from services.training.problems import nearest, problems_from
from services.webhooks.service import check_job_webhook


def resolve(
    session: Session, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sweep with every default filled in and its seed chosen, and the preflight report of its base.

    Raises:
        InvalidRequest: with every problem of the request; those of the base job lie below ``/base``.
        Unavailable: the definition could not be checked right now.
    """
    try:
        request = SweepRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, SweepRequest)) from None
    space = dimensions(request.space)
    points = size(space)
    problems = [*_check_labels(request.base), *_check_best(request), *_check_budget(request, space, points)]
    problems += check_pointers(request.base, list(request.space))
    seed = request.seed if request.seed is not None else int.from_bytes(os.urandom(4), "big")
    base = _prepared(request, seed)
    report: dict[str, Any] = {}
    try:
        plan = plan_request(session, tenant_id=tenant_id, body=base, preflight=preflight)
        report = plan.report
        check_job_webhook(session, tenant_id=tenant_id, wanted=plan.request.webhook, settings=settings)
        problems += _check_asha(request, watchable(plan.resolved["training"]))
    except InvalidRequest as error:
        problems += [_of_base(problem) for problem in error.problems]
    if not problems:
        problems += check_values(base, request.space)
    if problems:
        raise InvalidRequest(problems)
    trials = points if request.strategy == "grid" else request.budget.trials or DEFAULT_TRIALS
    resolved = {
        "strategy": request.strategy,
        "space": body["space"],
        "points": points,
        "objective": request.objective.model_dump(),
        "asha": _asha(request),
        "budget": {**request.budget.model_dump(), "trials": trials},
        "seed": seed,
        "base": base,
    }
    return resolved, report


def _prepared(request: SweepRequest, seed: int) -> dict[str, Any]:
    """Return the base as trials get it; one that is malformed comes as it is, for its problems to be told."""
    base = request.base
    if isinstance(base.get("training"), dict) and isinstance(base.get("checkpoints") or {}, dict):
        return prepared(base, objective=request.objective.model_dump(), seed=seed)
    return base


def _check_asha(request: SweepRequest, known: list[str]) -> list[Problem]:
    if request.asha is None:
        return []
    problems = []
    if request.asha.metric is not None and request.asha.metric not in known:
        detail = f"There is no series `{request.asha.metric}` to watch."
        problems.append(Problem("unknown_metric", detail, "/asha/metric", nearest(request.asha.metric, known)))
    if request.asha.min_epochs is not None and request.base["training"].get("epochs") is None:
        detail = "The base says its length in steps; say where the rungs lie in steps too."
        problems.append(Problem("conflict", detail, "/asha/min_epochs", "Use min_steps."))
    return problems


def _of_base(problem: Problem) -> Problem:
    """Return a problem of the base job at its place in the sweep; the best checkpoint is there for the objective."""
    if problem.pointer == "/checkpoints/best/metric":
        return Problem(problem.code, problem.detail, "/objective/metric", problem.hint)
    if problem.pointer == "/checkpoints/best":
        return Problem(problem.code, problem.detail, "/objective", problem.hint)
    return problem.below("/base")


def _check_labels(base: Mapping[str, Any]) -> list[Problem]:
    labels = base.get("labels")
    taken = [name for name in RESERVED_LABELS if isinstance(labels, dict) and name in labels]
    detail = "The sweep gives its trials this label itself."
    return [Problem("conflict", detail, f"/base/labels/{name}", "Use another name.") for name in taken]


def _check_best(request: SweepRequest) -> list[Problem]:
    checkpoints = request.base.get("checkpoints")
    best = checkpoints.get("best") if isinstance(checkpoints, dict) else None
    wanted = request.objective.model_dump()
    if not isinstance(best, dict) or {**wanted, **best, "restore": None} == {**wanted, "restore": None}:
        return []
    detail = "The objective says which checkpoint of a trial is its best; the base names another metric or mode."
    return [Problem("conflict", detail, "/base/checkpoints/best", "Leave it out, or give what the objective has.")]


def _check_budget(request: SweepRequest, space: Sequence[Dimension], points: int | None) -> list[Problem]:
    if request.strategy == "grid":
        return _check_grid(request, space, points)
    trials = request.budget.trials or DEFAULT_TRIALS
    if points is not None and trials > points:
        detail = f"The space has {points} points in all, fewer than the {trials} trials of the budget."
        return [Problem("too_many_trials", detail, "/budget/trials", f'Use at most {points}, or "strategy": "grid".')]
    return []


def _check_grid(request: SweepRequest, space: Sequence[Dimension], points: int | None) -> list[Problem]:
    problems = [
        Problem(
            "grid_needs_values",
            f"{dimension.pointer} is a continuous range; a grid needs values to go through.",
            place(dimension.pointer),
            'Add "points", for example {"log_uniform": [0.0001, 0.1], "points": 4}, or use another strategy.',
        )
        for dimension in space
        if dimension.size is None
    ]
    if points is None:
        return problems
    limit = request.budget.trials or MAX_TRIALS
    if points > limit:
        sizes = " × ".join(f"{dimension.size} ({dimension.name})" for dimension in space)
        detail = f"The grid has {points} points: {sizes}. That is more than {limit}."
        hint = f'Leave values out, or use "random" or "tpe" with a budget of at most {MAX_TRIALS} trials.'
        problems.append(Problem("grid_too_large", detail, "/space", hint))
    return problems


def _asha(request: SweepRequest) -> dict[str, Any] | None:
    if request.asha is None:
        return None
    given = request.asha.model_dump()
    if given["metric"] is None:
        given |= request.objective.model_dump()
    return given
