"""Migrations go up and down, and say what the models say."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect, text

from modelwright.server.postgres import PostgresServer
from services.db.migrate import alembic_config, migrate


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    admin = create_engine(_url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE migrations"))
        yield _url(postgres, "migrations")
        connection.execute(text("DROP DATABASE migrations WITH (FORCE)"))
    admin.dispose()


def test_upgrade_downgrade_and_upgrade_again_leave_nothing_behind(empty_database: str) -> None:
    migrate(empty_database)
    command.downgrade(alembic_config(empty_database), "base")
    assert _tables(empty_database) == {"alembic_version"}
    migrate(empty_database)
    assert {"job", "checkpoint", "chunk", "metric_segment"} <= _tables(empty_database)


def test_the_models_match_the_migrations(empty_database: str) -> None:
    migrate(empty_database)
    command.check(alembic_config(empty_database))


def test_chunk_bytes_are_stored_out_of_line_and_uncompressed(empty_database: str) -> None:
    migrate(empty_database)
    engine = create_engine(empty_database)
    with engine.connect() as connection:
        storage = connection.scalar(
            text("SELECT attstorage FROM pg_attribute WHERE attrelid = 'chunk'::regclass AND attname = 'data'")
        )
    engine.dispose()
    assert storage in (b"e", "e")


def test_every_migration_has_a_way_back() -> None:
    for path in (Path(__file__).parents[3] / "migrations" / "versions").glob("*.py"):
        downgrade = path.read_text().split("def downgrade() -> None:")[1]
        assert "op." in downgrade, path.name


def _url(server: PostgresServer, name: str) -> str:
    return server.database_url(name).replace("postgresql://", "postgresql+psycopg://", 1)


def _tables(url: str) -> set[str]:
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names
