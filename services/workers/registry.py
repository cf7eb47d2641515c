"""The registry of workers: each slot renews a row of its own, and whoever stops doing so is forgotten in time.

It informs people and estimates; nothing is decided by it: who owns a job says the job's lease alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.worker_models import WorkerSlot

BEAT_SECONDS = 5.0
LOST_SECONDS = 30.0
"""A slot that was silent for so long counts as lost: six beats."""
FORGOTTEN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """What a slot says of itself; ``about`` is what its machine and its programs are."""

    owner: str
    worker_id: str
    devices: Sequence[str]
    about: dict[str, Any]


def beat(session: Session, facts: SlotFacts, *, draining: bool) -> None:
    """Say that the slot is there; a new process under the name of an old one takes its row."""
    given = insert(WorkerSlot).values(
        owner=facts.owner,
        worker_id=facts.worker_id,
        devices=list(facts.devices),
        about=facts.about,
        draining=draining,
    )
    new = given.excluded
    began = case((WorkerSlot.worker_id == new.worker_id, WorkerSlot.started_at), else_=func.now())
    session.execute(
        given.on_conflict_do_update(
            index_elements=[WorkerSlot.owner],
            set_={
                "worker_id": new.worker_id,
                "devices": new.devices,
                "about": new.about,
                "draining": new.draining,
                "started_at": began,
                "seen_at": func.now(),
            },
        )
    )


def leave(session: Session, *, owner: str) -> None:
    """Take a slot that ends out of the registry."""
    session.execute(delete(WorkerSlot).where(WorkerSlot.owner == owner))


def forget_lost(session: Session) -> None:
    """Take out the slots that were silent for `FORGOTTEN_SECONDS`."""
    long_ago = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, FORGOTTEN_SECONDS)
    session.execute(delete(WorkerSlot).where(WorkerSlot.seen_at < long_ago))
