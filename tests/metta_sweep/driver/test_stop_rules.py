"""The stop rules, one promise a test."""

from __future__ import annotations

from dataclasses import replace

from metta_sweep.config.job import Budget
from metta_sweep.driver.rules import SweepLimits, Tally, cap_seconds, must_stop_running, no_more_runs

FREE = SweepLimits(num_samples=None, target_score=None, maximize=True, budget=Budget(), has_gpus=False)
START = Tally(num_runs=0, elapsed_seconds=0.0, spent_seconds=0.0, committed_seconds=0.0, best_score=None)


def test_without_rules_a_sweep_is_endless() -> None:
    assert no_more_runs(FREE, replace(START, num_runs=10**6, elapsed_seconds=1e9, spent_seconds=1e9)) is None


def test_num_samples_counts_every_reserved_run() -> None:
    limits = replace(FREE, num_samples=5)
    assert no_more_runs(limits, replace(START, num_runs=4)) is None
    verdict = no_more_runs(limits, replace(START, num_runs=5))
    assert verdict is not None
    assert not verdict.is_cap


def test_committed_runs_count_against_the_dollars() -> None:
    limits = replace(FREE, budget=Budget(dollars=0.05, hourly_cost=3.6))
    assert cap_seconds(limits) == 50.0
    assert no_more_runs(limits, replace(START, spent_seconds=20.0, committed_seconds=20.0), next_seconds=9.0) is None
    verdict = no_more_runs(limits, replace(START, spent_seconds=20.0, committed_seconds=20.0), next_seconds=10.0)
    assert verdict is not None
    assert verdict.is_cap
    assert "$0.020 spent" in verdict.reason


def test_the_tighter_of_two_caps_counts() -> None:
    budget = Budget(gpu_hours=0.01, dollars=1.0, hourly_cost=1.0)
    assert cap_seconds(replace(FREE, budget=budget, has_gpus=True)) == 36.0
    assert cap_seconds(replace(FREE, budget=budget, has_gpus=False)) == 3600.0


def test_running_runs_are_cut_only_past_the_tolerated_overspend() -> None:
    limits = replace(FREE, budget=Budget(dollars=1.0, hourly_cost=36.0))  # 100 seconds
    assert must_stop_running(limits, replace(START, spent_seconds=101.0)) is None
    assert must_stop_running(limits, replace(START, spent_seconds=102.0)) is not None


def test_wall_clock_ends_the_sweep() -> None:
    limits = replace(FREE, budget=Budget(wall_clock=60.0))
    assert no_more_runs(limits, replace(START, elapsed_seconds=59.9)) is None
    verdict = no_more_runs(limits, replace(START, elapsed_seconds=60.0))
    assert verdict is not None
    assert verdict.is_cap


def test_the_target_is_reached_from_the_right_side() -> None:
    up = replace(FREE, target_score=5.0)
    down = replace(FREE, target_score=5.0, maximize=False)
    assert no_more_runs(up, replace(START, best_score=4.9)) is None
    assert no_more_runs(up, replace(START, best_score=5.0)) is not None
    assert no_more_runs(down, replace(START, best_score=5.1)) is None
    assert no_more_runs(down, replace(START, best_score=4.9)) is not None
