"""The history of a run, as NDJSON: what the harness did and heard, and what the database committed.

Every record has ``at`` (Unix seconds) and ``event``. From the harness: ``run`` (seed, plan), ``reference`` (an
undisturbed job), ``submit``, ``acknowledge``, ``fault``, ``skipped``, ``continue`` (a zombie wakes), ``abandoned`` (a
worker's log says that it was refused), ``finish`` (what the API says of an ended job), ``end``. From triggers, with a
``sequence``: ``inserted``, ``claim``, ``state``, ``write`` and ``drop`` (of metrics), ``checkpoint``.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

_AUDIT = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.fact (
    sequence bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event text NOT NULL,
    job text NOT NULL,
    data jsonb NOT NULL
);
CREATE FUNCTION chaos.note(text, text, jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO chaos.fact (event, job, data)
    VALUES ($1, $2, $3 || jsonb_build_object('writer', current_setting('application_name')))
$$;
CREATE FUNCTION chaos.on_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM chaos.note('inserted', NEW.id, jsonb_build_object('submission', NEW.labels->>'submission'));
    ELSIF NEW.epoch <> OLD.epoch THEN
        PERFORM chaos.note('claim', NEW.id, jsonb_build_object(
            'epoch', NEW.epoch, 'attempt', NEW.attempt, 'owner', NEW.owner, 'crashes', NEW.crashes));
    ELSIF NEW.state <> OLD.state THEN
        PERFORM chaos.note('state', NEW.id, jsonb_build_object(
            'state', NEW.state, 'reason', NEW.reason, 'epoch', NEW.epoch, 'attempt', NEW.attempt,
            'crashes', NEW.crashes));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_job AFTER INSERT OR UPDATE ON job FOR EACH ROW EXECUTE FUNCTION chaos.on_job();
CREATE FUNCTION chaos.on_segments() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
    FOR one IN
        SELECT job_id, jsonb_object_agg(name, runs) AS series FROM (
            SELECT job_id, name, jsonb_agg(jsonb_build_array(first_step, last_step, count)) AS runs
            FROM touched GROUP BY job_id, name
        ) AS named GROUP BY job_id
    LOOP
        PERFORM chaos.note(CASE TG_OP WHEN 'INSERT' THEN 'write' ELSE 'drop' END, one.job_id,
                           jsonb_build_object('series', one.series));
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_segments AFTER INSERT ON metric_segment
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION chaos.on_segments();
CREATE TRIGGER chaos_dropped AFTER DELETE ON metric_segment
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION chaos.on_segments();
CREATE FUNCTION chaos.on_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM chaos.note('checkpoint', NEW.job_id, jsonb_build_object(
        'step', NEW.step, 'attempt', NEW.attempt, 'final', NEW.final, 'sha256', NEW.sha256));
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_checkpoint AFTER INSERT ON checkpoint FOR EACH ROW EXECUTE FUNCTION chaos.on_checkpoint();
"""
_FACTS = "SELECT sequence, extract(epoch FROM at)::float8 AS at, event, job, data FROM chaos.fact ORDER BY sequence"


class History:
    """Appends records to a file as they come, for several threads; what was written survives our own death."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._stream = file.open("w", encoding="utf-8")

    def note(self, event: str, **members: Any) -> None:
        """Add a record of now."""
        record = {"at": round(time.time(), 4), "event": event, **members}
        with self._lock:
            self.records.append(record)
            self._stream.write(json.dumps(record) + "\n")
            self._stream.flush()

    def complete(self, database_url: str) -> list[dict[str, Any]]:
        """Join the facts of the database, put everything in the order of time, and write the file anew."""
        with self._lock:
            self._stream.close()
            records = sorted([*self.records, *facts(database_url)], key=lambda record: record["at"])
            lines = "".join(json.dumps(record) + "\n" for record in records)
            self.file.write_text(lines, encoding="utf-8")
        return records


def install(database_url: str) -> None:
    """Have every commit about jobs leave a fact behind, in the same transaction."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(_AUDIT))
    engine.dispose()


def facts(database_url: str) -> list[dict[str, Any]]:
    """Return what was committed."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        rows = connection.execute(text(_FACTS)).all()
    engine.dispose()
    return [{"at": row.at, "event": row.event, "job": row.job, "sequence": row.sequence, **row.data} for row in rows]
