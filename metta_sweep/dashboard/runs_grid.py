"""The table of runs as AG Grid takes it: its columns, and its rows, or what is new in them.

A run is a row; parameters and metrics are columns, under their names in the frame. The browser sorts, filters and
scrolls by itself: it is sent every run once, and then those that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from metta_sweep.analysis.frame import METRIC, PARAM, is_number
from metta_sweep.dashboard.conditions import NUMBERS, SEARCHED, TEXTS, Condition, shown
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.view import Sort, View

PIXELS_PER_LETTER = 8  # of a header at the page's size of text, with some room
MAX_WIDTH = 220
DEBOUNCE_MILLISECONDS = 250  # after the last key: between two letters of a word that is being typed


def column_type(kind: str, options: Iterable[str]) -> dict[str, Any]:
    """What columns of numbers, or of texts, have in common."""
    more = {"maxNumConditions": 1, "debounceMs": DEBOUNCE_MILLISECONDS, "buttons": ["reset"], "inRangeInclusive": True}
    return {"filter": kind, "filterParams": {"filterOptions": list(options), **more}}


TYPES = {
    "number": column_type("agNumberColumnFilter", NUMBERS),
    "text": column_type("agTextColumnFilter", TEXTS),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column that every sweep may have.

    Attributes:
        title: in the head.
        help: on hovering over it.
        format: function of `dashAgGridFunctions` that writes its numbers; "" for texts.
        width: in pixels; 0 = by its title.
        is_main: whether it is shown without asking for all columns.
    """

    title: str
    help: str
    format: str = ""
    width: int = 0
    is_main: bool = True

    def written(self, value: Any, unknown: str = "–") -> str:
        """The value in words, as the browser writes it."""
        return unknown if value is None or value != value else FORMATS[self.format](value)


NUMBER, TIME, MONEY = "shortNumber", "duration", "dollars"
FORMATS: dict[str, Callable[[Any], str]] = {
    "": str,
    NUMBER: theme.number,
    TIME: theme.seconds,
    MONEY: theme.dollars,
}
BEFORE = {
    "state": Column("state", "How the run ended, or what it does", width=120),
    "phase": Column("phase", "Phase of the schedule", width=110),
    "score": Column("score", "The sweep's metric", NUMBER),
    "standard_error": Column("±", "Standard error of the score, as the run reported it", NUMBER, 80),
    "cost_seconds": Column("cost", "What the optimiser counts: one clean run, in the sweep's own clock", TIME, 110),
    "dollars": Column("paid", "Over all attempts", MONEY, 90),
    "tags": Column("tags", "Written by people, in the run's panel", width=140),
    "note": Column("note", "Written by people, in the run's panel", width=200),
}
AFTER = {
    "message": Column("message", "Why it ended", width=320),
    "env_steps": Column("env steps", "Steps that the run trained for", NUMBER, 110, is_main=False),
    "wall_seconds": Column("run time", "Wall clock of one clean run", TIME, 100, is_main=False),
    "gpu_seconds": Column("GPU time", "Seconds of GPU of one clean run", TIME, 100, is_main=False),
    "predicted_score": Column("predicted score", "By the optimiser, when it suggested the run", NUMBER, is_main=False),
    "predicted_cost": Column("predicted cost", "By the optimiser, when it suggested the run", TIME, is_main=False),
    "attempts": Column("attempts", "How often it was started", NUMBER, is_main=False),
    "nodes": Column("nodes", "Where it ran last", width=140, is_main=False),
    "failure": Column("failure", "Kind of failure", width=140, is_main=False),
}


def columns_of(runs: pd.DataFrame) -> dict[str, Column]:
    """Columns that say something about these runs, in order, without the run's own."""
    names = theme.short_names(name.removeprefix(PARAM) for name in runs.columns if name.startswith(PARAM))
    found = dict(BEFORE)
    for name in runs.columns:
        path = name.removeprefix(PARAM)
        if name.startswith(PARAM):
            found[name] = Column(names[path], f"parameter {path}", NUMBER if is_number(runs[name]) else "", 0)
    found |= {
        name: Column(name.removeprefix(METRIC), "Reported by the run", NUMBER, is_main=False)
        for name in runs.columns
        if name.startswith(METRIC)
    }
    return {name: one for name, one in {**found, **AFTER}.items() if says_something(runs[name])}


