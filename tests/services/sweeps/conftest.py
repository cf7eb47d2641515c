"""One preflight for all tests of sweeps: loading torch takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from services.config import Settings, load_settings
from services.db.engine import Database
from services.preflight import Preflight
from tests.services.sweeps.harness import Rig


@pytest.fixture(scope="session")
def preflight() -> Iterator[Preflight]:
    unused = {"DATABASE_URL": "postgresql://none", "REDIS_URL": "redis://none"}
    opened = Preflight(load_settings({**os.environ, **unused}))
    yield opened
    opened.close()


@pytest.fixture
def rig(database: Database, tenant_id: str, settings: Settings, preflight: Preflight) -> Rig:
    with database.session() as session:
        for table in ("sweep_trial", "sweep", "job"):
            session.execute(text(f"DELETE FROM {table}"))
    return Rig(database, tenant_id, settings, preflight)
