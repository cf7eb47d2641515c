"""Bring a database to the newest schema: ``python -m services.db.migrate``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import migrations
from services.config import load_settings

_LOCK = 7_115_331_942  # any constant: two migrations at once wait for each other


def alembic_config(url: str) -> Config:
    """Return an Alembic configuration for ``url``, wherever the package is installed."""
    config = Config()
    config.set_main_option("script_location", str(Path(str(migrations.__file__)).parent))
    config.attributes["url"] = url
    return config


def migrate(url: str) -> None:
    """Upgrade the database at ``url`` to the newest revision."""
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        config = alembic_config(url)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()


if __name__ == "__main__":
    migrate(load_settings().database_url)
