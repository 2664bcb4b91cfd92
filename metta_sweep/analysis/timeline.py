"""Who did what when: attempts as spans on lanes, one lane per slot, and the time that no run paid for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from metta_sweep.analysis.frame import PARTS
from metta_sweep.analysis.utilisation import Slot, Stay, slots_of
from metta_sweep.registry.records import FINAL_STATES, AttemptRecord

COLUMNS = ("lane", "run_id", "attempt", "kind", "start", "end", "nodes")


def spans(attempts: Sequence[AttemptRecord], now: float) -> pd.DataFrame:
    """Spans with the columns `COLUMNS`, epoch seconds, ordered by lane and start.

    A lane is a slot, `node/slot`. An attempt's parts follow each other as set-up, training, curve points, evaluation,
    each as long as it cost. What is left until its end, and between attempts, is idle: as `utilisation` counts it.
    """
    rows = [row for slot in slots_of(attempts, now) for row in _rows(slot)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"start": "float64", "end": "float64"})
    return frame.sort_values(["lane", "start"], kind="stable", ignore_index=True)


def lane_name(slot: Slot) -> str:
    """`node-a/0`; of a slot that runs moved through, its first node and how many more."""
    nodes = slot.nodes or ("unknown node",)
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"{nodes[0]}{more}/{slot.number}"


def _rows(slot: Slot) -> list[tuple[str, str, int, str, float, float, str]]:
    lane = lane_name(slot)
    rows = [(lane, "", 0, "idle", start, end, "") for start, end in slot.idle]
    for stay in slot.stays:
        one = stay.attempt
        where = " ".join(dict.fromkeys(one.nodes))
        rows += [(lane, one.run_id, one.number, kind, start, end, where) for kind, start, end in _parts(stay)]
    return rows


def _parts(stay: Stay) -> list[tuple[str, float, float]]:
    """(kind, start, end) of an attempt."""
    attempt, at = stay.attempt, stay.start
    if attempt.ended_at is None:
        return [("running", at, stay.paid_until)]
    if attempt.exit_reason not in FINAL_STATES:
        return [("interrupted", at, stay.paid_until)]
    parts = []
    for kind in PARTS:
        seconds = float(attempt.costs.get(kind, {}).get("wall_seconds", 0.0))
        if seconds > 0:
            parts.append((kind, at, at + seconds))
        at += seconds
    return parts or [("train", stay.start, stay.paid_until)]
