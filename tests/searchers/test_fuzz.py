"""Random spaces, histories, types, pending points and phases, for every method: a suggestion is legal, and nothing ends
the search.

`python -m tests.searchers.test_fuzz COUNT SEED` tries as many examples as asked, from other seeds than the suite's.
"""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from searchers import (
    METHODS,
    CurvePoint,
    FailureKind,
    Observation,
    ObservationError,
    Outcome,
    Protein,
    ProteinConfig,
    RunningCurve,
    Space,
    SpaceError,
    make_searcher,
)

SETTINGS = settings(
    deadline=None, max_examples=260, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LENGTH = "trainer.total_timesteps"

WIDTHS = st.sampled_from([1e-9, 1e-3, 1.0, 100.0, 1e9, 1e90])
FLOATS = st.sampled_from([0.0, 1.0, -3.0, 0.3, 1e-6, 1e6, -1e9, 1e-300, 5e-324, 1e200, -1e299])
CHOICES = [["a", "b"], [True, False], [1, 2.5, "x"], [0, 1, 2, 3], [0.1, 0.3, True], [f"kind{i}" for i in range(12)]]
SCORES = st.one_of(
    st.floats(-2.0, 2.0),
    st.sampled_from(
        [0.0, 1.0, 0.5, -3.5, 1e-300, 5e-324, 1e12, -1e12, 1e99, -1e99, 1e101, -sys.float_info.max, math.nan, math.inf]
    ),
    st.sampled_from(
        [True, 3, 10**90, 10**400, np.float16(0.5), np.float32(-2.5), np.int64(7), np.bool_(True), "0.5", [1.0], None]
    ),
    st.floats(-2.0, 2.0),
    st.floats(allow_nan=True),
)
COSTS = st.one_of(
    st.sampled_from([1.0, 10.0, 300.0, 1e-9, 1e9, 5e-324, 1e308, 0.0, math.nan, np.float16(3.0), 10**400, "1"]),
    st.floats(0.1, 1e3),
)
VALUES = st.sampled_from(
    [None, True, 10**400, -1e308, math.nan, 5e-324, "text", [1], {"a": 1}, np.float16(0.5), np.array([1.0, 2.0]), 1e9]
)


@dataclass(frozen=True)
class Report:
    """What a program tells of one run, true or not."""

    score: Any
    cost: Any
    wall: Any
    ending: str
    curve: tuple[tuple[float, Any], ...]
    pending: bool
    odd: tuple[Any, ...]


REPORTS = st.builds(
    Report,
    SCORES,
    COSTS,
    st.sampled_from([None, None, 1.0, 1e300, 5e-324]),
    st.sampled_from(["completed"] * 6 + ["hyperparameters", "infrastructure", "code", "stopped_early", "twice"]),
    st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]), SCORES), max_size=3).map(tuple),
    st.booleans(),
    st.one_of(st.just(()), st.just(()), st.tuples(VALUES)),
)


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(
        st.sampled_from(
            [
                "uniform",
                "uniform",
                "log_normal",
                "logit_normal",
                "int_uniform",
                "int_log_normal",
                "uniform_pow2",
                "categorical",
            ]
        )
    )
    scale = {"scale": draw(st.sampled_from(["auto", 0.001, 3.0]))}
    if kind == "categorical":
        return {"choices": draw(st.sampled_from(CHOICES))}
    if kind == "uniform_pow2":
        low = draw(st.integers(0, 60))
        return {"distribution": kind, "min": 2**low, "max": 2 ** (low + draw(st.integers(1, 300)))}
    if kind in ("int_uniform", "int_log_normal"):
        low = draw(st.sampled_from([1, 2, 50, 10**6])) * (
            1 if kind == "int_log_normal" else draw(st.sampled_from([-1, 1]))
        )
        return {"distribution": kind, "min": low, "max": low + draw(st.sampled_from([1, 2, 30, 10**5, 2**52])), **scale}
    if kind == "logit_normal":
        return {
            "distribution": kind,
            "min": draw(st.sampled_from([5e-324, 1e-9, 0.3])),
            "max": draw(st.sampled_from([0.5, 0.999, 0.9999999999999999])),
        }
    low = abs(draw(FLOATS)) or 1.0 if kind == "log_normal" else draw(FLOATS)  # type: ignore[assignment]
    return {"distribution": kind, "min": low, "max": low + (abs(low) or 1.0) * draw(WIDTHS), **scale}


