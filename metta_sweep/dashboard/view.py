"""What a page shows, as a value: it is the query of the URL, so that a view can be sent to somebody."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import pandas as pd

from metta_sweep.analysis.frame import PARAM, RESULTS, as_choices
from metta_sweep.dashboard.conditions import MAX_CONDITIONS, MAX_TEXT, Condition, finds, holds

Range = tuple[float, float]
HOME = "home"
OVERVIEW = "overview"
PAGES = {
    HOME: "Sweeps",
    OVERVIEW: "Overview",
    "model": "Model",
    "importance": "Importance",
    "curves": "Curves",
    "parallel": "Parallel",
    "timeline": "Timeline",
    "failures": "Failures",
    "health": "Health",
    "runs": "Runs",
}
CURVE_AXES = {"env_steps": "env steps", "seconds": "training time", "dollars": "dollars"}
CORRELATION = "correlation"
MEASURES = {"fanova": "share of the variation (fANOVA)", CORRELATION: "rank correlation of the runs shown"}
COST_AXES = {"cost_seconds": "cost", "wall_seconds": "wall clock", "dollars": "dollars"}
SCALES = {"linear": "linear", "log": "logarithmic"}
PROGRESS_AXES = {
    "result": "number of the result",
    "ended_at": "time",
    "cost_seconds": "cost so far",
    "dollars": "paid so far",
}
COLUMNS = {"main": "Main columns", "all": "All columns"}
SHOW_RUN = ("model", "curves")  # pages whose figures depend on the open run
SHOW_CHOSEN = ("curves", "runs")  # pages whose figures depend on the runs that are chosen in the table
FILTERED = ("overview", "model", "importance", "curves", "parallel", "runs")  # where the ranges count
THEMES = ("light", "dark")
MAX_CHOICES = 100
# As ranges of numbers in the URL: so many are twelve kilobytes, which browsers and proxies still take.
MAX_CHOSEN = 1500
MAX_RANGE = 100_000  # runs of one range: more than a sweep has, and soon counted
MAX_SORTED = 5  # columns; more decide nothing
BRUSH = "brush."
ONLY = "only."
WHERE = "where."
Sort = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class View:
    """State of the page; values from a URL are checked, unknown ones fall back to the default.

    Attributes:
        sweep: name; "" = none chosen.
        page: key of `PAGES`.
        theme: light or dark.
        score: range of scores shown; None = all.
        cost: range of `cost_seconds` shown; None = all.
        brush: ranges of parameters shown, natural units, by dotted path; also of `RESULTS`.
        only: choices of categorical parameters shown, as text, by dotted path.
        run: id of the run whose details are open; "" = none.
        curve_x: key of `CURVE_AXES`.
        cost_axis: key of `COST_AXES`.
        x: dotted path of the parameter on the first axis of slices and contours; "auto" = the most important.
        y: on the second axis.
        measure: of importance, key of `MEASURES`.
        compare: names of the sweeps to compare.
        where: conditions of the table's columns, by column of the frame; they hold for figures and exports as well.
        find: words that a run must have somewhere in its texts.
        sort: columns of the table with asc or desc, the first decides; None = the best score first.
        chosen: numbers of the runs that are chosen in the table, ascending.
        columns: key of `COLUMNS`.
        colour: what runs and curves are coloured by: key of `colouring.COLOURS`, or the dotted path of a parameter.
        curve_scale: of the horizontal axis of curves, of `SCALES`.
        score_scale: of scores, of `SCALES`.
        progress_x: key of `PROGRESS_AXES`.
    """

    sweep: str = ""
    page: str = OVERVIEW
    theme: str = "light"
    score: Range | None = None
    cost: Range | None = None
    brush: Mapping[str, Range] = field(default_factory=dict)
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    run: str = ""
    curve_x: str = "env_steps"
    cost_axis: str = "cost_seconds"
    x: str = "auto"
    y: str = "auto"
    measure: str = "fanova"
    compare: tuple[str, ...] = ()
    where: Mapping[str, Condition] = field(default_factory=dict)
    find: str = ""
    sort: Sort | None = None
    chosen: tuple[int, ...] = ()
    columns: str = "main"
    colour: str = "auto"
    curve_scale: str = "log"
    score_scale: str = "linear"
    progress_x: str = "result"

    @classmethod
    def from_search(cls, search: str, default_sweep: str = "", theme: str = "light") -> View:
        """Read the query of a URL; `theme` holds unless it names one."""
        query = {
            key: value if _is_list(key) else value[:MAX_TEXT]
            for key, value in parse_qsl(search.removeprefix("?"), keep_blank_values=False, max_num_fields=100)
        }
        sweep = query.get("sweep", default_sweep)
        return cls(
            sweep=sweep,
            page=_one_of(query.get("page"), PAGES, OVERVIEW if sweep else HOME),
            theme=_one_of(query.get("theme"), THEMES, _one_of(theme, THEMES, "light")),
            score=read_range(query.get("score", "")),
            cost=read_range(query.get("cost", "")),
            brush={path: limits for path, text in _below(BRUSH, query) if (limits := read_range(text)) is not None},
            only={
                path: tuple(unquote(choice)[:MAX_TEXT] for choice in text.split(",")[:MAX_CHOICES])
                for path, text in _below(ONLY, query)
            },
            run=query.get("run", ""),
            curve_x=_one_of(query.get("curve_x"), CURVE_AXES, "env_steps"),
            cost_axis=_one_of(query.get("cost_axis"), COST_AXES, "cost_seconds"),
            x=query.get("x", "auto"),
            y=query.get("y", "auto"),
            measure=_one_of(query.get("measure"), MEASURES, "fanova"),
            compare=tuple(name[:MAX_TEXT] for name in query.get("compare", "").split(",")[:MAX_CHOICES] if name),
            where={
                column: one
                for column, text in _below(WHERE, query)[:MAX_CONDITIONS]
                if (one := Condition.of_text(text)) is not None
            },
            find=query.get("find", ""),
            sort=read_sort(query["sort"]) if "sort" in query else None,
            chosen=read_numbers(query.get("chosen", "")),
            columns=_one_of(query.get("columns"), COLUMNS, "main"),
            colour=query.get("colour", "auto"),
            curve_scale=_one_of(query.get("curve_scale"), SCALES, "log"),
            score_scale=_one_of(query.get("score_scale"), SCALES, "linear"),
            progress_x=_one_of(query.get("progress_x"), PROGRESS_AXES, "result"),
        )

    def to_search(self) -> str:
        """The query for this view; defaults are left out, so that URLs stay short."""
        default = View(sweep=self.sweep, page=OVERVIEW if self.sweep else HOME)
        words: dict[str, str] = {"sweep": self.sweep} if self.sweep else {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("sweep", "brush", "only", "where") or value == getattr(default, item.name):
                continue
            words[item.name] = WRITERS.get(item.name, str)(value)
        words |= {BRUSH + path: write_range(limits) for path, limits in self.brush.items()}
        words |= {ONLY + path: ",".join(quote(one, safe="") for one in some) for path, some in self.only.items()}
        words |= {WHERE + column: one.to_text() for column, one in self.where.items()}
        return "?" + urlencode(words, safe=",~")

    def drawn(self) -> str:
        """The query of all that the figures of this page depend on: they are not drawn again for anything else."""
        run = self.run if self.page in SHOW_RUN else ""
        chosen = self.chosen if self.page in SHOW_CHOSEN else ()
        return replace(self, run=run, chosen=chosen, sort=None, columns="main").to_search()

    @property
    def narrowed(self) -> dict[str, Sequence[Any]]:
        """What each axis of the parallel coordinates is narrowed to: a range or choices, by dotted path."""
        return {**self.brush, **self.only}

    @property
    def is_filtered(self) -> bool:
        """Whether any range or choice leaves runs out."""
        return bool(self.score or self.cost or self.brush or self.only or self.where or self.find)


def filtered(runs: pd.DataFrame, view: View) -> pd.DataFrame:
    """Rows inside the view's ranges.

    Runs without a score are kept by the score range, runs without a cost by the cost range.
    """
    keep = pd.Series(True, index=runs.index)
    for column, limits in (("score", view.score), ("cost_seconds", view.cost)):
        if limits is not None:
            keep &= runs[column].between(*_widened(limits)) | runs[column].isna()
    for path, limits in view.brush.items():
        column = path if path in RESULTS else PARAM + path
        if column in runs.columns and pd.api.types.is_numeric_dtype(runs[column]):
            keep &= runs[column].between(*_widened(limits))
    for path, choices in view.only.items():
        if PARAM + path in runs.columns:
            keep &= as_choices(runs[PARAM + path]).isin(choices)
    return in_table(runs[keep], view)


def in_table(runs: pd.DataFrame, view: View) -> pd.DataFrame:
    """Rows that the table leaves when it filters by its columns and its search."""
    for column, condition in view.where.items():
        if column in runs.columns:
            runs = runs[holds(runs[column], condition)]
    return runs[finds(runs, view.find)] if view.find else runs


def _widened(limits: Range) -> Range:
    """A range that still holds its own ends after they were rounded for the URL."""
    slack = 1e-6 * max(abs(limits[0]), abs(limits[1]))
    return limits[0] - slack, limits[1] + slack


def read_range(text: str) -> Range | None:
    """`low~high`; None when it is no such thing."""
    low, _, high = text.partition("~")
    try:
        limits = float(low), float(high)
    except ValueError:
        return None
    return limits if all(map(math.isfinite, limits)) and limits[0] <= limits[1] else None


def write_range(limits: Range) -> str:
    return f"{limits[0]:.7g}~{limits[1]:.7g}"


def read_sort(text: str) -> Sort:
    """`column~asc,column~desc`; what is no such thing is left out."""
    pairs = [part.rpartition("~") for part in text.split(",")[:MAX_SORTED]]
    return tuple((unquote(column), way) for column, _, way in pairs if column and way in ("asc", "desc"))


def write_sort(sort: Sort) -> str:
    return ",".join(f"{quote(column, safe='')}~{way}" for column, way in sort) or "none"


def read_numbers(text: str) -> tuple[int, ...]:
    """`1-3,7` as numbers; at most `MAX_CHOSEN` ranges of run numbers, which have nine digits at most."""
    numbers: set[int] = set()
    for part in text.split(",")[:MAX_CHOSEN]:
        low, dash, high = part.partition("-")
        if low.isdecimal() and (high.isdecimal() or not dash) and len(part) < 20:
            numbers.update(range(int(low), min(int(high or low), int(low) + MAX_RANGE) + 1))
    return tuple(sorted(numbers))


def write_numbers(numbers: Sequence[int]) -> str:
    """Numbers, ascending, with neighbours as ranges."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges[:MAX_CHOSEN])


WRITERS: dict[str, Callable[[Any], str]] = {
    "score": write_range,
    "cost": write_range,
    "compare": ",".join,
    "sort": write_sort,
    "chosen": write_numbers,
}


def _below(prefix: str, query: Mapping[str, str]) -> list[tuple[str, str]]:
    """What follows the prefix in each key that has it, with the key's value."""
    return [(key.removeprefix(prefix), value) for key, value in query.items() if key.startswith(prefix)]


def _is_list(key: str) -> bool:
    """Whether a key of the query holds several texts: a list cut short would end in the middle of one."""
    return key in ("compare", "sort", "chosen") or key.startswith((ONLY, WHERE))


def _one_of(value: str | None, known: object, default: str) -> str:
    return value if value is not None and value in known else default  # type: ignore[operator]
