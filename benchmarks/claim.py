"""What a claim costs with 100 000 queued jobs, next to what it costs with 100 (P9).

    python -m benchmarks.claim [--tenants 10] [--claims 300]

Two databases of one server with durable commits, claimed from in turns, so that both meet the same machine; after each
claim the job is ended and another queued, outside the measured time. A fresh connection plans its statements anew, as
a worker's does; nothing was analysed but what autovacuum came to.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, text

from modelwright.server.postgres import PostgresServer
from services.db.engine import Database
from services.db.migrate import migrate
from services.jobs.claims import Claim, claim_next
from services.jobs.line import read_line

FEW, MANY = 100, 100_000
_TENANTS = text("INSERT INTO tenant (id, name) SELECT 'ten_' || n, 'ten_' || n FROM generate_series(1, :tenants) AS n")
_JOBS = text(
    """
    INSERT INTO job (id, tenant_id, request, resolved, definition_sha256, preflight, device)
    SELECT 'job_' || gen_random_uuid(), 'ten_' || 1 + n % :tenants, CAST(:document AS json), CAST(:document AS json),
           'x', '{}', CASE n % 2 WHEN 0 THEN 'auto' ELSE 'cpu' END
      FROM generate_series(1, :jobs) AS n
    """
)
_END = text(
    "UPDATE job SET state = 'cancelled', lease_expires_at = NULL, owner = NULL, seat = NULL, finished_at = now()"
    " WHERE id = :id"
)
DOCUMENT = '{"model": "' + "Linear(64, 64), " * 64 + '"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=10)
    parser.add_argument("--claims", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelwright-bench-") as directory:
        server = PostgresServer(Path(directory) / "postgres")
        server.start()
        try:
            few = queue(server, "few", tenants=options.tenants, jobs=FEW)
            many = queue(server, "many", tenants=options.tenants, jobs=MANY)
            seconds = {database: [] for database in (few, many)}
            for _ in range(options.claims):
                for database, taken in seconds.items():
                    taken.append(timed_claim(database, tenants=options.tenants))
            report(seconds[few], seconds[many], options.tenants)
            print("Reading the line, from which polls are answered until it is twenty times as old\n")
            for jobs, database in ((FEW, few), (MANY, many)):
                print(f"  {jobs:<20,}{statistics.median(timed_line(database) for _ in range(5)) * 1000:>9.1f} ms")
            print()
            few.close()
            many.close()
        finally:
            server.stop()


def queue(server: PostgresServer, name: str, *, tenants: int, jobs: int) -> Database:
    """Return a database in which so many jobs are queued."""
    admin = create_engine(_with_driver(server.url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = _with_driver(server.database_url(name))
    migrate(url)
    database = Database(url, pool_size=1)
    with database.session() as session:
        session.execute(_TENANTS, {"tenants": tenants})
        session.execute(_JOBS, {"tenants": tenants, "jobs": jobs, "document": DOCUMENT})
    return database


def timed_claim(database: Database, *, tenants: int) -> float:
    """Return the seconds of one claim with its commit; the queue is as long afterwards as before."""
    begin = time.perf_counter()
    with database.session() as session:
        claim = claim_next(session, owner="bench/1", devices=["cpu"], lease_seconds=20)
    seconds = time.perf_counter() - begin
    assert isinstance(claim, Claim)
    with database.session() as session:
        session.execute(_END, {"id": claim.job_id})
        session.execute(_JOBS, {"tenants": tenants, "jobs": 1, "document": DOCUMENT})
    return seconds


def timed_line(database: Database) -> float:
    """Return the seconds of reading all that places are told from."""
    begin = time.perf_counter()
    with database.read_session() as session:
        read_line(session, max_running_jobs=None)
    return time.perf_counter() - begin


def report(few: list[float], many: list[float], tenants: int) -> None:
    print(f"\nOne claim with its commit, {len(few)} of each, in turns; jobs of {tenants} tenants (P9)\n")
    print(f"  {'queued':<20}{'p50':>12}{'p99':>12}")
    for jobs, taken in ((FEW, few), (MANY, many)):
        p99 = sorted(taken)[min(len(taken) - 1, round(len(taken) * 0.99))]
        print(f"  {jobs:<20,}{statistics.median(taken) * 1000:>9.2f} ms{p99 * 1000:>9.2f} ms")
    ratio = statistics.median(many) / statistics.median(few)
    print(f"\n  {'ratio of the medians':<44}{ratio:>9.2f} ×   goal ≤ 2\n")


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


if __name__ == "__main__":
    main()
