"""Keys as their owners handle them: make, list, look, rotate, revoke. A key gives no more than it has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import func
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.models import ApiKey
from services.errors import Conflict, InvalidRequest, NotFound, Problem
from services.idempotency import service as idempotency
from services.limits import quotas
from services.pages import Page, invalid_cursor, timestamp
from services.tenants import repository
from services.tenants.scopes import check_grant, check_scopes
from services.tenants.service import Principal, create_key
from services.training.model import Section
from services.training.problems import problems_from

Body = TypeVar("Body", bound=BaseModel)

_FORM = re.compile(r"key_[0-9A-Za-z]{8}\Z")
_DAY_SECONDS = 86_400
MAX_LIFETIME_SECONDS = 10 * 366 * _DAY_SECONDS
MAX_OVERLAP_SECONDS = 30 * _DAY_SECONDS


class KeyRequest(Section):
    """``POST /v1/keys``."""

    name: str = Field("", max_length=200, description="What it is for: shown in lists.")
    scopes: list[str] = Field(max_length=40, description="What it may do; no more than the key that makes it.")
    expires_in_seconds: int | None = Field(
        None,
        ge=1,
        le=MAX_LIFETIME_SECONDS,
        description="How long it is good; without it for ever, or as long as the key that makes it.",
    )


class RotateRequest(Section):
    """``POST /v1/keys/{id}/rotate``."""

    overlap_seconds: int = Field(
        _DAY_SECONDS, ge=0, le=MAX_OVERLAP_SECONDS, description="How long the old key is still good: a day by default."
    )


class KeyNotActive(Conflict):
    """The key was revoked, has expired or has been rotated."""

    code = "key_not_active"


@dataclass(frozen=True, slots=True)
class Granted:
    """A key that was made: its view, with the text (``api_key``) unless the request is a repeat."""

    key: dict[str, Any]
    replayed: bool = False


def grant(
    session: Session,
    *,
    caller: Principal,
    body: dict[str, Any],
    settings: Settings,
    idempotency_key: str | None = None,
) -> Granted:
    """Make a key for the caller's tenant; its text is in this answer and never again, not even in a repeat of it.

    Raises:
        InvalidRequest: with every problem; ``out_of_range`` when it would outlive the key that makes it.
        InsufficientScope: the caller has not what it would give.
        QuotaExceeded: the tenant has too many keys.
        IdempotencyInProgress, IdempotencyMismatch, MalformedRequest: see `services.idempotency.service`.
    """

    def make() -> dict[str, Any]:
        wanted = _read(KeyRequest, body)
        scopes = check_scopes(wanted.scopes)
        check_grant(scopes, of=caller.scopes)
        _check_quota(session, caller.tenant_id, settings)
        expires_at = _expiry(session, caller, wanted.expires_in_seconds)
        return _new(session, caller, name=wanted.name, scopes=scopes, expires_at=expires_at)

    return _once(session, caller, idempotency_key, body, make)


def rotate(
    session: Session, *, caller: Principal, key_id: str, body: dict[str, Any], idempotency_key: str | None = None
) -> Granted:
    """Make a key with the same name, scopes and lifetime; the old one goes on for ``overlap_seconds``, no longer.

    The new one ends when the caller's does, if that is sooner.

    Raises:
        NotFound: the tenant has no such key.
        KeyNotActive: it is not good any more, or has been rotated.
        InsufficientScope: it may do what the caller may not.
        InvalidRequest: with every problem.
        IdempotencyInProgress, IdempotencyMismatch, MalformedRequest: see `services.idempotency.service`.
    """

    def make() -> dict[str, Any]:
        overlap = timedelta(seconds=_read(RotateRequest, body).overlap_seconds)
        old, now = _row(session, caller.tenant_id, key_id, locked=True), repository.now(session)
        if _state(old, now) != "active" or old.rotated_to is not None:
            raise KeyNotActive(hint="GET /v1/keys lists those that are good.")
        check_grant(old.scopes, of=caller.scopes)
        ends = now + (old.expires_at - old.created_at) if old.expires_at else None
        last = _callers_end(session, caller)
        expires_at = min(ends or last, last) if last else ends
        made = _new(session, caller, name=old.name, scopes=old.scopes, expires_at=expires_at)
        old.rotated_to = made["id"]
        old.expires_at = min(old.expires_at or now + overlap, now + overlap)
        return made

    return _once(session, caller, idempotency_key, {"rotate": key_id, **body}, make)


def revoke(session: Session, *, tenant_id: str, key_id: str) -> dict[str, Any]:
    """Revoke a key and return its view; again is no error. Every API process refuses it within a second.

    Raises:
        NotFound: the tenant has no such key.
    """
    key = _row(session, tenant_id, key_id, locked=True)
    if key.revoked_at is None:
        key.revoked_at = func.now()  # by the database's clock
        session.flush()
        session.refresh(key)
    return view(key, repository.now(session))


def get_key(session: Session, *, tenant_id: str, key_id: str) -> dict[str, Any]:
    """Return a key's view, which tells nothing of its secret.

    Raises:
        NotFound: the tenant has no such key.
        InvalidRequest: ``invalid_id``.
    """
    return view(_row(session, tenant_id, key_id), repository.now(session))


def list_keys(session: Session, *, tenant_id: str, limit: int = 20, after: str | None = None) -> Page:
    """Return a page of the tenant's keys, newest first, also those that are no longer good.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    before = repository.find_tenants_key(session, tenant_id=tenant_id, key_id=after) if after else None
    if after and before is None:
        raise invalid_cursor()
    now = repository.now(session)
    rows = repository.page_of_keys(session, tenant_id=tenant_id, limit=limit + 1, before=before)
    return Page.of([view(row, now) for row in rows], limit=limit)


