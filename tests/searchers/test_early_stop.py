"""Advice to stop a run early: never soon, never a good one, with its reasons."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from searchers import CurvePoint, Observation, Protein, RunningCurve
from tests.searchers.plain_task import LENGTH, make, plain_run


def curve_of(x: float, shares: tuple[float, ...], steps: float = 1e6) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(int(share * steps), share * 100, (1 - (x - 0.3) ** 2) * share**0.3) for share in shares)


def trained(goal: Any = "maximize", sign: float = 1.0) -> Protein:
    protein, rng = make(goal=goal), np.random.default_rng(0)
    for x, y in zip(np.linspace(-0.4, 0.9, 16), rng.uniform(-0.5, 0.5, 16), strict=True):
        points = tuple(
            CurvePoint(p.env_steps, p.seconds, sign * p.score) for p in curve_of(float(x), (0.2, 0.3, 0.5, 0.8))
        )
        protein.observe(
            Observation({"x": float(x), "y": float(y), LENGTH: 1e6}, sign * (1 - (x - 0.3) ** 2), 100.0, curve=points)
        )
    return protein


def hopeless(share: float, sign: float = 1.0) -> RunningCurve:
    points = tuple(CurvePoint(int(s * 1e6), s * 100, sign * -3.0 * s) for s in (0.1, 0.2, 0.3, 0.5, 0.8) if s <= share)
    return RunningCurve({"x": -0.9, "y": 0.0, LENGTH: 1e6}, points, 1_000_000)


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_a_hopeless_run_is_stopped_but_never_before_a_fifth(goal: Any, sign: float) -> None:
    protein = trained(goal, sign)
    assert protein.advise(hopeless(0.1, sign)).rule == "too_early"
    assert not protein.advise(hopeless(0.1, sign)).stop
    advice = protein.advise(hopeless(0.3, sign))
    assert advice.stop
    assert advice.rule == "quantile_0.3"
    assert sign * advice.value < sign * advice.threshold
    assert advice.probability < 0.05
    assert protein.advise(hopeless(0.5, sign)).rule == "quantile_0.5"


def test_a_good_run_goes_on() -> None:
    advice = trained().advise(
        RunningCurve({"x": 0.3, "y": 0.0, LENGTH: 1e6}, curve_of(0.3, (0.2, 0.3, 0.5)), 1_000_000)
    )
    assert not advice.stop
    assert advice.probability > 0.05


@pytest.mark.parametrize(("total", "rule"), [(0, "unknown_length"), (500_000, "at_its_end"), (800_000, "quantile_0.5")])
def test_a_run_of_unknown_length_and_one_at_its_end_go_on(total: int, rule: str) -> None:
    advice = trained().advise(replace(hopeless(0.5), total_env_steps=total))
    assert (advice.rule, advice.stop) == (rule, rule == "quantile_0.5")


def test_too_few_comparable_runs_give_no_advice_and_nan_stops_at_once() -> None:
    assert make().advise(hopeless(0.5)).rule == "too_few_runs"
    unlike = make()
    for length in (3e6, 2.9e6, 2.8e6, 2.7e6, 2.6e6, 2.5e6):
        run = plain_run({"x": 0.0, "y": 0.0, LENGTH: length})
        unlike.observe(replace(run, curve=curve_of(0.5, (0.2, 0.5, 1.0))))
    assert unlike.advise(hopeless(0.5)).rule == "too_few_runs"  # they are more than twice as long
    nan = RunningCurve({"x": 0.0, "y": 0.0, LENGTH: 1e6}, (CurvePoint(1000, 1.0, math.nan),), 1_000_000)
    assert make().advise(nan).stop
