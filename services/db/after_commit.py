"""Work that must wait for the commit: a doorbell rung before it would announce a row that nobody can see yet."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

_KEY = "after_commit"


def after_commit(session: Session, action: Callable[[], object]) -> None:
    """Run ``action`` after this session's transaction has committed; a rollback forgets it."""
    session.info.setdefault(_KEY, []).append(action)


def run_after_commit(session: Session) -> None:
    """Run what was registered, in order; whoever committed the session calls this."""
    for action in session.info.pop(_KEY, []):
        action()
