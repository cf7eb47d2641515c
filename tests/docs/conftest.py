"""A service for the calls of the pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from api.app import create_app
from services.config import load_settings
from services.db.engine import Database
from services.tenants import service as tenants
from tests.api.server import serving


@dataclass(frozen=True)
class Running:
    """Where a service is, and a key to it."""

    url: str
    key: str


@pytest.fixture(scope="module")
def service(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The API over real servers, with a tenant."""
    data = str(tmp_path_factory.mktemp("data"))
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "MODELWRIGHT_DATA_DIR": data}
    database = Database(database_url)
    with database.session() as session:
        tenant = tenants.create_tenant(session, name="pages")
        key, _ = tenants.create_key(session, tenant_id=tenant.id, scopes=["*"])
    database.close()
    with serving(create_app(load_settings({**environment, "MODELWRIGHT_DEVICES": "cpu"}))) as url:
        yield Running(url, key)
