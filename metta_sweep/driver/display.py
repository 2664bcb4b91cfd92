"""What a driver shows, and what it makes of its terminal: a live table or plain lines, signals, Ray's own output."""

from __future__ import annotations

import io
import logging
import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from metta_sweep.config.job import SweepJob
from metta_sweep.driver.messages import Event, LiveRun, StopAsked
from metta_sweep.driver.rules import STOPPED_BY_USER, cost_clock
from metta_sweep.driver.state import State
from metta_sweep.registry.records import RunState
from trainables.result import Outcome

REFRESH_SECONDS = 0.5  # not tuned: a person sees it move
HEADLINE_SECONDS = 60.0  # a guess, for logs: a line a minute says that it lives, and fills no disk
PLAIN_WIDTH = 200  # columns of a file or pipe, in place of Rich's 80, which would cut tables; not tuned
MAX_ROWS = 16  # so that the table fits a terminal of 24 lines
MAX_PARAM_COLUMNS = 6  # a guess at what one still reads; files and dashboard show all
UNLIMITED = 10_000  # columns, more than any table wants: it is measured how many that are
# `timeout` signals its child and then the group that it is in: what comes so soon was not sent by an impatient person.
ECHO_SECONDS = 0.5
# What a good or a bad end looks like in other programs.
STATE_STYLES = {
    RunState.RUNNING: "cyan",
    RunState.COMPLETED: "green",
    RunState.STOPPED_EARLY: "yellow",
    RunState.FAILED: "red",
    RunState.INTERRUPTED: "magenta",
}


def new_console(stream: TextIO, *, plain: bool = False) -> Console:
    """A console on this very stream, whatever `sys.stdout` becomes later; wide where nobody's window limits it.

    `plain`: lines without colour or live table on a terminal, too; NO_COLOR alone keeps the live table.
    """
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, force_terminal=False if plain else None)


def say(text: str, console: Console, *, markup: bool = False) -> None:
    """One line, as it is, or with Rich's markup."""
    console.print(text, highlight=False, soft_wrap=True, markup=markup)


UNITS = {"gpu_seconds": "GPU s", "cpu_seconds": "CPU s", "wall_seconds": "wall s"}  # of a cost, by its clock


@dataclass(frozen=True, slots=True)
class TableStyle:
    """What the table shows.

    Attributes:
        params: dotted paths of the parameters that vary.
        show_phase: whether the sweep has phases.
        cost_label: unit of the cost column, such as "CPU s".
    """

    params: Sequence[str]
    show_phase: bool
    cost_label: str

    @classmethod
    def of(cls, job: SweepJob) -> TableStyle:
        """What the table of a sweep shows."""
        clock, phases = cost_clock(job.sweep.cost, job.resources.gpus_per_worker), job.sweep.phases
        return cls(phases[0].space.names, len(phases) > 1, UNITS[clock])


@dataclass(frozen=True, slots=True)
class Progressing:
    """What there is to show at one moment: the runs of this driver, and the line above them."""

    runs: Sequence[LiveRun]
    headline: str = ""


