"""What each write of the registry does, inside its transaction."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import textwrap
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from metta_sweep.errors import Fenced, IllegalTransition, InvalidRequest, NumberTaken, SpecChanged
from metta_sweep.registry import lease_clock, queries
from metta_sweep.registry.codec import decode, encode
from metta_sweep.registry.names import EVENT_KIND, check_lease
from metta_sweep.registry.names import run_id as make_run_id
from metta_sweep.registry.queries import get_sweep, to_run
from metta_sweep.registry.records import (
    FINAL_STATES,
    OPEN_STATES,
    REMARKED,
    AttemptRecord,
    JsonObject,
    NewObservation,
    ObservationRecord,
    Owner,
    RemarkRecord,
    Reservation,
    RunRecord,
    RunState,
    SweepRecord,
    SweepState,
)
from metta_sweep.registry.schema import (
    answers,
    attempts,
    curve_points,
    events,
    lease_clocks,
    observations,
    remarks,
    runs,
    sweeps,
)
from metta_sweep.registry.specs import as_written_now, check_point
from metta_sweep.registry.transaction import Transaction
from trainables.result import Costs, Span

MAX_LOG_CHARACTERS = 8192
SKEW_SECONDS = 5.0  # hosts that share a database differ by less
PARTS = frozenset(part.name for part in fields(Costs))
CLOCKS = frozenset(clock.name for clock in fields(Span))
RUN_EVENTS = ("reserved", "replaced", "started", "interrupted", "released", "claimed", "late_result", "retry", REMARKED)
SWEEP_EVENTS = ("created", "spec_updated", *(f"sweep_{state}" for state in SweepState))
OWN_EVENTS = frozenset((*SWEEP_EVENTS, *RUN_EVENTS, *FINAL_STATES))
NO_WANDB = {"wandb_entity": "", "wandb_project": "", "wandb_sweep_id": ""}
NOBODY = {"owner": None, "lease_until": None}
NO_FAILURE = {"failure": None, "signature": "", "message": "", "log_tail": ""}
NEW_RUN = {"state": RunState.RESERVED, "fence": 1, "attempts": 0, **NO_FAILURE}
NEW_ATTEMPT = {"nodes": [], "costs": {}, "exit_reason": ""}


def spec_hash(spec_yaml: str) -> str:
    return hashlib.sha256(spec_yaml.encode("utf-8", "replace")).hexdigest()


def insert_sweep(connection: Connection, name: str, now: float, spec_yaml: str, wandb: Mapping[str, str]) -> bool:
    """Whether the sweep is new."""
    own = {"id": uuid.uuid4().hex, "name": name, "state": SweepState.ACTIVE, "created_at": now}
    row = {**own, "spec_yaml": spec_yaml, "spec_hash": spec_hash(spec_yaml), **NO_WANDB, **wandb}
    try:
        with connection.begin_nested():
            connection.execute(insert(sweeps), row)
    except IntegrityError:
        return False
    return True


def adopt_spec(tx: Transaction, spec_yaml: str, update_allowed: bool) -> SweepRecord:
    """The existing sweep with this specification. Raises `SpecChanged` for another one, unless `update_allowed`."""
    known = get_sweep(tx.connection, tx.sweep)
    if not spec_yaml or spec_yaml == known.spec_yaml:
        return known
    old, new = known.spec_yaml.splitlines(), spec_yaml.splitlines()
    diff = "\n".join(difflib.unified_diff(old, new, "registered", "new", lineterm=""))
    is_same = known.spec_yaml and as_written_now(known.spec_yaml) == as_written_now(spec_yaml)
    if known.spec_yaml and not (update_allowed or is_same):
        text = "registered with another specification; use another name, or --update to change it"
        raise SpecChanged(f"sweep_name={tx.sweep}: {text}\n{textwrap.indent(diff, '  ')}", diff)
    changed = {"spec_yaml": spec_yaml, "spec_hash": spec_hash(spec_yaml)}
    tx.connection.execute(update(sweeps).where(sweeps.c.name == tx.sweep).values(changed))
    tx.event("spec_updated", detail={"diff": diff})
    return get_sweep(tx.connection, tx.sweep)


def set_sweep_state(tx: Transaction, state: SweepState, by: str, reason: str, decided_at: float) -> SweepRecord:
    before = get_sweep(tx.connection, tx.sweep)
    if state is SweepState.ACTIVE and tx.was_stopped_since(decided_at):
        raise IllegalTransition(f"sweep {tx.sweep}: somebody stopped it meanwhile; `run` it again to make it active")
    if before.state == state == SweepState.ACTIVE:
        return before
    if (before.state, state) != (SweepState.STOPPED, SweepState.DRAINING):
        tx.connection.execute(update(sweeps).where(sweeps.c.name == tx.sweep).values(state=state))
    tx.event(f"sweep_{state}", by=by, detail={"reason": reason})
    return get_sweep(tx.connection, tx.sweep)


def reserve(tx: Transaction, reservation: Reservation, owner: Owner, lease_seconds: float) -> RunRecord:
    sweep = tx.before
    if sweep["state"] != SweepState.ACTIVE:
        what = f"is {sweep['state']} and takes no new runs"
        raise IllegalTransition(f"sweep {tx.sweep}: {what}; `run` it again to make it active")
    if reservation.number not in (None, tx.next_run):
        what = f"run number {reservation.number} of sweep {tx.sweep}: the next is {tx.next_run}"
        raise NumberTaken(f"{what}; compute the suggestion again")
    check_point(sweep["spec_yaml"], reservation.phase, reservation.params)
    number = tx.take("next_run")
    run_id = make_run_id(tx.sweep, number)
    row = {"id": run_id, "sweep": tx.sweep, "number": number, "created_at": tx.now, **NEW_RUN}
    values = row | _point(reservation) | _held(tx, owner, lease_seconds)
    run = tx.connection.execute(insert(runs).returning(runs), values).mappings().one()
    lease_clock.wind(tx.connection, [run_id], tx.tick, lease_seconds)
    tx.event("reserved", run_id, by=owner, detail={"phase": reservation.phase, "cursor": reservation.cursor})
    return to_run(run)


def replace_suggestion(tx: Transaction, run_id: str, fence: int, reservation: Reservation) -> RunRecord:
    run = tx.held_run(run_id, fence, RunState.RESERVED)
    if reservation.number not in (None, run["number"]):
        raise InvalidRequest(f"number={reservation.number}: run {run_id} has number {run['number']}")
    check_point(tx.before["spec_yaml"], reservation.phase, reservation.params)
    changed = tx.change_run(run_id, **_point(reservation))
    tx.event("replaced", run_id, by=run["owner"], detail={"cursor": reservation.cursor})
    return to_run(changed)


def _point(reservation: Reservation) -> dict[str, object]:
    return {item.name: getattr(reservation, item.name) for item in fields(reservation) if item.name != "number"}


def _held(tx: Transaction, owner: Owner, lease_seconds: float) -> dict[str, object]:
    return {"owner": owner, "lease_until": lease_end(tx.now, lease_seconds), "seen_at": tx.now}


def lease_end(now: float, lease_seconds: float) -> float | None:
    """When the lease is over, None for an endless one."""
    check_lease(lease_seconds)
    return now + lease_seconds if math.isfinite(lease_seconds) else None


def start(tx: Transaction, run_id: str, fence: int, num_gpus: float) -> AttemptRecord:
    run = tx.held_run(run_id, fence, RunState.RESERVED, RunState.INTERRUPTED)
    if run["owner"] is None:
        raise Fenced(f"run {run_id}: nobody holds it; claim it before you start it")
    number = run["attempts"] + 1
    started_at = run["started_at"] or tx.now
    tx.change_run(run_id, state=RunState.RUNNING, attempts=number, started_at=started_at, seen_at=tx.now)
    row = {"run_id": run_id, "number": number, "num_gpus": num_gpus, "started_at": tx.now, **NEW_ATTEMPT}
    attempt = tx.connection.execute(insert(attempts).returning(attempts), row).mappings().one()
    tx.event("started", run_id, by=run["owner"], detail={"attempt": number})
    return decode(AttemptRecord, dict(attempt))


def record_nodes(tx: Transaction, run_id: str, fence: int, nodes: Sequence[str]) -> None:
    run = tx.held_run(run_id, fence, RunState.RUNNING)
    this_attempt = (attempts.c.run_id == run_id, attempts.c.number == run["attempts"])
    tx.connection.execute(update(attempts).where(*this_attempt).values(nodes=list(nodes)))


def record_progress(tx: Transaction, run_id: str, fence: int, curve: Sequence[JsonObject]) -> None:
    tx.held_run(run_id, fence, RunState.RUNNING)
    of_run = select(curve_points.c.env_steps).where(curve_points.c.run_id == run_id)
    known = set(tx.connection.execute(of_run).scalars())
    _insert_curve(tx, run_id, [point for point in curve if _env_steps(point) not in known])
    tx.change_run(run_id, seen_at=tx.now)


def _insert_curve(tx: Transaction, run_id: str, curve: Sequence[JsonObject]) -> None:
    points = {_env_steps(point): point for point in curve}
    if points:
        rows = [{"run_id": run_id, "env_steps": steps, "point": point} for steps, point in points.items()]
        tx.connection.execute(insert(curve_points), rows)


def _env_steps(point: JsonObject) -> int:
    steps = point.get("env_steps")
    if not isinstance(steps, int) or isinstance(steps, bool) or not 0 <= steps < 2**63:
        raise InvalidRequest(f"curve point: need env_steps, an integer >= 0, got {ascii(steps)[:80]}")
    for name in ("seconds", "score", "score_se"):
        if not isinstance(point.get(name), int | float | None):
            raise InvalidRequest(f"curve point: {name} is not a number, got {ascii(point[name])[:80]}")
    return steps


def _check_costs(name: str, costs: JsonObject) -> None:
    """Costs are seconds by part and clock; readers add them up."""
    for part, clocks in costs.items():
        is_known = part in PARTS and isinstance(clocks, Mapping) and set(clocks) <= CLOCKS
        if not is_known or not all(isinstance(one, int | float) and 0 <= one < math.inf for one in clocks.values()):
            known = f"{', '.join(sorted(PARTS))} with {', '.join(sorted(CLOCKS))}"
            raise InvalidRequest(f"{name}.{part[:80]}: need {known}, each >= 0, got {ascii(clocks)[:80]}")


def heartbeat(tx: Transaction, owner: Owner, run_ids: Sequence[str], lease_seconds: float) -> set[str]:
    """Ids that the owner still holds, their leases extended."""
    mine = (runs.c.sweep == tx.sweep, runs.c.id.in_(run_ids), runs.c.owner == owner, runs.c.state.in_(OPEN_STATES))
    extended = update(runs).where(*mine).values(lease_until=lease_end(tx.now, lease_seconds), seen_at=tx.now)
    held = set(tx.connection.execute(extended.returning(runs.c.id)).scalars())
    lease_clock.wind(tx.connection, held, tx.tick, lease_seconds)
    return held


def interrupt(tx: Transaction, run_id: str, fence: int, reason: str, costs: JsonObject) -> RunRecord:
    run = tx.held_run(run_id, fence, *OPEN_STATES)
    if run["owner"] is None:
        return to_run(run)
    if run["state"] == RunState.RUNNING:
        _check_costs("costs", costs)
        tx.close_attempt(run, ended_at=tx.now, costs=costs, exit_reason=reason)
    tx.event("interrupted", run_id, by=run["owner"], detail={"reason": reason})
    # To nobody is a change of owner: what this owner still sends about the run comes too late.
    return to_run(tx.change_run(run_id, state=RunState.INTERRUPTED, fence=fence + 1, **NOBODY))


def requeue(tx: Transaction, run_id: str, fence: int, reason: str, costs: JsonObject) -> RunRecord:
    run = tx.held_run(run_id, fence, RunState.RUNNING)
    _check_costs("costs", costs)
    tx.close_attempt(run, ended_at=tx.now, costs=costs, exit_reason=reason)
    tx.event("interrupted", run_id, by=run["owner"], detail={"reason": reason})
    # What the attempt that was lost may still send comes too late, though the owner is the same.
    return to_run(tx.change_run(run_id, state=RunState.INTERRUPTED, fence=fence + 1))


def release(tx: Transaction, run_id: str, fence: int) -> RunRecord:
    run = tx.held_run(run_id, fence, RunState.RESERVED, RunState.INTERRUPTED)
    if run["owner"] is None:
        return to_run(run)
    tx.event("released", run_id, by=run["owner"])
    return to_run(tx.change_run(run_id, fence=fence + 1, **NOBODY))


def finish(tx: Transaction, run_id: str, fence: int, observation: NewObservation) -> ObservationRecord | None:
    if tx.run(run_id)["fence"] != fence:
        tx.event("late_result", run_id, by=f"fence {fence}", detail=encode(observation))
        return None
    run = tx.held_run(run_id, fence, RunState.RUNNING)
    _check_costs("costs", observation.costs)
    _check_costs("attempt_costs", observation.attempt_costs)
    sequence = tx.take("next_observation")
    failure = {name: getattr(observation, name) for name in NO_FAILURE}
    failure["log_tail"] = observation.log_tail[-MAX_LOG_CHARACTERS:]
    values = {item.name: getattr(observation, item.name) for item in fields(observation) if item.name != "curve"}
    row = {"sweep": tx.sweep, "sequence": sequence, "run_id": run_id, "created_at": tx.now, "is_withdrawn": False}
    tx.connection.execute(insert(observations), values | row | failure)
    if observation.curve:  # the final curve replaces what attempts reported on the way; without one that stays
        tx.connection.execute(delete(curve_points).where(curve_points.c.run_id == run_id))
        _insert_curve(tx, run_id, observation.curve)
    tx.connection.execute(delete(lease_clocks).where(lease_clocks.c.run_id == run_id))
    tx.close_attempt(run, ended_at=tx.now, costs=observation.attempt_costs, exit_reason=observation.outcome)
    tx.change_run(run_id, state=observation.outcome, ended_at=tx.now, seen_at=tx.now, **NOBODY, **failure)
    told = {name: getattr(observation, name) for name in ("score", "cost_seconds", "failure")}
    tx.event(observation.outcome, run_id, by=run["owner"], detail={**told, "sequence": sequence})
    return queries.observations(tx.connection, tx.sweep, after=sequence - 1, limit=1)[0]


def add_event(tx: Transaction, kind: str, run_id: str | None, by: str, detail: JsonObject) -> None:
    """Somebody's note. What the registry itself tells of a run nobody else can tell: readers add these events up."""
    if not re.fullmatch(EVENT_KIND, kind) or kind in OWN_EVENTS:
        own = ", ".join(sorted(OWN_EVENTS))
        raise InvalidRequest(f"kind={kind[:80]!r}: need 1 to 64 of a-z and _, and none of the registry's own ({own})")
    if run_id is not None:
        tx.run(run_id)  # of this sweep
    tx.event(kind, run_id, by=by, detail=detail)


