"""Whose turn it is: the part of the claim that chooses among tenants and their queued jobs.

Highest priority first; among tenants with jobs of equal priority whoever has fewest running; of those, whoever was
served longest ago; then the oldest job. A tenant's jobs of one form for one device are a *lane*: ``ix_job_queued``
begins with these, so the head of each lane costs one descent of it, and what lies behind the heads costs nothing: a
claim reads as many entries as there are lanes, not as there are jobs. Decision 0025 has the alternatives.

A tenant with a limit runs each job on a numbered seat, and a unique index keeps two jobs from having one seat: no count
that may be stale by the time of the commit. A seat that another claimer is about to take is passed over by a try-lock,
so that nobody waits for a claimer that was stopped halfway.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import CTE, Integer, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

_TURN = """
WITH RECURSIVE lane AS (
    (SELECT tenant_id, device, format, priority, created_at, id
       FROM job
      WHERE state = 'queued' AND held_until IS NULL
      ORDER BY tenant_id, device, format, priority DESC, created_at, id
      LIMIT 1)
    UNION ALL
    SELECT following.*
      FROM lane
     CROSS JOIN LATERAL (
        SELECT tenant_id, device, format, priority, created_at, id
          FROM job
         WHERE state = 'queued' AND held_until IS NULL
           AND (tenant_id, device, format) > (lane.tenant_id, lane.device, lane.format)
         ORDER BY tenant_id, device, format, priority DESC, created_at, id
         LIMIT 1
     ) AS following
), standing AS (
    SELECT lane.*,
           (SELECT count(*) FROM job
             WHERE job.tenant_id = lane.tenant_id AND lease_expires_at IS NOT NULL) AS running,
           coalesce(tenant.max_running_jobs, :max_running_jobs) AS seats,
           (SELECT max(claimed_at) FROM job WHERE job.tenant_id = lane.tenant_id) AS served_at
      FROM lane
      JOIN tenant ON tenant.id = lane.tenant_id
     WHERE lane.device = ANY(:devices) AND lane.format <= :newest_format
), turn AS MATERIALIZED (
    SELECT tenant_id, device, format, seats
      FROM standing
     WHERE seats IS NULL OR running < seats
     ORDER BY priority DESC, running, served_at NULLS FIRST, created_at, id
)
SELECT queued.id, seat.number AS seat
  FROM turn
 CROSS JOIN LATERAL (
    SELECT CAST(NULL AS integer) AS number WHERE turn.seats IS NULL
    UNION ALL
    (SELECT number
       FROM (SELECT number
               FROM generate_series(1, turn.seats) AS number
              WHERE NOT EXISTS (SELECT FROM job WHERE job.tenant_id = turn.tenant_id AND job.seat = number)
             OFFSET 0) AS free  -- a fence: the lock below is tried on free seats alone
      WHERE pg_try_advisory_xact_lock(hashtext(turn.tenant_id), number)
      LIMIT 1)
 ) AS seat
 CROSS JOIN LATERAL (
    SELECT id
      FROM job
     WHERE state = 'queued' AND held_until IS NULL AND tenant_id = turn.tenant_id AND device = turn.device
       AND format = turn.format
     ORDER BY priority DESC, created_at, id
     LIMIT 1
       FOR UPDATE SKIP LOCKED
 ) AS queued
 LIMIT 1
"""


def next_turn(*, devices: Sequence[str], newest_format: int, max_running_jobs: int | None) -> CTE:
    """Return, as SQL, the ``id`` of the job that one of ``devices`` is to run, locked, and its ``seat``; or no row.

    Jobs of a form newer than ``newest_format`` are passed over. ``max_running_jobs`` is the limit of tenants that have
    none of their own; None is no limit.
    """
    statement = text(_TURN).bindparams(
        bindparam("devices", ["auto", *devices], ARRAY(Text)),
        bindparam("newest_format", newest_format, Integer),
        bindparam("max_running_jobs", max_running_jobs, Integer),
    )
    return statement.columns(id=Text, seat=Integer).cte("next_turn")