class ProgressView:
    """Draws the runs of this driver; call `draw` often, it limits itself."""

    def __init__(self, look: Callable[[], Progressing], style: TableStyle, console: Console) -> None:
        self._look = look
        self._style = style
        self._console = console
        self._live: Live | None = None
        if console.is_terminal:
            # A thread of its own draws, for Tune's loop may stand still; nothing else is printed to the terminal.
            self._live = Live(
                console=console,
                get_renderable=self._table,
                refresh_per_second=1 / REFRESH_SECONDS,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
        self._drawn_at = -math.inf
        self._headed_at = time.monotonic()
        self._said: dict[str, str] = {}

    def __enter__(self) -> ProgressView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.draw(force=True)
        if self._live is not None:
            self._live.stop()
            self._console.print(fitting(self._look().runs, self._style, self._console))

    def _table(self) -> Group:
        seen = self._look()
        table = fitting(seen.runs, self._style, self._console)
        return Group(Text(seen.headline, style="bold", overflow="ellipsis", no_wrap=True), table)

    def draw(self, *, force: bool = False) -> None:
        """Print what changed since the last time; a live table needs no call."""
        now = time.monotonic()
        if self._live is not None or (not force and now - self._drawn_at < REFRESH_SECONDS):
            return
        self._drawn_at = now
        seen = self._look()
        for run in seen.runs:
            if self._said.get(run.record.id) != run.state:
                say(plain(plain_line(run, self._style)), self._console, markup=True)
        self._said = {run.record.id: run.state for run in seen.runs}
        if now - self._headed_at >= HEADLINE_SECONDS:
            self._headed_at = now
            say(seen.headline, self._console)


def fitting(runs: Sequence[LiveRun], style: TableStyle, console: Console) -> Table:
    """The table with as many parameters as the console is wide enough for: nothing else is cut for them."""
    table = render(runs, style, MAX_PARAM_COLUMNS)
    for count in range(min(MAX_PARAM_COLUMNS, len(style.params)) - 1, -1, -1):
        if Measurement.get(console, console.options.update_width(UNLIMITED), table).maximum <= console.width:
            break
        table = render(runs, style, count)
    return table


def render(runs: Sequence[LiveRun], style: TableStyle, num_params: int) -> Table:
    """The newest runs, running ones last, as a table with the first `num_params` parameters."""
    shown = list(style.params)[:num_params]
    numbers = [*map(plain, short_names(shown)), "progress", "steps/s", "score", style.cost_label]
    table = borderless("run", numbers, second="phase" if style.show_phase else "")
    table.add_column("state", no_wrap=True)
    for run in newest(runs):
        cells = [run.record.id, *([plain(run.record.phase)] if style.show_phase else [])]
        cells += [plain(format_value(run.record.params.get(name, ""))) for name in shown]
        cells += [bar(run), speed(run), score_text(run), cost_text(run)]
        table.add_row(*cells, f"[{STATE_STYLES[run.state]}]{run.state}[/]")
    return table


def borderless(first: str, numbers: Iterable[str], second: str = "") -> Table:
    """A table without lines: one or two texts on the left, then numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for label in filter(None, (first, second)):
        table.add_column(label, no_wrap=True)
    for label in numbers:
        table.add_column(label, justify="right", no_wrap=True)
    return table


def newest(runs: Sequence[LiveRun]) -> list[LiveRun]:
    """Running runs always, and the newest finished ones up to `MAX_ROWS`."""
    running = [run for run in runs if run.state == RunState.RUNNING]
    ended = [run for run in runs if run.state != RunState.RUNNING]
    return ended[-max(MAX_ROWS - len(running), 4) :] + running


def plain_line(run: LiveRun, style: TableStyle) -> str:
    """One line for one change of state."""
    named = zip(short_names(style.params), style.params, strict=True)
    active = [(label, run.record.params[name]) for label, name in named if name in run.record.params]
    params = " ".join(f"{label}={format_value(value)}" for label, value in active)
    phase = f" phase={run.record.phase}" if style.show_phase else ""
    if run.state == RunState.RUNNING:
        return f"{run.record.id} running{phase} {params}"
    message = f" ({run.result.message})" if run.result and run.result.message else ""
    cost = f"{cost_text(run)} {style.cost_label}"
    return f"{run.record.id} {run.state}{phase} score={score_text(run)} cost={cost}{message}"


def short_names(paths: Sequence[str]) -> list[str]:
    """Last part of each dotted path, with as much more as tells equal ones apart."""
    names = []
    for path in paths:
        parts = path.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            if sum(other.endswith("." + name) or other == name for other in paths) == 1:
                break
        names.append(name)
    return names


def bar(run: LiveRun) -> str:
    progress = run.progress
    if run.state != RunState.RUNNING:
        return "100%" if run.state == RunState.COMPLETED else ""
    if progress is None or not (progress.total_env_steps or progress.env_steps):
        return "starting"
    if not progress.total_env_steps:  # a program whose length nobody knows
        return f"step {progress.env_steps:,}"
    share = min(progress.env_steps / progress.total_env_steps, 1.0)
    filled = round(share * 8)
    return f"{'━' * filled}{'╌' * (8 - filled)} {share:>4.0%}"


def speed(run: LiveRun) -> str:
    return f"{run.progress.steps_per_second:,.0f}" if run.progress and run.progress.steps_per_second else ""


def score_text(run: LiveRun) -> str:
    if run.result is not None:
        return "-" if run.result.score is None else f"{run.result.score:.4g}"
    return f"{run.curve[-1].score:.4g}…" if run.curve else ""


def cost_text(run: LiveRun) -> str:
    if run.result is not None:
        return f"{run.result.cost_seconds:.1f}"
    return f"{run.progress.attempt_costs.total.wall_seconds:.0f}…" if run.progress else ""


def plain(text: str) -> str:
    """Somebody's text for Rich: no markup of ours, and nothing that a terminal would obey."""
    return escape("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text))


def format_value(value: Any) -> str:
    """Four significant digits for numbers, the text for the rest."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def params_text(params: Mapping[str, Any]) -> list[str]:
    """`path = value`, one a line, aligned."""
    width = max((len(name) for name in params), default=0)
    return [f"{name:<{width}}  {format_value(value)}" for name, value in params.items()]


@contextmanager
def stop_signals(post: Callable[[Event], None], console: Console) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM): no new runs, running ones checkpoint and become interrupted. The second stops now."""
    asked_at: list[float] = []

    def handle(number: int, frame: Any) -> None:
        asked_at.append(time.monotonic())
        if asked_at[-1] - asked_at[0] > ECHO_SECONDS:
            raise KeyboardInterrupt
        if len(asked_at) > 1:
            return
        post(StopAsked(STOPPED_BY_USER, now=True, by_user=True))
        console.print("stopping: running runs write a checkpoint (Ctrl-C again stops at once)", highlight=False)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LogFile(io.TextIOWrapper):
    """Leaves out what a full disk does not take: a line that is lost must not end Tune's loop, which prints."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Send what Ray prints, and the log of this process, to a file, where it does not break the table."""
    with (
        LogFile(path.open("ab", buffering=0), encoding="utf-8", write_through=True) as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        before, root.level = root.level, logging.INFO
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(before)


# What the sweep shows in Ray's own dashboard and in Grafana.


STATES = (RunState.RUNNING, *map(RunState, Outcome))  # of runs that began; a reserved one takes no slot
# Name without the prefix `ray_metta_sweep_` that Prometheus sees, further tag, what it tells.
# `cluster/grafana/sweep.json` draws them.
GAUGES = (
    ("score", None, "Score of the run that ended last."),
    ("incumbent", None, "Best score measured in the sweep."),
    ("cost_seconds", None, "Cost of the run that ended last, in the optimiser's clock."),
    ("runs", "state", "Runs of this driver by state."),
    ("slots", "state", "Slots that are busy and idle."),
    ("suggest_seconds", None, "Time that the last suggestion took, beside Tune's loop."),
    ("spent_dollars", None, "Money this driver has spent, at budget.hourly_cost."),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Value of one gauge; `state` is its further tag."""

    name: str
    value: float
    state: str | None = None


def readings(state: State, dollars_per_second: float) -> Iterator[Reading]:
    """What the gauges show now; a gauge without news has no reading.

    `dollars_per_second`: of a GPU, or of a slot when runs have none; 0 when unknown.
    """
    runs, slots = state.runs, state.capacity.slots
    unfinished = (*state.past.interrupted.values(), *state.live.values())
    counts = Counter(run.state for run in unfinished) + Counter(state.past.counts)
    for name in STATES:
        yield Reading("runs", counts[name], str(name))
    yield Reading("slots", min(counts[RunState.RUNNING], slots), "busy")
    yield Reading("slots", max(slots - counts[RunState.RUNNING], 0), "idle")
    yield Reading("suggest_seconds", state.optimiser.suggest_seconds)
    spans = [state.past.spent, *(run.spent for run in unfinished)]
    paid_seconds = sum(span.gpu_seconds if state.rules.limits.has_gpus else span.wall_seconds for span in spans)
    yield Reading("spent_dollars", dollars_per_second * paid_seconds)
    if state.best is not None:
        yield Reading("incumbent", state.best)
    results = [run.result for run in runs if run.result is not None]
    if results:
        yield Reading("cost_seconds", results[-1].cost_seconds)
    scores = [result.score for result in results if result.score is not None]
    if scores:
        yield Reading("score", scores[-1])
