"""Alembic's entry point: runs the migrations over the connection or the URL that it is given."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from services.db.tables import METADATA


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=METADATA, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = create_engine(context.config.attributes["url"])
    with engine.connect() as opened:
        run(opened)
        opened.commit()
    engine.dispose()
