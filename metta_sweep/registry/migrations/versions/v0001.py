"""First schema: sweeps, runs, attempts, observations, curve points, events, answers, tokens."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
# Types that SQLite and PostgreSQL both know.
TABLES = """
CREATE TABLE sweeps (
    name VARCHAR(128) NOT NULL PRIMARY KEY, spec_yaml TEXT NOT NULL, spec_hash VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL, created_at DOUBLE PRECISION NOT NULL, wandb_entity TEXT NOT NULL,
    wandb_project TEXT NOT NULL, wandb_sweep_id TEXT NOT NULL, next_run INTEGER DEFAULT '0' NOT NULL,
    next_observation INTEGER DEFAULT '1' NOT NULL, next_event INTEGER DEFAULT '1' NOT NULL
);
CREATE TABLE runs (
    id VARCHAR(160) NOT NULL PRIMARY KEY, sweep VARCHAR(128) NOT NULL REFERENCES sweeps (name), number INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL, params TEXT NOT NULL, explanation TEXT NOT NULL, phase TEXT NOT NULL,
    cursor INTEGER NOT NULL, fence INTEGER NOT NULL, attempts INTEGER NOT NULL, owner TEXT,
    lease_until DOUBLE PRECISION, seen_at DOUBLE PRECISION NOT NULL, created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION, ended_at DOUBLE PRECISION, predicted_score DOUBLE PRECISION,
    predicted_cost DOUBLE PRECISION, failure TEXT, signature TEXT NOT NULL, message TEXT NOT NULL,
    log_tail TEXT NOT NULL, CONSTRAINT runs_sweep_number UNIQUE (sweep, number)
);
CREATE INDEX runs_sweep_state ON runs (sweep, state);
CREATE TABLE attempts (
    run_id VARCHAR(160) NOT NULL REFERENCES runs (id), number INTEGER NOT NULL, nodes TEXT NOT NULL,
    num_gpus DOUBLE PRECISION NOT NULL, started_at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION,
    costs TEXT NOT NULL, exit_reason TEXT NOT NULL, PRIMARY KEY (run_id, number)
);
CREATE TABLE observations (
    sweep VARCHAR(128) NOT NULL REFERENCES sweeps (name), sequence INTEGER NOT NULL,
    run_id VARCHAR(160) NOT NULL REFERENCES runs (id), created_at DOUBLE PRECISION NOT NULL,
    is_withdrawn BOOLEAN NOT NULL, outcome VARCHAR(16) NOT NULL, score DOUBLE PRECISION,
    standard_error DOUBLE PRECISION, cost_seconds DOUBLE PRECISION NOT NULL, wall_seconds DOUBLE PRECISION NOT NULL,
    env_steps BIGINT NOT NULL, costs TEXT NOT NULL, attempt_costs TEXT NOT NULL, metrics TEXT NOT NULL,
    nodes TEXT NOT NULL, failure TEXT, signature TEXT NOT NULL, message TEXT NOT NULL, log_tail TEXT NOT NULL,
    PRIMARY KEY (sweep, sequence)
);
CREATE INDEX ix_observations_run_id ON observations (run_id);
CREATE TABLE curve_points (
    run_id VARCHAR(160) NOT NULL REFERENCES runs (id), env_steps BIGINT NOT NULL, point TEXT NOT NULL,
    PRIMARY KEY (run_id, env_steps)
);
CREATE TABLE events (
    sweep VARCHAR(128) NOT NULL REFERENCES sweeps (name), sequence INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL,
    kind VARCHAR(64) NOT NULL, run_id VARCHAR(160), "by" TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (sweep, sequence)
);
CREATE TABLE answers (
    sweep VARCHAR(128) NOT NULL REFERENCES sweeps (name), "key" VARCHAR(128) NOT NULL, method VARCHAR(32) NOT NULL,
    answer TEXT, PRIMARY KEY (sweep, "key")
);
CREATE TABLE tokens (
    id VARCHAR(16) NOT NULL PRIMARY KEY, name TEXT NOT NULL, role VARCHAR(16) NOT NULL,
    secret_hash VARCHAR(64) NOT NULL, created_at DOUBLE PRECISION NOT NULL, revoked_at DOUBLE PRECISION
);
"""


def upgrade() -> None:
    for statement in TABLES.split(";")[:-1]:
        op.execute(statement)
