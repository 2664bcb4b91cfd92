"""What people write about runs and sweeps. Nobody wrote anything about those from before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "remarks",
        sa.Column("sweep", sa.String(128), sa.ForeignKey("sweeps.name"), primary_key=True),
        sa.Column("run_id", sa.String(160), primary_key=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
    )
