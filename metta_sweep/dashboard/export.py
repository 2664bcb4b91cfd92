"""Files that leave the dashboard: the runs as CSV and Parquet, a narrowed search as a sweep file."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from metta_sweep.analysis.frame import PARAM, RESULTS
from metta_sweep.config.patches import FinishedRun, one_line, plain_data, without_code
from metta_sweep.config.registered import read_phases
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures.parallel import narrowed_parameters
from metta_sweep.errors import InvalidRequest
from metta_sweep.registry.specs import parse_spec

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """The frame without its dict column; parameters stand in `param.<path>`."""
    return runs.drop(columns="params")


def narrowed_yaml(inputs: FigureInput, *, as_phase: bool) -> str:
    """A sweep file with the brushed ranges as bounds, complete with what its runs have in common.

    `validate` accepts it; where the registry names code to run it asks for that first, as the file's head says.

    Args:
        as_phase: the same sweep with one more phase, for `run --update`; else a new sweep.

    Raises:
        InvalidRequest: the sweep has no specification to narrow.
    """
    sweep = inputs.snapshot.sweep
    if inputs.space is None or not sweep.spec_yaml:
        raise InvalidRequest(f"sweep_name={sweep.name}: has no specification whose space could be narrowed")
    spec = parse_spec(sweep.spec_yaml)
    phases = spec["phases"]
    parameters = narrowed_parameters(inputs.space, inputs.view.narrowed, read_phases(phases)[-1].space)
    narrowed = search_of({**phases[-1], "parameters": parameters})
    content = {**shared_settings(spec), **(search_of(phases[0]) if as_phase else narrowed)}
    if as_phase:
        content["schedule"] = {"phases": [*past_phases(inputs, phases), {"name": "narrowed", "sweep": narrowed}]}
    text = yaml.dump(plain_data(content), Dumper=Plain, sort_keys=False, allow_unicode=True)
    return narrowed_head(inputs, spec, as_phase=as_phase) + text


class Plain(yaml.SafeDumper):
    """YAML without anchors: people will edit it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def narrowed_head(inputs: FigureInput, spec: Mapping[str, Any], *, as_phase: bool) -> str:
    """What was narrowed, and the command that runs the file."""
    name = inputs.snapshot.sweep.name
    ranges = [f"{path} {low:.4g}..{high:.4g}" for path, (low, high) in inputs.view.brush.items() if path not in RESULTS]
    ranges += [f"{path} {' or '.join(choices)}" for path, choices in inputs.view.only.items()]
    groups = [f"{group}={option}" for group, option in spec["choices"].items()]
    asked = [f"{key}=..." for key in without_code(FinishedRun(spec["train"], {}))[1]]  # who runs it says what it runs
    words = [f"sweep_name={name}_narrowed", f"sweep={name}_narrowed"]
    if as_phase:
        words = [f"sweep_name={name}", f"sweep={name}_phase", "--update"]
    command = inputs.snapshot.address.command("run", *words, *groups, *asked)
    lines = (
        f"Sweep {name}, narrowed: {', '.join(ranges) or 'nothing'}",
        f"In configs/sweep, run it with: {command}",
    )
    return "".join(f"# {one_line(line)}\n" for line in lines)


def shared_settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a sweep file says beside its search; an imported sweep knows only its direction.

    What names code to run stands as `???` there: whoever runs the file says it, not whoever wrote the registry.
    """
    if not spec["train"]:
        return {"goal": spec["goal"]}
    train = without_code(FinishedRun(spec["train"], {}))[0].config
    suite = {"sim_name": spec["choices"]["sim"]} if "sim" in spec["choices"] else {}
    settings = {key: spec[key] for key in ("metric", "goal", "method", "cost", "early_stopping")}
    return {**suite, **settings, "sweep_job_overrides": train}


def search_of(phase: Mapping[str, Any]) -> dict[str, Any]:
    return {key: phase[key] for key in ("parameters", "constraints", "protein") if phase[key]}


def past_phases(inputs: FigureInput, phases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The phases so far, each with a name; the last one ends with the runs that it has."""
    past = [
        {"name": one["name"] or "before", "num_runs": one["num_runs"], "auto": one["auto"], "sweep": search_of(one)}
        for one in phases
    ]
    num_runs = int((inputs.snapshot.all_runs["phase"] == phases[-1]["name"]).sum())
    past[-1] |= {"num_runs": max(num_runs, 1), "auto": False}
    return [{key: value for key, value in one.items() if value not in (None, False)} for one in past]


def csv_text(runs: pd.DataFrame) -> str:
    """One line per run, numbers in full precision; no text is a formula to a spreadsheet, see `harmless`."""
    flat = table(runs).rename(columns=harmless)
    texts = [name for name, kind in flat.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    flat = flat.assign(**{str(name): flat[name].astype(object).map(harmless) for name in texts})
    # With CR LF as line ends a CR inside a text is quoted; bare, it would begin a row of its own.
    return flat.to_csv(index=False, lineterminator="\r\n")


def harmless(cell: Any) -> Any:
    """The cell, with an apostrophe before a formula: texts come from programs and from other people's registries.

    Source: OWASP, CSV Injection.
    """
    is_formula = isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA_STARTS) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def parquet_bytes(runs: pd.DataFrame) -> bytes:
    """The same as Parquet; a parameter whose values have several types becomes text."""
    flat = table(runs)
    mixed = [name for name in flat.columns if name.startswith(PARAM) and flat[name].map(type).nunique() > 1]
    buffer = io.BytesIO()
    flat.astype(dict.fromkeys(mixed, "str")).to_parquet(buffer, index=False)
    return buffer.getvalue()
