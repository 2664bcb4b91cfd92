"""Tables of the registry, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

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
            raise InvalidRequest(f"database: a column holds no JSON ({error})") from error


class Printable(TypeDecorator[str]):
    """Text of unknown origin (logs, messages): NUL and broken Unicode, which databases refuse, are replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return (
            None
            if value is None
            else value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
        )


class Real(TypeDecorator[float]):
    """A number that may be missing; NaN and infinities, which databases treat each in its way, are."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return value if value is not None and math.isfinite(value) else None


SCHEMA_VERSION = "0003"  # of the last file in migrations/versions
metadata = MetaData()

sweeps = Table(
    "sweeps",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("spec_yaml", Printable, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("wandb_entity", Printable, nullable=False),
    Column("wandb_project", Printable, nullable=False),
    Column("wandb_sweep_id", Printable, nullable=False),
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
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("params", Json, nullable=False),
    Column("explanation", Json, nullable=False),
    Column("phase", Printable, nullable=False),
    Column("cursor", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("owner", Json),
    Column("lease_until", Real),
    Column("seen_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Real),
    Column("ended_at", Real),
    Column("predicted_score", Real),
    Column("predicted_cost", Real),
    Column("failure", Printable),
    Column("signature", Printable, nullable=False),
    Column("message", Printable, nullable=False),
    Column("log_tail", Printable, nullable=False),
    UniqueConstraint("sweep", "number", name="runs_sweep_number"),
    Index("runs_sweep_state", "sweep", "state"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("nodes", Json, nullable=False),
    Column("num_gpus", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Real),
    Column("costs", Json, nullable=False),
    Column("exit_reason", Printable, nullable=False),
)

observations = Table(
    "observations",
    metadata,
    Column("sweep", ForeignKey("sweeps.name"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("is_withdrawn", Boolean, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("score", Real),
    Column("standard_error", Real),
    Column("cost_seconds", Double, nullable=False),
    Column("wall_seconds", Double, nullable=False),
    Column("env_steps", BigInteger, nullable=False),
    Column("costs", Json, nullable=False),
    Column("attempt_costs", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("nodes", Json, nullable=False),
    Column("failure", Printable),
    Column("signature", Printable, nullable=False),
    Column("message", Printable, nullable=False),
    Column("log_tail", Printable, nullable=False),
)

curve_points = Table(
    "curve_points",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("env_steps", BigInteger, primary_key=True),
    Column("point", Json, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("sweep", ForeignKey("sweeps.name"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("run_id", String(160)),
    Column("by", Printable, nullable=False),
    Column("detail", Json, nullable=False),
)

lease_clocks = Table(
    "lease_clocks",
    metadata,
    # No foreign key: what is left of a run that is gone says nothing, and its id winds it anew.
    Column("run_id", String(160), primary_key=True),
    Column("boot", Text, nullable=False),
    Column("ends_at", Double, nullable=False),
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
    Column("name", Printable, nullable=False),
    Column("role", String(16), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Real),
)
