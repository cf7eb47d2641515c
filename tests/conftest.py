"""Real servers for tests: PostgreSQL and Valkey processes from the wheels, a fresh database for whoever asks."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from services.config import Settings, load_settings
from services.db.engine import Database
from services.db.migrate import migrate
from services.db.models import Tenant
from services.identifiers import new_id
from tests.object_store import ObjectServer

# Tests need speed, not durability: what survives a crash is tested with servers of its own.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres") / "data", settings=_FAST)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey server for the whole session."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """An S3 service for the whole session, for tests that leave it running."""
    server = ObjectServer(tmp_path_factory.mktemp("objects") / "log")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a migrated database, to be copied: a copy takes milliseconds."""
    name = "template_migrated"
    _run(postgres, f'CREATE DATABASE "{name}"')
    migrate(_with_driver(postgres.database_url(name)))
    return name


@pytest.fixture(scope="module")
def database_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database for one test module."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _run(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"')
    yield _with_driver(postgres.database_url(name))
    _run(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A connection pool to this module's database."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def tenant_id(database: Database) -> str:
    """A tenant of this test's own."""
    identifier = new_id("ten")
    with database.session() as session:
        session.add(Tenant(id=identifier, name=identifier))
    return identifier


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment in which a process of the service runs on this test's servers."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path / "data"),
        "MODELWRIGHT_DEVICES": "cpu",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The settings that such a process would read."""
    return load_settings(environment)


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _run(server: PostgresServer, statement: str, **values: Any) -> None:
    engine = create_engine(_with_driver(server.url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement), values)
    engine.dispose()
