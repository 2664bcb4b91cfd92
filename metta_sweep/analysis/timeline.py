"""Who did what when: attempts as spans on lanes, one lane per slot of a node, and the time that lanes stood idle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from metta_sweep.analysis.frame import PARTS
from metta_sweep.registry.records import FINAL_STATES, AttemptRecord

COLUMNS = ("lane", "node", "run_id", "attempt", "kind", "start", "end", "num_gpus")


@dataclass(frozen=True, slots=True)
class _Placed:
    attempt: AttemptRecord
    node: str
    slot: int
    end: float


def spans(attempts: Sequence[AttemptRecord], now: float) -> pd.DataFrame:
    """Spans with the columns `COLUMNS`, epoch seconds, ordered by lane and start.

    An attempt stands on the lanes of its nodes, as `node/slot`; slots are the fewest that keep attempts of a node
    apart. Its parts follow each other as set-up, training, curve points, evaluation, scaled to its length: only their
    durations are known. Gaps between attempts are idle.
    """
    rows = []
    last: dict[str, float] = {}
    for one in sorted(_placed(attempts, now), key=lambda placed: placed.attempt.started_at):
        lane, start = f"{one.node}/{one.slot}", one.attempt.started_at
        if lane in last and start > last[lane]:
            rows.append((lane, one.node, "", 0, "idle", last[lane], start, one.attempt.num_gpus))
        last[lane] = one.end
        rows += [
            (lane, one.node, one.attempt.run_id, one.attempt.number, *part, one.attempt.num_gpus)
            for part in _parts(one.attempt, one.end)
        ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(("start", "end", "num_gpus"), "float64"))
    return frame.sort_values(["lane", "start"], kind="stable", ignore_index=True)


def idle_seconds(table: pd.DataFrame) -> float:
    """Slot seconds (GPU seconds where attempts held GPUs) between attempts."""
    idle = table[table["kind"] == "idle"]
    return float(((idle["end"] - idle["start"]) * idle["num_gpus"].where(idle["num_gpus"] > 0, 1.0)).sum())


def _placed(attempts: Sequence[AttemptRecord], now: float) -> list[_Placed]:
    """Each attempt on each of its nodes, in the first slot that is free."""
    free_at: dict[str, list[float]] = defaultdict(list)
    placed = []
    for attempt in sorted(attempts, key=lambda one: one.started_at):
        end = attempt.ended_at if attempt.ended_at is not None else now
        for node in dict.fromkeys(attempt.nodes or ("unknown node",)):
            slots = free_at[node]
            slot = next((index for index, until in enumerate(slots) if until <= attempt.started_at), len(slots))
            slots[slot : slot + 1] = [end]
            placed.append(_Placed(attempt, node, slot, end))
    return placed


def _parts(attempt: AttemptRecord, end: float) -> list[tuple[str, float, float]]:
    """(kind, start, end) of an attempt."""
    start = attempt.started_at
    if attempt.ended_at is None:
        return [("running", start, end)]
    if attempt.exit_reason not in FINAL_STATES:
        return [("interrupted", start, end)]
    lengths = [float(attempt.costs.get(part, {}).get("wall_seconds", 0.0)) for part in PARTS]
    scale = (end - start) / sum(lengths) if sum(lengths) > 0 else 0.0
    parts, at = [], start
    for kind, length in zip(PARTS, lengths, strict=True):
        if length > 0:
            parts.append((kind, at, at + length * scale))
            at += length * scale
    return parts or [("train", start, end)]
