"""Tables of the registry, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Dialect, Double, ForeignKey, Integer, String, Table, Text, TypeDecorator

from metta_sweep.errors import InvalidRequest
from metta_sweep.registry.codec import dumps


class Json(TypeDecorator[Any]):
    """JSON as text: what was written is read back to the last digit, on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        try:
            return None if value is None else json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"database: a column does not hold JSON ({error})") from error


class Printable(TypeDecorator[str]):
    """Text of unknown origin (logs, messages): NUL and broken Unicode, which databases refuse, are replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


class Real(TypeDecorator[float]):
    """A number that may be missing; NaN and infinities, which databases treat each in its way, are."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return value if value is not None and math.isfinite(value) else None


SCHEMA_VERSION = "0004"  # of the last file in migrations/versions
metadata = sa.MetaData()


def _needed(kind: Any, *names: str) -> list[Column[Any]]:
    return [Column(name, kind, nullable=False) for name in names]


def _optional(kind: Any, *names: str) -> list[Column[Any]]:
    return [Column(name, kind) for name in names]


sweeps = Table(
    "sweeps",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("spec_hash", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    *_needed(Double, "created_at"),
    *_needed(Printable, "spec_yaml", "wandb_entity", "wandb_project", "wandb_sweep_id"),
    # Counters, not max() over the rows: numbers stay gapless and are never used twice, whatever is withdrawn.
    Column("next_run", Integer, nullable=False, server_default="0"),
    Column("next_observation", Integer, nullable=False, server_default="1"),
    Column("next_event", Integer, nullable=False, server_default="1"),
    # Not the name: a sweep that is deleted and made anew is another one. "" in rows from before schema 0002.
    Column("id", String(32), nullable=False, server_default=""),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(160), primary_key=True),
    Column("sweep", ForeignKey("sweeps.name"), nullable=False),
    Column("state", String(16), nullable=False),
    *_needed(Integer, "number", "cursor", "fence", "attempts"),
    *_needed(Json, "params", "explanation"),
    *_needed(Printable, "phase", "signature", "message", "log_tail"),
    *_needed(Double, "seen_at", "created_at"),
    *_optional(Real, "lease_until", "started_at", "ended_at", "predicted_score", "predicted_cost"),
    *_optional(Json, "owner"),
    *_optional(Printable, "failure"),
    sa.UniqueConstraint("sweep", "number", name="runs_sweep_number"),
    sa.Index("runs_sweep_state", "sweep", "state"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    *_needed(Json, "nodes", "costs"),
    *_needed(Double, "num_gpus", "started_at"),
    *_needed(Printable, "exit_reason"),
    *_optional(Real, "ended_at"),
)

observations = Table(
    "observations",
    metadata,
    Column("sweep", ForeignKey("sweeps.name"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False, index=True),
    Column("outcome", String(16), nullable=False),
    *_needed(sa.Boolean, "is_withdrawn"),
    *_needed(BigInteger, "env_steps"),
    *_needed(Double, "created_at", "cost_seconds", "wall_seconds"),
    *_needed(Json, "costs", "attempt_costs", "metrics", "nodes"),
    *_needed(Printable, "signature", "message", "log_tail"),
    *_optional(Real, "score", "standard_error"),
    *_optional(Printable, "failure"),
)

curve_points = Table(
    "curve_points",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("env_steps", BigInteger, primary_key=True),
    *_needed(Json, "point"),
)

events = Table(
    "events",
    metadata,
    Column("sweep", ForeignKey("sweeps.name"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("run_id", String(160)),
    *_needed(Double, "at"),
    *_needed(Printable, "by"),
    *_needed(Json, "detail"),
)

lease_clocks = Table(
    "lease_clocks",
    metadata,
    # No foreign key: what is left of a run that is gone says nothing, and its id winds it anew.
    Column("run_id", String(160), primary_key=True),
    *_needed(Text, "boot"),
    *_needed(Double, "ends_at"),
)

remarks = Table(
    "remarks",
    metadata,
    Column("sweep", ForeignKey("sweeps.name"), primary_key=True),
    Column("run_id", String(160), primary_key=True),  # "" for what is said of the sweep itself
    *_needed(Printable, "note"),
    *_needed(Json, "tags"),
)

answers = Table(
    "answers",
    metadata,
    # What a write answered to its idempotency key. Kept for good: an outbox may come back from a disk after any time.
    Column("sweep", ForeignKey("sweeps.name"), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("method", String(32), nullable=False),
    Column("answer", Json),  # NULL for None
)

tokens = Table(
    "tokens",
    metadata,
    # Rows stay when a token is revoked: a registry that ever had a token never opens itself again.
    Column("id", String(16), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    *_needed(Printable, "name"),
    *_needed(Double, "created_at"),
    *_optional(Real, "revoked_at"),
)