def remark(tx: Transaction, run_id: str | None, note: str, tags: Sequence[str], by: str) -> RemarkRecord:
    """The last one who writes wins; the log keeps what everybody wrote."""
    if run_id is not None:
        tx.run(run_id)  # of this sweep
    told = RemarkRecord(run_id or "", note.strip(), tuple(tags))
    one = (remarks.c.sweep == tx.sweep, remarks.c.run_id == told.run_id)
    tx.connection.execute(delete(remarks).where(*one))
    if told.note or told.tags:
        tx.connection.execute(insert(remarks), {"sweep": tx.sweep, **encode(told)})
    tx.event(REMARKED, run_id, by=by, detail={"note": told.note, "tags": list(told.tags)})
    return told


def retry(tx: Transaction, run_id: str, by: str) -> RunRecord:
    run = tx.run(run_id)
    if run["state"] != RunState.FAILED:
        raise IllegalTransition(f"run {run_id}: is {run['state']}; only failed runs can be retried")
    tx.connection.execute(update(observations).where(observations.c.run_id == run_id).values(is_withdrawn=True))
    tx.event("retry", run_id, by=by, detail={"failure": run["failure"], "message": run["message"]})
    fence, state = run["fence"] + 1, RunState.INTERRUPTED
    return to_run(tx.change_run(run_id, state=state, fence=fence, ended_at=None, **NO_FAILURE))


