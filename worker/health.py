"""Is this container's worker able to work: ``python -m worker.health`` exits 0 when its servers answer."""

from __future__ import annotations

import sys

from services.config import load_settings
from services.db.engine import Database
from services.health import check_database, check_redis, redis_client


def main() -> int:
    """Ask PostgreSQL and Redis; print a line for each and return 1 when one of them does not answer."""
    settings = load_settings()
    database = Database(settings.database_url, pool_size=1)
    components = (check_database(database)["database"], check_redis(redis_client(settings.redis_url)))
    database.close()
    for component in components:
        sys.stdout.write(f"{component.status}: {component.detail}\n")
    return int(any(component.status != "ok" for component in components))


if __name__ == "__main__":
    sys.exit(main())
