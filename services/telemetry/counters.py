"""Numbers that only grow, kept in PostgreSQL: the truth of all processes together, and whole after every restart.

What happened to jobs is counted from their events, by whoever looks after the queue, a few seconds later: no job waits
for a counter, and a scrape reads some dozens of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES
from services.db.service_models import ServiceCounter

SETTLED_SECONDS = 15
"""An event that is older was committed: sequences are given out before commits, and may show up out of order."""
MOST_EVENTS = 100_000
"""Of one count; the next one goes on."""
_READ = "events_read"
Key = tuple[str, str]

_EVENTS = text(
    """
    WITH unsettled AS (
        SELECT min(sequence) AS first FROM job_event
        WHERE sequence > :after AND created_at > now() - make_interval(secs => :settled)
    ), place AS (
        -- The last that is settled, and not the one before the first that is not: that one may not be committed yet.
        SELECT least(
            coalesce(
                (SELECT max(sequence) FROM job_event
                 WHERE sequence > :after AND sequence < coalesce(unsettled.first, 9223372036854775807)),
                :after
            ),
            CAST(:after AS bigint) + :most
        ) AS upto
        FROM unsettled
    )
    SELECT place.upto, type, data ->> 'state' AS state, data ->> 'attempt' AS attempt, data ->> 'reason' AS reason,
           data -> 'error' ->> 'code' AS code, count(job_event.sequence) AS events
    FROM place LEFT JOIN job_event ON sequence > :after AND sequence <= place.upto
    GROUP BY 1, 2, 3, 4, 5, 6
    """
)


def count_events(session: Session, *, settled_seconds: float = SETTLED_SECONDS) -> int:
    """Count the events since the last time; return how many. One at a time does so; another leaves it to that one."""
    session.execute(insert(ServiceCounter).values(name=_READ, label="").on_conflict_do_nothing())
    place = select(ServiceCounter.value).where(ServiceCounter.name == _READ).with_for_update(skip_locked=True)
    after = session.scalar(place)
    if after is None:
        return 0
    values = {"after": after, "settled": settled_seconds, "most": MOST_EVENTS}
    found: Counter[Key] = Counter()
    events = 0
    for row in session.execute(_EVENTS, values):
        if row.type is None:
            continue
        after, events = row.upto, events + row.events
        for key in _keys(row.type, row.state, row.attempt, row.reason, row.code):
            found[key] += row.events
    add(session, found)
    session.execute(update(ServiceCounter).where(ServiceCounter.name == _READ).values(value=after))
    return events


def add(session: Session, more: Mapping[Key, int]) -> None:
    """Add to counters, each a name and the value of its label."""
    if not more:
        return
    rows = [{"name": name, "label": label, "value": value} for (name, label), value in sorted(more.items())]
    statement = insert(ServiceCounter).values(rows)
    grown = ServiceCounter.value + statement.excluded.value
    session.execute(statement.on_conflict_do_update(index_elements=["name", "label"], set_={"value": grown}))


def read(session: Session) -> dict[Key, int]:
    """Return every counter."""
    rows = session.execute(select(ServiceCounter.name, ServiceCounter.label, ServiceCounter.value))
    return {(name, label): value for name, label, value in rows if name != _READ}


def note_seen(session: Session, *, part: str) -> None:
    """Leave word that a part of the service is alive."""
    session.execute(
        text("INSERT INTO service_part (name) VALUES (:part) ON CONFLICT (name) DO UPDATE SET seen_at = now()"),
        {"part": part},
    )


def _keys(event: str, state: str | None, attempt: str | None, reason: str | None, code: str | None) -> list[Key]:
    """Return the counters that an event of a job belongs to."""
    if event == "job.state_changed":
        return _state_keys(state or "", attempt, reason)
    if event == "job.attempt_failed":
        return [("attempts_failed", code or "unknown")]
    single = {"job.lease_expired": "leases_lost", "job.checkpoint": "checkpoints"}
    return [(single[event], "")] if event in single else []


def _state_keys(state: str, attempt: str | None, reason: str | None) -> list[Key]:
    if state == "queued":
        return [("jobs_submitted", "")] if attempt == "0" and reason is None else []
    if state == "starting":
        return [("attempts_started", "")]
    if state not in TERMINAL_STATES:
        return []
    ended = [("jobs_ended", state)]
    return [*ended, ("jobs_failed", reason or "unknown")] if state == "failed" else ended


def seen_seconds_ago(session: Session) -> dict[str, float]:
    """Return how long ago each part of the service was seen."""
    rows = session.execute(text("SELECT name, extract(epoch FROM now() - seen_at) FROM service_part"))
    return {name: float(seconds) for name, seconds in rows}
