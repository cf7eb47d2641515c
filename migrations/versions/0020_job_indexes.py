"""Jobs: what each submission counts, and what names a webhook that is deleted, found without a scan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_job_unfinished", "job", ["tenant_id"], postgresql_where=sa.text("finished_at IS NULL"))
    op.create_index("ix_job_webhook", "job", ["webhook_id"], postgresql_where=sa.text("webhook_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_job_webhook", "job")
    op.drop_index("ix_job_unfinished", "job")
