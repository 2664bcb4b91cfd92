"""First schema: sweeps, runs, attempts, observations, curve points, events, answers, tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("spec_yaml", sa.Text, nullable=False),
        sa.Column("spec_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("wandb_entity", sa.Text, nullable=False),
        sa.Column("wandb_project", sa.Text, nullable=False),
        sa.Column("wandb_sweep_id", sa.Text, nullable=False),
        sa.Column("next_run", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_observation", sa.Integer, nullable=False, server_default="1"),
        sa.Column("next_event", sa.Integer, nullable=False, server_default="1"),
    )
    _create_runs()
    _create_results()
    op.create_table(
        "events",
        sa.Column("sweep", sa.String(128), sa.ForeignKey("sweeps.name"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(160)),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("sweep", sa.String(128), sa.ForeignKey("sweeps.name"), primary_key=True),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("method", sa.String(32), nullable=False),
        sa.Column("answer", sa.Text),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(160), primary_key=True),
        sa.Column("sweep", sa.String(128), sa.ForeignKey("sweeps.name"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("explanation", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("cursor", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("predicted_score", sa.Double),
        sa.Column("predicted_cost", sa.Double),
        sa.Column("failure", sa.Text),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("log_tail", sa.Text, nullable=False),
        sa.UniqueConstraint("sweep", "number", name="runs_sweep_number"),
    )
    op.create_index("runs_sweep_state", "runs", ["sweep", "state"])
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.String(160), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("nodes", sa.Text, nullable=False),
        sa.Column("num_gpus", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("costs", sa.Text, nullable=False),
        sa.Column("exit_reason", sa.Text, nullable=False),
    )


def _create_results() -> None:
    op.create_table(
        "observations",
        sa.Column("sweep", sa.String(128), sa.ForeignKey("sweeps.name"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(160), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("is_withdrawn", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("standard_error", sa.Double),
        sa.Column("cost_seconds", sa.Double, nullable=False),
        sa.Column("wall_seconds", sa.Double, nullable=False),
        sa.Column("env_steps", sa.BigInteger, nullable=False),
        sa.Column("costs", sa.Text, nullable=False),
        sa.Column("attempt_costs", sa.Text, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("nodes", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("log_tail", sa.Text, nullable=False),
    )
    op.create_index("ix_observations_run_id", "observations", ["run_id"])
    op.create_table(
        "curve_points",
        sa.Column("run_id", sa.String(160), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("env_steps", sa.BigInteger, primary_key=True),
        sa.Column("point", sa.Text, nullable=False),
    )
