"""Training history of a run, read from its directory and from the registry, as rows for WandB."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

LONG_AGO = 1e9  # 2001: no run is older


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run's history is mirrored.

    Attributes:
        env_steps: of the last row of `metrics.jsonl`; rows at or below it are work that was redone after a checkpoint.
        curve_env_steps: of the last learning-curve point.
        step: last step number used in WandB, which takes steps in rising order only.
    """

    env_steps: int = -1
    curve_env_steps: int = -1
    step: int = -1


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a run's history: step in WandB, values, position once it is sent, when it was so (None = unknown)."""

    step: int
    values: Mapping[str, float | int | str | bool]
    position: Position
    time: float | None = None


@dataclass(slots=True)
class Times:
    """When what a run tells was so; epoch seconds. A mirror sends many rows at once, and a short run all of them.

    Attributes:
        points: of each learning-curve point, by its env steps.
        span: first and last moment and env steps of a run that ended, for rows that say no time; None while it runs.
    """

    points: dict[int, float] = field(default_factory=dict)
    span: tuple[float, float, int] | None = None

    def note(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take in rows of the run's files; those with a score are points of its curve."""
        for row in rows:
            if "score" in row and "env_steps" in row and (reported := time_in(row)) is not None:
                self.points[int(row["env_steps"])] = reported

    def of(self, env_steps: int, reported: float | None) -> float | None:
        """What the row says, else the time of the point at these steps, else the share of the run's time."""
        known = self.points.get(env_steps) if reported is None else reported
        if known is not None or self.span is None:
            return known
        start, end, total = self.span
        return start + (end - start) * min(env_steps / max(total, 1), 1.0)


class MetricsFile:
    """Whole lines of a growing `metrics.jsonl`, each read once; starts again when the file became shorter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new(self) -> list[dict[str, Any]]:
        """Rows since the last call, in file order. A line that is not a JSON object is logged and left out."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if size < self._offset:
            self._offset = 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read(size - self._offset)
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [row for line in whole.splitlines() if (row := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            logger.warning("%s: not a JSON object, left out: %.80r", self._path, line)
            return None
        return row


def new_rows(
    metrics: Sequence[Mapping[str, Any]],
    curve: Sequence[Mapping[str, Any]],
    position: Position,
    times: Times | None = None,
) -> Iterator[Row]:
    """Rows above `position`, in the order of their env steps.

    A training row keeps its names (nested ones joined with "/"); a curve point becomes `curve/env_steps`,
    `curve/seconds`, `curve/score`. The step is the row's env steps, or one more than the last step when that is taken:
    a curve point that arrives late is shown at its own `curve/env_steps`.
    """
    times = times or Times()
    rows = [(int(row["env_steps"]), 0, training_values(row), time_in(row)) for row in metrics if "env_steps" in row]
    rows += [(int(point["env_steps"]), 1, flatten({"curve": point}), None) for point in curve]
    for env_steps, is_curve, values, reported in sorted(rows, key=lambda row: row[:2]):
        if env_steps <= (position.curve_env_steps if is_curve else position.env_steps):
            continue
        step = max(env_steps, position.step + 1)
        position = replace(position, step=step, **{"curve_env_steps" if is_curve else "env_steps": env_steps})
        yield Row(step, values, position, times.of(env_steps, reported))


def training_values(row: Mapping[str, Any]) -> dict[str, float | int | str | bool]:
    """What a row says of training.

    Its `score` is a curve point, which the registry has, too: WandB would show it as the score of a failed run.
    """
    left_out = ("score",) if time_in(row) is None else ("score", "time")
    return flatten({key: value for key, value in row.items() if key not in left_out})


def time_in(row: Mapping[str, Any]) -> float | None:
    """What a row's `time` says; None for what can be no time of the clock, such as seconds since a start."""
    reported = row.get("time")
    if isinstance(reported, bool) or not isinstance(reported, float | int):
        return None
    return float(reported) if LONG_AGO < reported < math.inf else None


def flatten(tree: Mapping[str, Any], separator: str = "/") -> dict[str, float | int | str | bool]:
    """Scalars of a nested mapping by path; lists and nulls are left out."""
    flat: dict[str, float | int | str | bool] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}{separator}{path}": below for path, below in flatten(value, separator).items()}
        elif isinstance(value, float | int | str | bool):
            flat[str(key)] = value
    return flat
