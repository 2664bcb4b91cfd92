"""The data frame that every table and figure starts from: one row per run, whatever state it is in.

Columns: `COLUMNS` (always there, in this order), then `param.<path>` for each parameter and `metric.<name>` for each
reported metric. Numbers that are not known are NaN, texts that are not known are "". `params` holds the exact point as
a dict: in the `param.` columns an integer becomes a float where another run lacks that parameter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from metta_sweep.analysis.charges import charged_seconds, paid_seconds
from metta_sweep.registry.reader import Reader
from metta_sweep.registry.records import AttemptRecord, ObservationRecord, RemarkRecord, RunRecord
from trainables.result import Costs, is_score

PARAM = "param."
METRIC = "metric."
PHASES = "phases"  # key in a frame's `attrs`: all phases of the sweep, whichever rows are left
INACTIVE = "inactive"  # how a choice is written that a run does not have
RESULTS = ("cost_seconds", "score")  # what a run took and what it brought, beside its parameters
PARTS = ("setup", "train", "curve", "evaluate")

TEXTS = ("id", "phase", "state", "failure", "signature", "message", "nodes", "tags", "note")
INTEGERS = ("number", "attempts", "sequence", "env_steps")
NUMBERS = (
    "score",
    "standard_error",
    "cost_seconds",
    "wall_seconds",
    "cpu_seconds",
    "gpu_seconds",
    *(f"{part}_seconds" for part in PARTS),
    "paid_wall_seconds",
    "paid_cpu_seconds",
    "paid_gpu_seconds",
    "dollars",
    "predicted_score",
    "predicted_cost",
    "created_at",
    "started_at",
    "ended_at",
)
BLANK = {**dict.fromkeys(TEXTS, ""), **dict.fromkeys(INTEGERS, 0)}
COLUMNS = (*TEXTS, *INTEGERS, *NUMBERS, "params")


def frame(registry: Reader, sweep: str, *, hourly_cost: float | None = None) -> pd.DataFrame:
    """Read one sweep; see `build`.

    Raises:
        UnknownSweep: no sweep of this name.
    """
    registry.get_sweep(sweep)
    found = (registry.runs(sweep), registry.observations(sweep), registry.attempts(sweep), registry.remarks(sweep))
    return build(*found, hourly_cost=hourly_cost)


def build(
    runs: Sequence[RunRecord],
    observations: Sequence[ObservationRecord],
    attempts: Sequence[AttemptRecord],
    remarks: Sequence[RemarkRecord] = (),
    *,
    hourly_cost: float | None = None,
) -> pd.DataFrame:
    """One row per run, by run number.

    `cost_seconds` and `wall_seconds` are what the optimiser sees: training and evaluation of one clean run.
    `cpu_seconds`, `gpu_seconds` and the four parts (wall seconds) are the whole of that clean run. `paid_*` and
    `dollars` sum over all ended attempts, as the budget does.

    Args:
        hourly_cost: dollars per GPU-hour; per slot-hour for runs without GPU; None leaves `dollars` NaN.
    """
    results = {observation.run_id: observation for observation in observations}
    paid = _paid(attempts, hourly_cost)
    written = {one.run_id: {"tags": ", ".join(one.tags), "note": one.note} for one in remarks}
    rows = [
        {
            **BLANK,
            **_run_columns(run),
            **_result_columns(results.get(run.id)),
            **paid.get(run.id, {}),
            **written.get(run.id, {}),
        }
        for run in sorted(runs, key=lambda run: run.number)
    ]
    names = [*COLUMNS, *_sorted_names(rows, PARAM), *_sorted_names(rows, METRIC)]
    whole = _typed(pd.DataFrame.from_records(rows, columns=names) if rows else pd.DataFrame(columns=names))
    whole.attrs[PHASES] = list(dict.fromkeys(whole["phase"]))
    return whole


def param_columns(runs: pd.DataFrame) -> list[str]:
    """Names of the `param.<path>` columns."""
    return [name for name in runs.columns if name.startswith(PARAM)]


def varying_params(runs: pd.DataFrame) -> list[str]:
    """The `param.<path>` columns that hold more than one value."""
    return [name for name in param_columns(runs) if runs[name].nunique() > 1]


def is_number(values: pd.Series[Any]) -> bool:
    """Whether a column holds numbers; true and false are choices."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def as_choices(values: pd.Series[Any]) -> pd.Series[str]:
    """A column of choices as text; `INACTIVE` where a run has no such parameter."""
    return values.astype(object).where(values.notna(), INACTIVE).astype(str)


def scored(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows that ended with a score: completed or stopped early."""
    return runs[runs["score"].notna()]


def _run_columns(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id,
        "number": run.number,
        "phase": run.phase,
        "state": run.state.value,
        "attempts": run.attempts,
        "failure": str(run.failure or ""),
        "signature": run.signature,
        "message": run.message,
        "predicted_score": run.predicted_score,
        "predicted_cost": run.predicted_cost,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "params": dict(run.params),
        **{PARAM + path: value for path, value in run.params.items()},
    }


def _result_columns(record: ObservationRecord | None) -> dict[str, Any]:
    if record is None:
        return {}
    result = record.observation
    costs = Costs.from_dict(result.costs)
    return {
        "sequence": record.sequence,
        "score": result.score if result.score is not None and is_score(result.score) else None,
        "standard_error": result.standard_error,
        "cost_seconds": result.cost_seconds,
        "wall_seconds": result.wall_seconds,
        "cpu_seconds": costs.total.cpu_seconds,
        "gpu_seconds": costs.total.gpu_seconds,
        **{f"{part}_seconds": getattr(costs, part).wall_seconds for part in PARTS},
        "env_steps": result.env_steps,
        "nodes": " ".join(dict.fromkeys(result.nodes)),
        **{METRIC + name: value for name, value in result.metrics.items()},
    }


def _paid(attempts: Iterable[AttemptRecord], hourly_cost: float | None) -> dict[str, dict[str, float]]:
    """Seconds and dollars by run id, summed over attempts."""
    paid: dict[str, dict[str, float]] = {}
    for attempt in attempts:
        sums = paid.setdefault(attempt.run_id, defaultdict(float))
        sums["paid_wall_seconds"] += paid_seconds(attempt)
        sums["paid_cpu_seconds"] += Costs.from_dict(attempt.costs).total.cpu_seconds
        sums["paid_gpu_seconds"] += charged_seconds(attempt, gpus=True)
        price = float("nan") if hourly_cost is None else hourly_cost / 3600.0
        sums["dollars"] += charged_seconds(attempt) * price
    return paid


def _sorted_names(rows: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    return sorted({name for row in rows for name in row if name.startswith(prefix)})


def _typed(runs: pd.DataFrame) -> pd.DataFrame:
    """The same types for an empty sweep as for a full one."""
    kinds = {"str": TEXTS, "int64": INTEGERS, "float64": NUMBERS}
    types = {name: kind for kind, names in kinds.items() for name in names}
    return runs.astype(types).copy()  # in one piece: pandas warns when columns are added to many loose ones
