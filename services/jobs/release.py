"""Queue every job again that has a worker in its row: ``python -m services.jobs.release``, once after a restore.

The workers of a backed-up service are not those of the restored one. Their leases would run out, but as deaths of the
jobs' trainers, of which a job is forgiven a few.
"""

from __future__ import annotations

import sys

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.config import load_settings
from services.db.engine import Database
from services.db.models import Job
from services.jobs import outcomes

REASON = "restored"


def release_all(session: Session) -> int:
    """Take every leased job from its worker, without blame, and return how many; what they still write is refused."""
    leased = session.scalars(select(Job).where(Job.lease_expires_at.is_not(None)).with_for_update()).all()
    for job in leased:
        outcomes.release(session, job, reason=REASON)
    return len(leased)


def main() -> int:
    """Release them all and print how many there were."""
    database = Database(load_settings().database_url, pool_size=1)
    with database.session() as session:
        released = release_all(session)
    database.close()
    sys.stdout.write(f"{released}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
