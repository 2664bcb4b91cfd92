"""What commands and functions of the user's own have in common: their settings, their parameters, their reports."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import stdev
from typing import Annotated, Any, BinaryIO

from trainables.command_words import PLACEHOLDER
from trainables.errors import HyperparameterFailure, Problem
from trainables.fields import RULES, Amount, Count, Positive, Table, Text, Texts, convert, join, nearest, one_of
from trainables.metering import add
from trainables.result import Costs, Point, Progress
from trainables.run_files import append_json_line

PREFIX = "trainable.parameters."  # of a searched parameter that is the program's own
_KNOWN_BY_BYTES = 4096  # of what was read last
TYPES: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str}  # words of `trainable.types`
RECENT_SECONDS = 3600.0  # a report is read soon after it was made
# Of a command, beside the names of parameters
WORDS = ("overrides", "config", "run", "directory", "seed", "attempt", "rank", "world_size")


@dataclass(frozen=True, slots=True)
class TrainableConfig:
    """What does the training.

    Attributes:
        kind: ppo (ours), command (any program), function (`package.module:train`, called in a rank's process), or one
            that a plugin registers (`trainables.kinds`).
        command: the program and its arguments. `{overrides}` becomes one argument per parameter, `{config}` the path of
            a YAML file with all parameters; `{run}`, `{directory}`, `{seed}`, `{attempt}`, `{rank}`, `{world_size}` and
            `{name}` of any parameter are filled in.
        override: form of one override: `++{key}={value}` (Hydra), `--{key}={value}`, `--{key} {value}` (two arguments),
            `--{flag} {value}` (`-` for each `_` of the key), ...
        booleans: how an override says true and false: `value` (`--x true`), `present` (`--x`, or nothing, as for
            argparse's `store_true`), `no` (`--x`, or `--no-x`).
        lists: how an override says a list: `json` (`--x [1, 2]`), `words` (`--x 1 2`), `repeat` (`--x 1 --x 2`).
        check: a command that `validate` runs once, placeholders as in `command`, such as one with `--dry-run`; it must
            end well. "" = with overrides that begin with `-`, the command itself with `--help`, which must know them.
        function: what to call with `(config, context)`.
        workdir: directory that the command starts in; "" = where Ray's workers start: that of the sweep, or of the code
            shipped with it.
        parameters: values that every run gets, nested or dotted; searched ones come on top.
        types: int, float, bool or str by name of a parameter: other values are refused before the start, and a search
            rounds for an int.
        environment: further environment variables.
        results: file of JSON lines to follow, for programs that write one: relative to `workdir`, placeholders as in
            `command`.
        pattern: regular expression on lines of output, with a group `score`, and `step`, `score_se` or others when
            there are such numbers. Alternatives (`a|b`) find numbers that stand on lines of their own.
        average: so many reports make one point of the learning curve, their mean, as for a program that reports each
            episode; the score of a run is the mean of its last ones.
        metrics: names of further numbers that the program reports, besides `score`, any of which can be the sweep's
            `metric`.
        total_steps: the step that the program reports at its end, for the progress bar and early stopping; 0 = unknown,
            or said by the parameter that `sweep.protein.fidelity` names.
        stop_seconds: how long the program may take to end by itself when it is asked to (SIGTERM) before it is killed.
    """

    kind: Text = "ppo"
    command: Text = ""
    override: Text = "++{key}={value}"
    booleans: Annotated[str, one_of("value", "present", "no")] = "value"
    lists: Annotated[str, one_of("json", "words", "repeat")] = "json"
    check: Text = ""
    function: Text = ""
    workdir: Text = ""
    parameters: Table = field(default_factory=dict)
    types: Table = field(default_factory=dict)
    environment: Table = field(default_factory=dict)
    results: Text = ""
    pattern: Text = ""
    average: Positive = 1
    metrics: Texts = ()
    total_steps: Count = 0
    stop_seconds: Amount = 20.0


def program_problems(config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with settings that more than one kind of training reads."""
    problems = _type_problems(config, parameters)
    known = [*WORDS, *parameters]
    for key, text in (("command", config.command), ("results", config.results), ("check", config.check)):
        problems += [
            Problem(f"trainable.{key}", f"{{{name}}} is not a parameter of the run; known: {', '.join(known)}")
            for name in PLACEHOLDER.findall(text)
            if name not in known
        ]
    try:
        groups = re.compile(config.pattern).groupindex
    except re.error as error:
        problems.append(Problem("trainable.pattern", f"{error}, in {config.pattern!r}"))
    else:
        if config.pattern and "score" not in groups:
            problems.append(Problem("trainable.pattern", f"need a group (?P<score>...), got {config.pattern!r}"))
    return problems


def declared_types(types: Mapping[str, Any]) -> dict[str, type]:
    """Type of each parameter of which `trainable.types` says one."""
    return {name: TYPES[str(word)] for name, word in flatten(types).items() if str(word) in TYPES}


def _type_problems(config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
    """Types that there are not, and values that are not of their type; keys as the values were written."""
    said = flatten(config.types)
    problems = [
        Problem(f"trainable.types.{name}", f"unknown value {word!r}{nearest(str(word), TYPES)}")
        for name, word in said.items()
        if str(word) not in TYPES
    ]
    for name, kind in declared_types(config.types).items():
        if name not in parameters:
            unknown = f"no such parameter of the run{nearest(name, parameters)}"
            problems.append(Problem(f"trainable.types.{name}", unknown))
            continue
        _, problem = convert(parameters[name], RULES[kind])
        key = name if name not in flatten(config.parameters) else f"{PREFIX}{name}"
        problems += [Problem(key, problem)] if problem else []
    return problems


def flatten(mapping: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Leaves of a nested mapping by dotted key."""
    leaves: dict[str, Any] = {}
    for name, value in mapping.items():
        key = join(path, str(name))
        leaves |= flatten(value, key) if isinstance(value, Mapping) and value else {key: value}
    return leaves


def parameters_of(config: TrainableConfig, suggestion: Mapping[str, Any]) -> dict[str, Any]:
    """What the program is told: its own settings, with the suggestion on top, by dotted key."""
    searched = {key.removeprefix(PREFIX): value for key, value in flatten(suggestion).items()}
    return flatten(config.parameters) | searched


class Tail:
    """Complete new lines of a growing file that may not exist yet. One that is written afresh is read from its start.

    Args:
        path: of the file.
        skip_old: leave out what is in it now.
    """

    def __init__(self, path: Path, skip_old: bool = False) -> None:
        self._path, self._rest = path, b""
        self._offset, self._changed_at, self._seen = 0, 0, b""
        if skip_old and path.exists():
            list(self.lines())
            self._rest = b""

    def lines(self) -> Iterator[str]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            if self._is_written_afresh(file):
                self._offset, self._seen, self._rest = 0, b"", b""
            file.seek(self._offset)
            new = file.read()
            self._changed_at = os.fstat(file.fileno()).st_mtime_ns
        self._offset += len(new)
        self._seen = (self._seen + new)[-_KNOWN_BY_BYTES:]
        *complete, self._rest = (self._rest + new).split(b"\n")
        for line in complete:
            yield line.decode(errors="replace")

    def _is_written_afresh(self, file: BinaryIO) -> bool:
        """Whether what we read is not there any more, or was written once more."""
        status = os.fstat(file.fileno())
        file.seek(self._offset - len(self._seen))
        if file.read(len(self._seen)) != self._seen:
            return True
        return bool(self._seen) and status.st_size == self._offset and status.st_mtime_ns != self._changed_at


@dataclass(slots=True)
class Reports:
    """Everything that a program has reported in this attempt, and what earlier attempts left to build on.

    Attributes:
        metric: which number is the score of the sweep: `score`, or one of the declared metrics.
        total_steps: see `TrainableConfig`.
        earlier: points of earlier attempts with their costs; those before the step at which this attempt begins
            survived.
        average: see `TrainableConfig`.
        recent: the numbers of the last reports, at most so many.
    """

    metric: str
    total_steps: int
    earlier: tuple[Point, ...] = ()
    average: int = 1
    recent: list[Mapping[str, float]] = field(default_factory=list)
    base: Costs = field(default_factory=Costs)
    step: int = 0
    latest: dict[str, float] = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)
    num_reports: int = 0

    @property
    def score(self) -> float | None:
        """The last value of the metric."""
        return self.latest.get(self.metric)

    def add(self, values: Mapping[str, Any], spent: Costs) -> Progress | None:
        """Takes one report, made when the attempt had cost `spent`; None when there is no number in it, or when it is
        one of several that are told as their mean.

        Raises:
            HyperparameterFailure: the score is not finite.
        """
        named = {name: value for name, value in values.items() if name not in ("time", "step")}
        numbers = {name: float(value) for name, value in named.items() if _is_number(value)}
        if not numbers:
            return None
        if "score" in numbers:
            numbers.setdefault("reward", numbers["score"])
        self.num_reports += 1
        self.step = int(float(values["step"])) if _is_number(values.get("step")) else self.num_reports
        if self.num_reports == 1:
            self._build_on_earlier_work()
        self.recent = [*self.recent, numbers][-self.average :]
        return None if self.num_reports % self.average else self._told(spent, _time_of(values))

    def rest(self, spent: Costs) -> Progress | None:
        """What was reported since the last full `average` of reports; None when there is nothing."""
        return self._told(spent) if self.num_reports % self.average else None

    def _told(self, spent: Costs, at: float | None = None) -> Progress:
        numbers = mean_of(self.recent) if self.average > 1 else dict(self.recent[-1])
        self.latest |= numbers
        return replace(self.progress(spent, self._point(numbers, spent)), time=at)

    def _build_on_earlier_work(self) -> None:
        """A program that goes on where it was interrupted reports later steps: the earlier ones cost this run, too."""
        self.curve = [point for point in self.earlier if point.env_steps < self.step]
        if self.curve:
            self.base = Costs(train=self.curve[-1].train)

    def _point(self, numbers: Mapping[str, float], spent: Costs) -> Point | None:
        if self.metric not in numbers:
            return None
        if not math.isfinite(numbers[self.metric]):
            name = "score" if self.metric == "reward" else self.metric
            raise HyperparameterFailure(f"the program reported {name}={numbers[self.metric]} at step {self.step}")
        point = Point(self.step, self.base.train + spent.train, numbers[self.metric], self._error(numbers))
        self.curve = [*(old for old in self.curve if old.env_steps < self.step), point]
        return point

    def _error(self, numbers: Mapping[str, float]) -> float | None:
        """Standard error of the score, if it is what the sweep looks at; None for what is none."""
        error = numbers.get("score_se", math.nan) if self.metric in ("score", "reward") else math.nan
        return error if 0.0 <= error < math.inf else None

    def progress(self, spent: Costs, point: Point | None = None) -> Progress:
        wall = spent.train.wall_seconds
        speed = self.step / wall if wall > 0 else 0.0
        return Progress(self.step, self.total_steps, speed, dict(self.latest), point, add(self.base, spent), spent)


def mean_of(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over the reports that have it, and the standard error of the score over them."""
    names = dict.fromkeys(name for report in reports for name in report)
    told = {name: [report[name] for report in reports if name in report] for name in names}
    means = {name: sum(values) / len(values) for name, values in told.items()}
    if len(scores := told.get("score", [])) > 1 and all(map(math.isfinite, scores)):
        means["score_se"] = stdev(scores) / math.sqrt(len(scores))
    return means


def save_point(path: Path, point: Point, at: float | None = None) -> None:
    """Notes a point where the next attempt finds it, and when it was reached (epoch seconds; None = now)."""
    content = asdict(point)
    append_json_line(path, {"time": time.time() if at is None else at, **content})


def load_points(path: Path) -> tuple[Point, ...]:
    """Points of earlier attempts; a later one at the same step replaces an earlier one."""
    points: list[Point] = []
    for line in Tail(path).lines():
        row = read_json_line(line)
        if not {"env_steps", "train", "score"} <= row.keys():  # a line that a kill or a full disk cut off
            continue
        points = [old for old in points if old.env_steps < row["env_steps"]]
        points.append(Point.from_dict(row))
    return tuple(points)


def _time_of(values: Mapping[str, Any]) -> float | None:
    """When `report` was called; None for what a program calls `time` itself, which may be anything."""
    told = float(values["time"]) if _is_number(values.get("time")) else math.nan
    return told if abs(time.time() - told) < RECENT_SECONDS else None


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_json_line(line: str) -> Mapping[str, Any]:
    """The object in a line; nothing when there is none."""
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return content if isinstance(content, Mapping) else {}