def delete_sweep(tx: Transaction, dead: Collection[Owner], force: bool) -> None:
    """Remove every row of the sweep; `dead` are owners known to be dead."""
    ends = lease_clock.ends(tx.connection, tx.sweep, tx.tick)
    live = [] if force else [run["id"] for run in _opened(tx) if not _is_free(run, ends.get(run["id"]), tx, dead)]
    if live:
        some = ", ".join(live[:3]) + (f" and {len(live) - 3} more" if len(live) > 3 else "")
        raise IllegalTransition(f"sweep {tx.sweep}: somebody works on {some}; `stop --now` it first, or force it")
    of_runs = select(runs.c.id).where(runs.c.sweep == tx.sweep)
    for table in (answers, events, observations, remarks):
        tx.connection.execute(delete(table).where(table.c.sweep == tx.sweep))
    for table in (curve_points, attempts, lease_clocks):
        tx.connection.execute(delete(table).where(table.c.run_id.in_(of_runs)))
    tx.connection.execute(delete(runs).where(runs.c.sweep == tx.sweep))
    tx.connection.execute(delete(sweeps).where(sweeps.c.name == tx.sweep))


def claim(tx: Transaction, owner: Owner, lease_seconds: float, dead: Collection[Owner]) -> list[RunRecord]:
    """Take over what nobody alive holds; `dead` are owners known to be dead."""
    ends = lease_clock.ends(tx.connection, tx.sweep, tx.tick)
    others = [row for row in _opened(tx) if row["owner"] is None or decode(Owner, row["owner"]) != owner]
    free = [row for row in others if _is_free(row, ends.get(row["id"]), tx, dead)]
    for row in others:
        if row["id"] not in ends and row["lease_until"] is not None and row["seen_at"] > tx.now + SKEW_SECONDS:
            _measure_anew(tx, row, lease_seconds)  # harmless for those that are taken over now
    return [_take_over(tx, row, owner, lease_seconds) for row in free]


