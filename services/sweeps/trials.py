"""The trials of a sweep as their tenant sees them: pages, and a table for spreadsheets."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.pages import Page, invalid_cursor
from services.sweeps import repository
from services.sweeps.schema import MAX_TRIALS
from services.sweeps.service import find_sweep
from services.sweeps.views import trial_view

Table = list[list[str]]
MAX_NUMBER = 2 * MAX_TRIALS
"""More trials than the budget and the cap on invalid ones allow."""


def list_trials(
    session: Session,
    *,
    tenant_id: str,
    sweep_id: str,
    limit: int | None = 20,
    after: str | None = None,
    states: Sequence[str] = (),
) -> Page:
    """Return a page of a sweep's trials by number; all that are left when ``limit`` is None.

    Raises:
        NotFound: the tenant has no such sweep.
        InvalidRequest: ``invalid_id``, ``invalid_cursor``.
    """
    sweep = find_sweep(session, tenant_id=tenant_id, sweep_id=sweep_id)
    more = None if limit is None else limit + 1
    rows = repository.trial_page(session, sweep_id=sweep.id, limit=more, after=_number(after), states=states)
    kept = repository.checkpoints(session, job_ids=[job.id for _, job in rows if job is not None])
    metric = sweep.resolved["objective"]["metric"]
    views = [trial_view(trial, job, kept.get(trial.job_id or ""), metric) for trial, job in rows]
    return Page.of(views, limit=len(views) if limit is None else limit)


def trial_table(page: Page) -> Table:
    """Return trials as rows of text, the names of the columns first; a parameter's column is its pointer."""
    pointers = list(dict.fromkeys(pointer for trial in page.data for pointer in trial["parameters"]))
    columns = ("objective", "best_step", "step", "duration_seconds", "job_id", "checkpoint_id")
    rows = [["number", "state", *pointers, *columns, "problem"]]
    for trial in page.data:
        values = [trial["parameters"].get(pointer) for pointer in pointers]
        cells = [_cell(value) for value in (*values, *(trial[name] for name in columns))]
        rows.append([str(trial["number"]), trial["state"], *cells, _cell((trial["problem"] or {}).get("code"))])
    return rows


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    if not (after.isascii() and after.isdigit() and len(after) <= 6 and int(after) <= MAX_NUMBER):
        raise invalid_cursor()
    return int(after)
