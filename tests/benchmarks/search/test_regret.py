"""What the tables of regret are made of."""

from __future__ import annotations

import pytest

from tests.benchmarks.search.harness import Trace
from tests.benchmarks.search.landscapes import FOLDER_VARIABLE, LANDSCAPES, landscape_task
from tests.benchmarks.search.regret import Difference
from tests.benchmarks.search.report import NOT_REACHED, Outcome


def outcome(mean: float, path: tuple[float, ...]) -> Outcome:
    return Outcome("t", "f", "m", 0, 1, (1.0,), (0.5, 0.5, 0.5), 3, 0.0, 1.0, (mean, mean), path)


def test_mean_regret_counts_a_recommendation_from_when_its_run_has_ended_until_the_next() -> None:
    trace = Trace(ended=[20.0, 50.0, 120.0], recommended=[0.5, 0.8, 1.0])

    assert trace.mean_regret(100.0) == pytest.approx(1 - (0.3 * 0.5 + 0.5 * 0.8))
    assert trace.mean_regret(10.0) == 1.0


def test_cost_to_the_peers_end_is_a_ratio_of_the_first_costs_that_reach_it() -> None:
    fast = outcome(0.2, (0.0, 0.9, *(0.9,) * 48))
    slow = outcome(0.5, (*(0.0,) * 7, *(0.8,) * 43))

    assert Difference.of([(fast, slow)]).cost_ratio == pytest.approx(2 / 8)
    assert Difference.of([(slow, fast)]).cost_ratio == pytest.approx(NOT_REACHED * 50 / 2)
    assert Difference.of([(fast, slow)]).means[0] == pytest.approx(-0.3)


def test_without_the_recorded_landscapes_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=f"{FOLDER_VARIABLE}: need the folder"):
        landscape_task(LANDSCAPES[0])(0)