@st.composite
def space_configs(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    config = {f"p{i}": draw(leaves()) for i in range(draw(st.sampled_from([0, 1, 2, 3, 3, 4, 4, 5])))}
    config["fixed"] = {"value": draw(st.sampled_from([1, "x", True, 0.5]))}
    if draw(st.booleans()):
        config[LENGTH] = draw(
            st.sampled_from(
                [
                    {"distribution": "int_log_normal", "min": 1000, "max": 30_000},
                    {"distribution": "log_normal", "min": 1e-6, "max": 1e12},
                    {"value": 5000},
                ]
            )
        )
    conditions = draw(
        st.lists(
            st.sampled_from(["p0 == a", "p0", "p0 > 0.5", "p1 != 1", "fixed == x", "p0 / p1 > 1", "not p0 == b"]),
            max_size=2,
        )
    )
    for name, condition in zip(("p2", "p3"), conditions, strict=False):
        if name in config:
            config[name] = {**config[name], "when": condition}
    constraints = [
        "p0 <= p1",
        "p0 % p1 != 0",
        "p0 + p2 > p1",
        "p0 in [1, a, 0.1] or p1 > 0",
        "p1 // p2 < 9\nand p0 > 0",
        "p2 > p3",
    ]
    return config, draw(st.lists(st.sampled_from(constraints), max_size=2))


def space_of(config: dict[str, Any], constraints: list[str]) -> Space | None:
    """The space, or None when it is refused with a word for each mistake."""
    try:
        return Space.from_config(config, constraints, warn=False)
    except SpaceError as error:
        if not all(": " in problem for problem in error.problems):
            raise
        return None


def bare(config: dict[str, Any], constraints: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The same parameters without conditions and constraints, which do not fit every space."""
    return {name: {key: value for key, value in leaf.items() if key != "when"} for name, leaf in config.items()}, []


def observation_of(params: Any, report: Report) -> Observation | None:
    """The run as it was reported; None when it was refused at once."""
    total = params.get(LENGTH, 1000)
    try:
        curve = tuple(CurvePoint(max(1, int(share * total)), share, score) for share, score in report.curve)
        odd = {"p0": report.odd[0], "unknown": report.odd[0]} if report.odd else {}
        point = {**params, **odd}
        if report.ending in ("hyperparameters", "infrastructure", "code"):
            return Observation.failed(point, report.cost, FailureKind(report.ending))
        outcome = Outcome.STOPPED_EARLY if report.ending == "stopped_early" else Outcome.COMPLETED
        return Observation(point, report.score, report.cost, outcome=outcome, curve=curve, wall_seconds=report.wall)
    except ObservationError:
        return None


@dataclass(frozen=True)
class Sweep:
    """One sweep to play: two spaces as two phases, settings, and what its runs report."""

    first: tuple[dict[str, Any], list[str]]
    second: tuple[dict[str, Any], list[str]]
    method: str
    style: str
    extra: dict[str, Any]
    goal: Any
    reports: list[Report]
    number: int


SWEEPS = st.builds(
    Sweep,
    space_configs(),
    space_configs(),
    st.sampled_from(["bayes"] * 7 + list(METHODS)),
    st.sampled_from(["pareto", "best", "target", "logei", "front", "naive"]),
    st.sampled_from(
        [
            {},
            {},
            {"max_suggestion_cost": 5.0},
            {"resample_frequency": 2},
            {"budget": 50.0},
            {"curve_points": 0},
        ]
    ),
    st.sampled_from(["maximize", "minimize"]),
    st.one_of(
        st.lists(REPORTS, max_size=6),
        st.lists(REPORTS, min_size=7, max_size=16),
        st.lists(REPORTS, min_size=8, max_size=16),
    ),
    st.integers(0, 2**20),
)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@SETTINGS
@given(SWEEPS)
def test_whatever_the_space_and_whatever_is_reported_the_next_point_is_legal(sweep: Sweep) -> None:
    play(sweep)


def play(sweep: Sweep) -> None:
    """Suggest and report, and look at every suggestion and at what is believed in the end."""
    space, later = (space_of(*pair) or space_of(*bare(*pair)) for pair in (sweep.first, sweep.second))
    if space is None:
        return
    chosen = {"objective": sweep.style} if sweep.style in ("pareto", "best", "target") else {"acquisition": sweep.style}
    sizes = {"num_random_samples": 2, "random_suggestions": 24, "suggestions_per_pareto": 6, "target_score": 0.5}
    config = ProteinConfig(**{**sizes, **chosen, **sweep.extra})
    try:
        searcher: Any = make_searcher(sweep.method, space, config, goal=sweep.goal, seed=sweep.number)
    except SpaceError:
        assert sweep.method == "grid"
        return
    pending: list[Any] = []
    for index, report in enumerate(sweep.reports):
        if index == 7 and later is not None and sweep.method != "grid":
            space, searcher = later, searcher.with_phase(later, config)
        open_points = [*pending, *({"p0": value} for value in report.odd)]
        suggestion = searcher.suggest(pending=open_points)
        assert space.contains(suggestion.params), suggestion
        assert suggestion == searcher.suggest(pending=open_points, number=suggestion.number)
        observation = observation_of(suggestion.params, report)
        if report.pending or observation is None:
            pending = [*pending, suggestion.params][-4:]
        for _ in range(0 if observation is None else 2 if report.ending == "twice" else 1):
            searcher.observe(observation)
    assert space.contains(searcher.suggest(pending=pending).params)
    check_beliefs(searcher, space, sweep.reports)


def check_beliefs(searcher: Any, space: Space, reports: list[Report]) -> None:
    """What is believed consists of numbers."""
    searcher.incumbent()
    if not isinstance(searcher, Protein):
        return
    points = [point.score for point in searcher.front()]
    prediction = searcher.predict(space.center())
    intervals = [one for one in (*points, prediction.score, prediction.cost) if one is not None]
    assert all(math.isfinite(value) for one in intervals for value in (one.mean, one.low, one.high))
    for report in reports[-3:]:
        try:
            curve = tuple(CurvePoint(int(1000 * share), share, score) for share, score in report.curve)
        except ObservationError:
            continue
        searcher.advise(RunningCurve(space.center(), curve, 1000))


def main(count: int, number: int) -> None:
    """More of the same, by hand."""
    warnings.simplefilter("error", RuntimeWarning)
    settings(SETTINGS, max_examples=count, derandomize=False)(seed(number)(given(SWEEPS)(play)))()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
