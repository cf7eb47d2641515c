"""Alembic migrations: one numbered file a change, each with a way back."""
