"""A sweep has an id of its own, for names come back. It is "" for sweeps from before: their records derive one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("id", sa.String(32), nullable=False, server_default=""))
