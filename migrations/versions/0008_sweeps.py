"""Sweeps: a search over the fields of a job request, and its trials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0009"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("resolved", sa.JSON(), nullable=False),
        sa.Column("cancel_requested_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("updated_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "state IN ('running','stopping','cancelling','succeeded','failed','cancelled')",
            name=op.f("ck_sweep_state"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_sweep_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index("ix_sweep_list", "sweep", ["tenant_id", sa.text("id DESC")])
    op.create_index("ix_sweep_active", "sweep", ["id"], postgresql_where=sa.text("finished_at IS NULL"))
    op.create_table(
        "sweep_trial",
        sa.Column("sweep_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), server_default="proposed", nullable=False),
        sa.Column("drawn", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("problem", postgresql.JSONB(), nullable=True),
        sa.Column("rungs", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("objective", sa.Float(), nullable=True),
        sa.Column("best_step", sa.Integer(), nullable=True),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('proposed','submitted','invalid','succeeded','failed','pruned','cancelled')",
            name=op.f("ck_sweep_trial_state"),
        ),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweep.id"], name=op.f("fk_sweep_trial_sweep_id_sweep"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_sweep_trial_job_id_job")),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_sweep_trial")),
        sa.UniqueConstraint("job_id", name=op.f("uq_sweep_trial_job_id")),
    )
    op.create_index(
        "ix_sweep_trial_open",
        "sweep_trial",
        ["sweep_id", "number"],
        postgresql_where=sa.text("state IN ('proposed','submitted')"),
    )


def downgrade() -> None:
    op.drop_index("ix_sweep_trial_open", table_name="sweep_trial")
    op.drop_table("sweep_trial")
    op.drop_index("ix_sweep_active", table_name="sweep")
    op.drop_index("ix_sweep_list", table_name="sweep")
    op.drop_table("sweep")
