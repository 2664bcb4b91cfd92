"""What a sweep shows in Ray's own dashboard and in Grafana: gauges through `ray.util.metrics`, refreshed from Tune's
loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune import Callback
from ray.util.metrics import Gauge

from metta_sweep.driver.board import LiveRun

PUBLISH_SECONDS = 5.0
STATES = ("running", "completed", "stopped_early", "failed", "interrupted")
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
class Moment:
    """A driver at one moment.

    Attributes:
        runs: of this driver, in the order they started.
        slots: runs that fit at once.
        incumbent: best score of the sweep; None before there is one.
        suggest_seconds: of the last suggestion.
        dollars_per_second: of a GPU, or of a slot when runs have none; 0 when unknown.
        has_gpus: which of the two is paid for.
    """

    runs: Sequence[LiveRun]
    slots: int
    incumbent: float | None
    suggest_seconds: float
    dollars_per_second: float
    has_gpus: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Value of one gauge; `state` is its further tag."""

    name: str
    value: float
    state: str | None = None


def readings(moment: Moment) -> Iterator[Reading]:
    """What the gauges show now; a gauge without news has no reading."""
    states = Counter(run.state for run in moment.runs)
    for state in STATES:
        yield Reading("runs", states[state], state)
    yield Reading("slots", min(states["running"], moment.slots), "busy")
    yield Reading("slots", max(moment.slots - states["running"], 0), "idle")
    yield Reading("suggest_seconds", moment.suggest_seconds)
    spans = [run.spent for run in moment.runs]
    paid_seconds = sum(span.gpu_seconds if moment.has_gpus else span.wall_seconds for span in spans)
    yield Reading("spent_dollars", moment.dollars_per_second * paid_seconds)
    if moment.incumbent is not None:
        yield Reading("incumbent", moment.incumbent)
    results = [run.result for run in moment.runs if run.result is not None]
    if results:
        yield Reading("cost_seconds", results[-1].cost_seconds)
    scores = [result.score for result in results if result.score is not None]
    if scores:
        yield Reading("score", scores[-1])


class MetricsCallback(Callback):  # type: ignore[misc]  # ray is not typed
    """Publishes the gauges of one sweep every `PUBLISH_SECONDS`.

    Args:
        sweep: name of the sweep; tag of every gauge.
        moment: the driver now.
    """

    def __init__(self, sweep: str, moment: Callable[[], Moment]) -> None:
        self._sweep = sweep
        self._moment = moment
        self._published_at = float("-inf")
        self._gauges: dict[str, Gauge] = {}

    def setup(self, **info: Any) -> None:
        for name, tag, description in GAUGES:
            self._gauges[name] = Gauge(
                f"metta_sweep_{name}", description, tag_keys=("sweep", tag) if tag else ("sweep",)
            )

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._published_at >= PUBLISH_SECONDS:
            self._published_at = time.monotonic()
            self._publish()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._publish()

    def _publish(self) -> None:
        for reading in readings(self._moment()):
            tags = {"sweep": self._sweep} | ({"state": reading.state} if reading.state else {})
            self._gauges[reading.name].set(reading.value, tags)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it into a snapshot that nobody reads
