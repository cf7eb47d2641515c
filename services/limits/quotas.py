"""How much a tenant may have: the service's defaults, what an operator gave this tenant instead, and the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.models import Tenant
from services.errors import InvalidRequest, Problem, QuotaExceeded

_NEAR = 64
"""Checks that may be under way at once: nearer than this to a limit they go one after another, and none slips by."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: what it counts, its default, what to do when it is reached."""

    name: str
    counts: str
    default: Callable[[Settings], int]
    hint: str


LIMITS = {
    limit.name: limit
    for limit in (
        Limit(
            "unfinished_jobs",
            "jobs of this tenant have not ended",
            lambda settings: settings.max_queued_jobs,
            "Wait for some to finish, or cancel them.",
        ),
        Limit(
            "active_sweeps",
            "sweeps of this tenant have not ended",
            lambda settings: settings.max_active_sweeps,
            "Wait for some to finish, or cancel them.",
        ),
        Limit(
            "models",
            "models of this tenant are kept",
            lambda settings: settings.max_models,
            "A job can carry its model itself; it need not be kept.",
        ),
        Limit(
            "keys",
            "keys of this tenant are good",
            lambda settings: settings.max_keys,
            "Revoke those that nobody uses.",
        ),
        Limit(
            "dataset_bytes",
            "bytes are taken by data sets of this tenant",
            lambda settings: settings.max_tenant_dataset_bytes,
            "Delete some that you no longer need.",
        ),
        Limit(
            "storage_bytes",
            "bytes are taken by checkpoints and data sets of this tenant",
            lambda settings: settings.max_tenant_storage_bytes,
            "Delete checkpoints or data sets; what they took is free a day later.",
        ),
        Limit(
            "model_parameters",
            "parameters are in one model",
            lambda settings: settings.max_model_parameters,
            "Make it narrower or shallower.",
        ),
        Limit(
            "requests_per_minute",
            "requests of this tenant came within a minute",
            lambda settings: settings.max_requests_per_minute,
            "Wait as long as Retry-After says; `?wait=30` and event streams need fewer requests than polling.",
        ),
    )
}
"""What an operator may set for a tenant, in the order in which it is shown. Nothing may be counted beyond it."""


def effective(overrides: Mapping[str, int], settings: Settings) -> dict[str, int]:
    """Return every limit of a tenant: its own where it has one, else the service's."""
    return {name: overrides.get(name, limit.default(settings)) for name, limit in LIMITS.items()}


def limits_of(session: Session, *, tenant_id: str, settings: Settings) -> dict[str, int]:
    """Return every limit of a tenant."""
    return effective(session.scalar(select(Tenant.limits).where(Tenant.id == tenant_id)) or {}, settings)


def check(
    session: Session,
    *,
    tenant_id: str,
    name: str,
    limit: int,
    count: Callable[[], int],
) -> None:
    """Refuse what would take a tenant beyond a limit by one; ``count`` says how many it has.

    Near the limit, checks of a tenant wait for each other until the transactions that follow have ended.

    Raises:
        QuotaExceeded: with the limit and what would help.
    """
    used = count()
    if limit - _NEAR <= used < limit:
        _hold(session, f"quota/{tenant_id}/{name}")
        used = count()
    if used >= limit:
        raise exceeded(name, used=used, limit=limit)


def check_parameters(limits: Mapping[str, int], report: Mapping[str, Any], *, pointer: str) -> None:
    """Refuse a model that has more parameters than this tenant's may; waiting would not help, so it is no 429.

    Raises:
        InvalidRequest: ``model_too_large``.
    """
    total, limit = report["parameters"]["total"], limits["model_parameters"]
    if total > limit:
        detail = f"The model has {total:,} parameters; those of this tenant may have {limit:,}."
        raise InvalidRequest([Problem("model_too_large", detail, pointer, LIMITS["model_parameters"].hint)])


def exceeded(name: str, *, used: int, limit: int) -> QuotaExceeded:
    """Return the refusal."""
    return QuotaExceeded(f"{used} {LIMITS[name].counts}; the limit is {limit}.", hint=LIMITS[name].hint)


def _hold(session: Session, name: str) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