def count_good_keys(session: Session, *, tenant_id: str) -> int:
    """Return how many of the tenant's keys are neither revoked nor expired."""
    return repository.count_good_keys(session, tenant_id=tenant_id)


def view(key: ApiKey, now: datetime) -> dict[str, Any]:
    """Return what is shown of a key."""
    return {
        "id": key.id,
        "object": "key",
        "name": key.name,
        "scopes": list(key.scopes),
        "state": _state(key, now),
        "created_at": timestamp(key.created_at),
        "created_by": key.created_by,
        "expires_at": timestamp(key.expires_at),
        "last_used_at": timestamp(key.last_used_at),
        "revoked_at": timestamp(key.revoked_at),
        "rotated_to": key.rotated_to,
        "links": {"self": f"/v1/keys/{key.id}"},
    }


def _new(
    session: Session, caller: Principal, *, name: str, scopes: list[str], expires_at: datetime | None
) -> dict[str, Any]:
    text, row = create_key(
        session,
        tenant_id=caller.tenant_id,
        name=name,
        scopes=scopes,
        expires_at=expires_at,
        created_by=caller.key_id,
    )
    session.refresh(row)
    return {**view(row, repository.now(session)), "api_key": text}


def _once(
    session: Session,
    caller: Principal,
    idempotency_key: str | None,
    body: dict[str, Any],
    make: Callable[[], dict[str, Any]],
) -> Granted:
    """Make a key unless this request is a repeat; what is kept for repeats holds no secret."""
    if idempotency_key is None:
        return Granted(make())
    known = idempotency.find_replay(session, tenant_id=caller.tenant_id, key=idempotency_key, body=body)
    if known is not None:
        return Granted(known, replayed=True)
    made = make()
    kept = {**made, "api_key": None}
    idempotency.remember(session, tenant_id=caller.tenant_id, key=idempotency_key, body=body, response=kept)
    return Granted(made)


def _check_quota(session: Session, tenant_id: str, settings: Settings) -> None:
    limit = quotas.limits_of(session, tenant_id=tenant_id, settings=settings)["keys"]
    count = partial(count_good_keys, session, tenant_id=tenant_id)
    quotas.check(session, tenant_id=tenant_id, name="keys", limit=limit, count=count)


def _expiry(session: Session, caller: Principal, seconds: int | None) -> datetime | None:
    """Return when a new key ends: not after the caller's."""
    ends = None if seconds is None else repository.now(session) + timedelta(seconds=seconds)
    last = _callers_end(session, caller)
    if last is None or (ends is not None and ends <= last):
        return ends
    if ends is None:
        return last
    detail = f"Your key ends at {timestamp(last)}: what it makes cannot last longer."
    raise InvalidRequest([Problem("out_of_range", detail, "/expires_in_seconds")])


def _callers_end(session: Session, caller: Principal) -> datetime | None:
    key = repository.find_tenants_key(session, tenant_id=caller.tenant_id, key_id=caller.key_id)
    return key.expires_at if key is not None else None


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _row(session: Session, tenant_id: str, key_id: str, *, locked: bool = False) -> ApiKey:
    if not _FORM.match(key_id):
        raise InvalidRequest([Problem("invalid_id", "An id here looks like key_ and 8 letters or digits.")])
    found = repository.find_tenants_key(session, tenant_id=tenant_id, key_id=key_id, locked=locked)
    if found is None:
        raise NotFound
    return found


def _read(model: type[Body], body: dict[str, Any]) -> Body:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, model)) from None