def says_something(values: pd.Series[Any]) -> bool:
    return bool((values.notna() & (values != "")).any())


def definitions(runs: pd.DataFrame, view: View, goal: str) -> list[dict[str, Any]]:
    """AG Grid's `columnDefs`; what the view sorts by and filters stands in them and in `filter_model`."""
    sort = default_sort(goal) if view.sort is None else view.sort
    first = {
        "headerName": "run",
        "headerTooltip": "Click, or press Enter, for everything about a run",
        "tooltipField": "id",
        "pinned": "left",
        "lockPinned": True,
        "initialWidth": 96,
        "cellClass": "run-cell ag-right-aligned-cell",
        "valueFormatter": {"function": "'#' + params.value"},
        **_kind("number", True),
    }
    columns = columns_of(runs)
    defined = [first, *(_definition(name, one, view.columns == "all") for name, one in columns.items())]
    for order, (name, way) in enumerate(sort):
        for one in defined:
            if one["field"] == name:
                one |= {"initialSort": way, "initialSortIndex": order}
    return defined


def _definition(name: str, column: Column, shows_all: bool) -> dict[str, Any]:
    width = column.width or min(max(len(column.title) * PIXELS_PER_LETTER + 56, 96), MAX_WIDTH)
    more: dict[str, Any] = {"tooltipField": name} if not column.format else {}
    if column.format:
        more["valueFormatter"] = {"function": f"{column.format}(params.value)"}
    hidden = {"hide": not (column.is_main or shows_all), "context": "main" if column.is_main else "more"}
    title = {"headerName": column.title, "headerTooltip": column.help}
    return {**title, "initialWidth": width, **hidden, **more, **_kind(name, bool(column.format))}


def _kind(name: str, has_numbers: bool) -> dict[str, Any]:
    """Field, filter and alignment of a column."""
    return {"field": name, "colId": name, "type": ["rightAligned", "number"] if has_numbers else "text"}


def default_sort(goal: str) -> Sort:
    """The best score first."""
    return (("score", "asc" if goal == "minimize" else "desc"),)


def filter_model(runs: pd.DataFrame, where: Mapping[str, Condition]) -> dict[str, Any]:
    """AG Grid's filter model for the conditions of a view."""
    known = {name: is_number(runs[name]) for name in where if name in runs.columns}
    return {name: where[name].to_model(has_numbers=has_numbers) for name, has_numbers in known.items()}


def cells(values: pd.Series[Any]) -> list[Any]:
    """A column as JSON: numbers in full precision, texts as they are shown, None for what is not known."""
    if is_number(values):
        return values.astype(object).where(values.notna(), None).tolist()
    return [text or None for text in shown(values)]


def news(
    runs: pd.DataFrame, defined: Sequence[Mapping[str, Any]], asked: Asked, have: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """What the browser's rows lack: all of them where it has others, else those that changed; None for nothing.

    Args:
        runs: what the table shall hold.
        have: `key` and `revision` of what the browser has.
    """
    names = [one["field"] for one in defined]
    key = "|".join([asked.key, *names])
    is_whole = have is None or have.get("key") != key
    changed, gone = runs, []
    if not is_whole:
        since = int((have or {}).get("revision", 0))
        told = [run_id for run_id, at in asked.changed_at.items() if at > since]
        changed = runs[runs["id"].isin(told)]
        gone = sorted(set(told) - set(changed["id"]))
        if not told:
            return None
    texts = [name for name in (*SEARCHED, *names) if name in runs.columns and not is_number(runs[name])]
    return {
        "key": key,
        "revision": asked.revision,
        "whole": is_whole,
        "gone": gone,
        "columns": list(defined) if is_whole else None,
        "texts": list(dict.fromkeys(name for name in texts if name in SEARCHED or name.startswith(PARAM))),
        "values": {name: cells(changed[name]) for name in dict.fromkeys(["id", *names, *SEARCHED]) if name in changed},
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows: another `key` means others; `changed_at` is the revision of each run's last change."""

    key: str
    revision: int
    changed_at: Mapping[str, int]
