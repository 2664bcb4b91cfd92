"""What the registry reads, and rows as records."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, select

from metta_sweep.errors import InvalidRequest, UnknownRun, UnknownSweep
from metta_sweep.registry import schema as db
from metta_sweep.registry.codec import decode
from metta_sweep.registry.names import did_you_mean
from metta_sweep.registry.records import (
    OPEN_STATES,
    AttemptRecord,
    EventRecord,
    JsonObject,
    ObservationRecord,
    Owner,
    RemarkRecord,
    RunRecord,
    RunState,
    SweepRecord,
)
from trainables.result import FailureKind

logger = logging.getLogger(__name__)
Columns = Sequence[Column[Any]]


def to_run(row: Mapping[Any, Any]) -> RunRecord:
    return decode(RunRecord, _with_known_failure(row))


def _with_known_failure(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row; what somebody else planted as its failure stops no reader."""
    return {**row, "failure": FailureKind.known(row["failure"]) if row["failure"] else None}


def get_sweep(connection: Connection, name: str, columns: Columns = tuple(db.sweeps.c)) -> SweepRecord:
    row = connection.execute(select(*columns).where(db.sweeps.c.name == name)).mappings().one_or_none()
    if row is None:
        raise unknown_sweep(connection, name)
    return decode(SweepRecord, dict(row))


def unknown_sweep(connection: Connection, name: str) -> UnknownSweep:
    known = connection.execute(select(db.sweeps.c.name)).scalars()
    return UnknownSweep(f"sweep_name={name[:120]!r}: no such sweep{did_you_mean(name, known)}")


def list_sweeps(
    connection: Connection, after: int = 0, limit: int | None = None, columns: Columns = tuple(db.sweeps.c)
) -> list[SweepRecord]:
    rows = connection.execute(select(*columns).order_by(db.sweeps.c.created_at, db.sweeps.c.name)).mappings()
    found: list[SweepRecord] = []
    for row in rows:
        try:
            found.append(decode(SweepRecord, dict(row)))
        except InvalidRequest as error:  # the others are not concerned
            logger.warning("sweep %a cannot be read and is left out: %s", row["name"], error)
    return found[after:][:limit]


def next_number(connection: Connection, sweep: str) -> int:
    number = connection.execute(select(db.sweeps.c.next_run).where(db.sweeps.c.name == sweep)).scalar_one_or_none()
    if number is None:
        raise unknown_sweep(connection, sweep)
    return int(number)


def get_run(connection: Connection, run_id: str) -> RunRecord:
    row = connection.execute(select(db.runs).where(db.runs.c.id == run_id)).mappings().one_or_none()
    if row is None:
        raise UnknownRun(f"run {run_id[:120]!r}: no such run; `status` lists them")
    return to_run(row)


def runs(
    connection: Connection, sweep: str, states: Sequence[RunState] = (), after: int = -1, limit: int | None = None
) -> list[RunRecord]:
    """Runs with a number above `after`, in order."""
    # As an expression, the number has no index: SQLite then looks up the few runs in these states, not through all.
    number = db.runs.c.number + 0 if states else db.runs.c.number
    chosen = select(db.runs).where(db.runs.c.sweep == sweep, number > after).order_by(number).limit(limit)
    if states:
        chosen = chosen.where(db.runs.c.state.in_(states))
    return [to_run(row) for row in connection.execute(chosen).mappings()]


def owners(connection: Connection, name: str) -> list[Owner]:
    """Everybody who holds a run of the sweep with a lease that ends."""
    held = (db.runs.c.sweep == name, db.runs.c.state.in_(OPEN_STATES), db.runs.c.lease_until.is_not(None))
    holders = {decode(Owner, row) for row in connection.execute(select(db.runs.c.owner).where(*held)).scalars()}
    return sorted(holders, key=lambda owner: (owner.host, owner.pid, owner.started))


def attempts(connection: Connection, sweep: str, after: int = -1, limit: int | None = None) -> list[AttemptRecord]:
    """Attempts of the runs with a number above `after`, of `limit` of them."""
    of_sweep = select(db.attempts).join(db.runs).where(db.runs.c.sweep == sweep, db.runs.c.number > after)
    chosen = of_sweep.order_by(db.runs.c.number, db.attempts.c.number)
    if limit is not None:
        chosen = chosen.where(db.runs.c.number <= after + limit)
    return [decode(AttemptRecord, dict(row)) for row in connection.execute(chosen).mappings()]


def observations(
    connection: Connection, sweep: str, after: int = 0, limit: int | None = None
) -> list[ObservationRecord]:
    table, run = db.observations.c, db.runs.c
    chosen = select(db.observations, run.number.label("run_number"), run.phase, run.params).join(db.runs)
    newer = chosen.where(table.sweep == sweep, table.sequence > after, table.is_withdrawn.is_(False))
    rows = connection.execute(newer.order_by(table.sequence).limit(limit)).mappings().all()
    curves = _curves(connection, [row["run_id"] for row in rows])
    told = [{**_with_known_failure(row), "curve": curves[row["run_id"]]} for row in rows]
    return [decode(ObservationRecord, {**row, "observation": one}) for row, one in zip(rows, told, strict=True)]


def remarks(connection: Connection, sweep: str) -> list[RemarkRecord]:
    next_number(connection, sweep)  # of what is not known, nothing is not an answer
    chosen = select(db.remarks).where(db.remarks.c.sweep == sweep).order_by(db.remarks.c.run_id)
    return [decode(RemarkRecord, dict(row)) for row in connection.execute(chosen).mappings()]


def curve(connection: Connection, run_id: str) -> list[JsonObject]:
    return list(_curves(connection, [run_id])[run_id])


def _curves(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[JsonObject]]:
    points: dict[str, list[JsonObject]] = defaultdict(list)
    table = db.curve_points.c
    for start in range(0, len(run_ids), 500):  # a statement takes a limited number of values
        of_some = table.run_id.in_(run_ids[start : start + 500])
        chosen = select(table.run_id, table.point).where(of_some).order_by(table.env_steps)
        for run_id, point in connection.execute(chosen):
            points[run_id].append(point)
    return points


def events(connection: Connection, sweep: str, after: int = 0, limit: int | None = None) -> list[EventRecord]:
    table = db.events.c
    chosen = select(db.events).where(table.sweep == sweep, table.sequence > after)
    page = chosen.order_by(table.sequence).limit(limit)
    return [decode(EventRecord, dict(row)) for row in connection.execute(page).mappings()]
