"""Idempotency keys: the second request with a key gets the first one's answer (IETF httpapi Idempotency-Key draft)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from services.db.models import IdempotencyRecord
from services.errors import IdempotencyInProgress, IdempotencyMismatch, MalformedRequest

MAX_KEY_CHARACTERS = 255


def canonical_sha256(body: object) -> str:
    """Return the sha256 of a JSON value in canonical form: member order and spacing do not count."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def find_replay(session: Session, *, tenant_id: str, key: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer that this key got; None the first time, when the key is now held.

    Raises:
        MalformedRequest: the key is empty, too long or not printable ASCII.
        IdempotencyInProgress: another request holds the key.
        IdempotencyMismatch: the key came with another body before.
    """
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isascii() or not key.isprintable():
        raise MalformedRequest(
            f"An Idempotency-Key is 1 to {MAX_KEY_CHARACTERS} printable ASCII characters.",
            code="invalid_idempotency_key",
        )
    if not _hold(session, tenant_id, key):
        raise IdempotencyInProgress(hint="Repeat the request in a second.")
    record = session.scalar(
        select(IdempotencyRecord).where(IdempotencyRecord.tenant_id == tenant_id, IdempotencyRecord.key == key)
    )
    if record is None:
        return None
    if record.request_sha256 != canonical_sha256(body):
        raise IdempotencyMismatch()
    return record.response


def remember(session: Session, *, tenant_id: str, key: str, body: dict[str, Any], response: dict[str, Any]) -> None:
    """Store, in the same transaction as what the request made, the answer that repeats will get."""
    digest = canonical_sha256(body)
    session.add(IdempotencyRecord(tenant_id=tenant_id, key=key, request_sha256=digest, response=response))


def forget_old(session: Session) -> None:
    """Delete records older than a day."""
    session.execute(text("DELETE FROM idempotency_record WHERE created_at < now() - interval '24 hours'"))


def _hold(session: Session, tenant_id: str, key: str) -> bool:
    """Take the key until the transaction ends; False if another request has it."""
    statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool(session.scalar(statement, {"name": f"idempotency/{tenant_id}/{key}"}))
