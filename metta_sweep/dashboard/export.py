"""Files that leave the dashboard: the runs as CSV and Parquet."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import yaml

from metta_sweep.analysis.frame import PARAM, RESULTS
from metta_sweep.dashboard.figures.parallel import narrowed_parameters
from metta_sweep.dashboard.scene import Scene
from metta_sweep.errors import InvalidRequest


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """The frame without its dict column; parameters stand in `param.<path>`."""
    return runs.drop(columns="params")


def narrowed_yaml(scene: Scene, *, as_phase: bool) -> str:
    """The search space with the brushed ranges as bounds: a sweep file, or one phase to append to `schedule.phases`.

    Raises:
        InvalidRequest: the sweep has no specification to narrow.
    """
    if scene.space is None or scene.snapshot.spec is None:
        raise InvalidRequest(f"sweep_name={scene.snapshot.sweep.name}: has no specification whose space could be narrowed")
    spec = scene.snapshot.spec
    parameters = narrowed_parameters(scene.space, {**scene.view.brush, **scene.view.only})
    constraints = [constraint.text for constraint in scene.space.constraints]
    search = {"parameters": parameters, **({"constraints": constraints} if constraints else {})}
    if as_phase:
        content: dict[str, Any] = {"schedule": {"phases": [{"name": "narrowed", "num_runs": 50, "sweep": search}]}}
    else:
        content = {"metric": spec.metric, "goal": spec.goal, "method": spec.method, **search}
    ranges = [f"{path} {low:.4g}..{high:.4g}" for path, (low, high) in scene.view.brush.items() if path not in RESULTS]
    ranges += [f"{path} {' or '.join(choices)}" for path, choices in scene.view.only.items()]
    head = f"# Sweep {scene.snapshot.sweep.name}, narrowed: {', '.join(ranges) or 'nothing'}\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def csv_text(runs: pd.DataFrame) -> str:
    """One line per run, full precision."""
    return table(runs).to_csv(index=False)


def parquet_bytes(runs: pd.DataFrame) -> bytes:
    """The same as Parquet; a parameter whose values have several types becomes text."""
    flat = table(runs)
    mixed = [name for name in flat.columns if name.startswith(PARAM) and flat[name].map(type).nunique() > 1]
    buffer = io.BytesIO()
    flat.astype(dict.fromkeys(mixed, "str")).to_parquet(buffer, index=False)
    return buffer.getvalue()
