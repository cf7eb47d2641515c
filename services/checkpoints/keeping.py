"""Which checkpoints stay: pinned by hand, or deleted."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from services.checkpoints import repository, service
from services.config import Settings
from services.errors import Conflict, InvalidRequest
from services.preconditions import StillSo, in_any_case
from services.training.model import Section
from services.training.problems import problems_from


class CheckpointChange(Section):
    """``PATCH /v1/checkpoints/{id}``."""

    pinned: bool = Field(description="Whether it is kept whatever comes after it.")


class CheckpointInUse(Conflict):
    """The job has not ended and would go on from this checkpoint."""

    code = "checkpoint_in_use"


def change_checkpoint(
    session: Session,
    *,
    tenant_id: str,
    checkpoint_id: str,
    body: dict[str, Any],
    still_so: StillSo = in_any_case,
) -> dict[str, Any]:
    """Pin or unpin a checkpoint and return its view; one that is no longer pinned goes when its turn comes.

    ``still_so`` is asked about its view while it is locked, and may raise.

    Raises:
        NotFound: the tenant has no such checkpoint.
        InvalidRequest: with every problem of the body.
    """
    try:
        wanted = CheckpointChange.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, CheckpointChange)) from None
    checkpoint = service.get_locked(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    still_so(service.view(checkpoint))
    checkpoint.pinned = wanted.pinned
    session.flush()
    return service.view(checkpoint)


def delete_expired(session: Session, *, limit: int = 200) -> int:
    """Delete checkpoints that have stayed as long as their job's ``keep_days`` say; return how many."""
    return repository.delete_expired(session, limit=limit)


def delete_checkpoint(
    session: Session, *, tenant_id: str, checkpoint_id: str, settings: Settings, still_so: StillSo = in_any_case
) -> None:
    """Delete a checkpoint, pinned or not; bytes that no other one shares are collected a day later.

    ``still_so`` is asked about its view while it is locked, and may raise.

    Raises:
        NotFound: the tenant has no such checkpoint.
        CheckpointInUse: a job that has not ended would go on from it.
    """
    checkpoint = service.get_locked(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    still_so(service.view(checkpoint))
    if repository.is_needed(session, checkpoint):
        raise CheckpointInUse()
    session.delete(checkpoint)
    session.flush()
    for path in settings.exports_dir.glob(f"{checkpoint.id}.*"):
        path.unlink(missing_ok=True)
