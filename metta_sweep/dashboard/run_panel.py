"""Everything about one run: what it was, why it was tried, what came of it, what it cost, where its files are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dash import dcc, html

from metta_sweep.analysis.frame import METRIC, PARTS
from metta_sweep.analysis.names import cut_id
from metta_sweep.dashboard import tables
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.curves import run_curve
from metta_sweep.dashboard.figures.theme import Look
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.registry.records import IMPORTED_FROM, RunRecord, RunState

THRESHOLD = re.compile(r"threshold ([-+\d.e]+\d)")
ID_ROOM = 40  # characters of the run's id at the head of its panel: one line
WANDB_URL = "https://wandb.ai"


def run_panel(snapshot: Snapshot, run_id: str, data_dir: Path, look: Look) -> list[Any]:
    """The panel's children."""
    record = snapshot.records[run_id]
    row: Mapping[Any, Any] = snapshot.all_runs[snapshot.all_runs["id"] == run_id].to_dict("records")[0]
    params = {path: theme.number(value) for path, value in record.params.items()}
    return [
        heading(record, row),
        *section("Configuration", pairs(params, is_code=True)),
        *section("Result", pairs(result(row))),
        *section("Why this run", why(record, row)),
        *section("Ended", ending(record)),
        *section("Learning curve", curve(snapshot, record, look)),
        *section("Time and money", pairs(costs(row))),
        *section("Identification", identification(snapshot, record, data_dir)),
    ]


def section(title: str, children: Sequence[Any]) -> list[Any]:
    """A heading and what is below it; nothing at all when there is nothing to say."""
    return [html.H3(title, className="h6 mt-3 mb-1"), *children] if children else []


def pairs(values: Mapping[str, str], *, is_code: bool = False) -> list[Any]:
    """A two-column table of what is known."""
    rows = [(html.Code(name) if is_code else name, value) for name, value in values.items() if value != "–"]
    return [html.Div(tables.table((), rows, label="values"), className="pairs")] if rows else []


def heading(record: RunRecord, row: Mapping[Any, Any]) -> html.Div:
    score = theme.number(row["score"])
    error = "" if math.isnan(row["standard_error"]) else f" ± {theme.number(row['standard_error'], 2)}"
    phase = f" · {record.phase}" if record.phase else ""
    words = f"{record.state.value}{phase} · score {score}{error}"
    return html.Div(
        [html.Div(cut_id(record.id, ID_ROOM), title=record.id, className="fs-5 fw-semibold"), html.Div(words)]
    )


def result(row: Mapping[Any, Any]) -> dict[str, str]:
    metrics = [name for name in map(str, row) if name.startswith(METRIC)]
    values = {name.removeprefix(METRIC): theme.number(row[name]) for name in metrics}
    return {"score": theme.number(row["score"]), **values, "env_steps": theme.number(row["env_steps"] or None)}


def why(record: RunRecord, row: Mapping[Any, Any]) -> list[Any]:
    """The optimiser's reasons at the moment of the suggestion, and how right it was."""
    known = record.explanation
    if not known:
        return []
    words = [html.P(str(known.get("reason", "")), className="mb-1")] if known.get("reason") else []
    values = {
        "origin": str(known.get("origin", "–")),
        "acquisition": theme.number(known.get("acquisition")),
        "chance to succeed": theme.number(known.get("success_probability"), 3),
        "results it knew": theme.number(known.get("observations")),
        "predicted score": interval(known.get("predicted_score")),
        "score": theme.number(row["score"]),
        "surprise": surprise(known.get("predicted_score"), row["score"]),
        "predicted cost": interval(known.get("predicted_cost"), lambda value: theme.seconds(float(value))),
        "cost": theme.seconds(row["cost_seconds"]),
    }
    return [*words, *pairs(values), *nearest(known.get("nearest") or ())]


