"""When leases end by the monotonic clock of the registry's host.

Leases from before have none, and go by the wall clock.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "lease_clocks",
        sa.Column("run_id", sa.String(160), primary_key=True),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
    )