def _opened(tx: Transaction) -> Sequence[RowMapping]:
    opened = select(runs).where(runs.c.sweep == tx.sweep, runs.c.state.in_(OPEN_STATES))
    return tx.connection.execute(opened.order_by(runs.c.number + 0)).mappings().all()  # by state, see `queries.runs`


def _is_free(run: RowMapping, ends_at: float | None, tx: Transaction, dead: Collection[Owner]) -> bool:
    if run["owner"] is None or decode(Owner, run["owner"]) in dead:
        return True
    return lease_clock.is_over(run, ends_at, tx.tick, tx.now)


def _measure_anew(tx: Transaction, run: RowMapping, lease_seconds: float) -> None:
    """A lease of before the host's last start, given at a time still to come, begins now: the clock was set back."""
    tx.change_run(run["id"], lease_until=min(run["lease_until"], tx.now + lease_seconds), seen_at=tx.now)
    lease_clock.wind(tx.connection, [run["id"]], tx.tick, lease_seconds)


def _take_over(tx: Transaction, run: RowMapping, owner: Owner, lease_seconds: float) -> RunRecord:
    state = run["state"]
    if state == RunState.RUNNING:
        state = RunState.INTERRUPTED
        tx.close_attempt(run, ended_at=run["seen_at"], costs={}, exit_reason="lost")
    before = f"{run['owner']['host']}:{run['owner']['pid']}" if run["owner"] else ""
    tx.event("claimed", run["id"], by=owner, detail={"from": before, "state": run["state"]})
    lease_clock.wind(tx.connection, [run["id"]], tx.tick, lease_seconds)
    return to_run(tx.change_run(run["id"], state=state, fence=run["fence"] + 1, **_held(tx, owner, lease_seconds)))