def interval(known: object, show: Callable[[Any], str] = theme.number) -> str:
    if not isinstance(known, Mapping):
        return "–"
    mean, low, high = (show(known[key]) for key in ("mean", "low", "high"))
    return f"{mean} (90 %: {low} to {high})"


def surprise(known: object, score: float) -> str:
    """Where the outcome lies against the predicted interval."""
    if not isinstance(known, Mapping) or math.isnan(score):
        return "–"
    if known["low"] <= score <= known["high"]:
        return "inside the predicted interval"
    side, bound = ("above", known["high"]) if score > known["high"] else ("below", known["low"])
    return f"{side} the predicted interval by {theme.number(abs(score - bound), 3)}"


def nearest(points: Sequence[Sequence[Any]]) -> list[Any]:
    """The observed points nearest to the suggestion, by distance in the search space's own scale."""
    if not points:
        return []
    rows = [(theme.number(distance, 3), theme.number(score), params_text(params)) for distance, params, score in points]
    return [
        html.Div("Most similar earlier runs", className="small fw-semibold mt-2"),
        tables.table(("distance", "score", "point"), rows, label="nearest"),
    ]


def params_text(params: Mapping[str, Any]) -> str:
    names = theme.short_names(params)
    return ", ".join(f"{names[path]} {theme.number(value, 3)}" for path, value in params.items())


def ending(record: RunRecord) -> list[Any]:
    """Why it stopped or failed, with the end of its log."""
    parts: list[Any] = []
    if record.message:
        parts.append(html.P(record.message, className="mb-1"))
    if record.signature:
        parts.append(html.P([html.Code(record.signature), f" ({record.failure})"], className="mb-1"))
    if record.log_tail:
        parts.append(html.Details([html.Summary("End of the log"), html.Pre(record.log_tail, className="small")]))
    return parts


def curve(snapshot: Snapshot, record: RunRecord, look: Look) -> list[Any]:
    """The run's learning curve, with the threshold that was in force when the stop rule ended it."""
    points = snapshot.curves[snapshot.curves["id"] == record.id]
    if points.empty:
        return []
    known = THRESHOLD.search(record.message) if record.state is RunState.STOPPED_EARLY else None
    figure = run_curve(points, look, float(known[1]) if known else None)
    return [dcc.Graph(figure=figure, config={"displayModeBar": False})]


def costs(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "run time": theme.seconds(row["wall_seconds"]),
        **{part: theme.seconds(row[f"{part}_seconds"]) for part in PARTS},
        "GPU time": theme.seconds(row["gpu_seconds"]),
        "paid, all attempts": theme.seconds(row["paid_wall_seconds"]),
        "paid": theme.dollars(row["dollars"]),
        "attempts": theme.number(row["attempts"]),
    }


def identification(snapshot: Snapshot, record: RunRecord, data_dir: Path) -> list[Any]:
    """Ids, the run's page in WandB, and its directory."""
    files = str(data_dir / "sweep" / record.sweep / "runs" / record.id)
    copy = dcc.Clipboard(content=files, title="Copy the path", className="d-inline-block ms-2")
    lines: list[Any] = [html.Div(["run ", html.Code(record.id), f", number {record.number}, sweep {record.sweep}"])]
    lines.append(html.Div(["files ", html.Code(files), copy]))
    address = wandb_address(snapshot, record)
    if address:
        lines.append(html.Div(html.A("Open in WandB", href=address, target="_blank", rel="noopener noreferrer")))
    return lines


def wandb_address(snapshot: Snapshot, record: RunRecord) -> str:
    """The run's page: where it was imported from, else where the mirror writes it; "" without an entity."""
    path = str(record.explanation.get(IMPORTED_FROM, "")).split("/")
    if len(path) != 3:
        path = [snapshot.sweep.wandb_entity, snapshot.sweep.wandb_project, record.id]
    entity, project, run_id = path
    words = (quote(word, safe="") for word in (entity, project, "runs", run_id))
    return "/".join([WANDB_URL, *words]) if entity and project else ""
