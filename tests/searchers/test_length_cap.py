"""`auto` phases: longer runs only while the leaders' ranks change with length."""

from __future__ import annotations

import pytest

from searchers import CurvePoint, Observation, Outcome, Space
from searchers.length_cap import capped, length_cap, length_parameter, ranks_agree, score_at

STEPS = "trainer.total_timesteps"
SPACE = Space.from_config(
    {
        STEPS: {"distribution": "uniform_pow2", "min": 1024, "max": 32768, "mean": 4096},
        "rate": {"min": 0.0, "max": 1.0},
    },
    [f"{STEPS} >= 1024"],
)
LENGTH = length_parameter(SPACE, STEPS)
assert LENGTH is not None


def run(steps: int, half: float, end: float, rate: float = 0.5) -> Observation:
    """A run that scored `half` at half of its length and `end` at the end."""
    curve = tuple(
        CurvePoint(int(share * steps), share * steps / 1000, score)
        for share, score in ((0.25, half - 1.0), (0.5, half), (1.0, end))
    )
    return Observation({STEPS: steps, "rate": rate}, end, steps / 1000, curve=curve)


def leaders(steps: int, halves: list[float], ends: list[float], first_rate: float = 0.0) -> list[Observation]:
    return [
        run(steps, half, end, rate=first_rate + i / 10) for i, (half, end) in enumerate(zip(halves, ends, strict=True))
    ]


STABLE = leaders(4096, [1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
UNSTABLE = leaders(4096, [3.0, 2.0, 1.0], [2.0, 3.0, 4.0])


def cap_of(observations: list[Observation], *, maximize: bool = True) -> float:
    assert LENGTH is not None
    return length_cap(LENGTH, observations, maximize=maximize).steps


def test_the_cap_begins_at_the_search_centre() -> None:
    assert cap_of([]) == 4096


def test_ranks_that_agree_raise_nothing() -> None:
    assert cap_of(STABLE) == 4096


def test_ranks_that_change_double_the_cap_and_no_more() -> None:
    assert cap_of(UNSTABLE) == 8192


def test_the_next_raise_needs_runs_of_the_new_length() -> None:
    assert cap_of([*UNSTABLE, *leaders(8192, [1.0, 2.0, 3.0], [2.0, 3.0, 4.0])]) == 8192
    assert cap_of([*UNSTABLE, *leaders(8192, [3.0, 2.0, 1.0], [2.0, 3.0, 4.0])]) == 16384


def test_the_cap_never_passes_the_phases_max() -> None:
    every = [one for steps in (4096, 8192, 16384, 32768) for one in leaders(steps, [3.0, 2.0, 1.0], [2.0, 3.0, 4.0])]
    assert cap_of(every) == 32768


def test_only_the_leaders_count() -> None:
    losers = leaders(4096, [-5.0, -6.0, -7.0], [-7.0, -6.0, -5.0], first_rate=0.6)
    best_five = leaders(4096, [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 6.0])
    assert cap_of([*losers, *best_five]) == 4096
    assert cap_of([*losers, *best_five], maximize=False) == 8192  # now they lead


def test_two_runs_are_no_ranking() -> None:
    assert cap_of(UNSTABLE[:2]) == 4096


def test_runs_without_a_curve_early_stops_and_short_runs_tell_nothing() -> None:
    without = [Observation(one.params, one.score, one.cost_seconds) for one in UNSTABLE]
    stopped = [
        Observation(one.params, one.score, one.cost_seconds, Outcome.STOPPED_EARLY, curve=one.curve) for one in UNSTABLE
    ]
    assert cap_of([*without, *stopped, *leaders(2048, [3.0, 2.0, 1.0], [2.0, 3.0, 4.0])]) == 4096


def test_near_ties_may_change_places() -> None:
    assert ranks_agree([1.0, 1.05, 5.0], [2.05, 2.0, 6.0])
    assert not ranks_agree([1.0, 2.0, 5.0], [3.0, 2.0, 6.0])


def test_scores_between_points_are_linear_in_log_steps() -> None:
    assert score_at(run(4096, half=1.0, end=3.0), STEPS, 2048 * 2**0.5) == pytest.approx(2.0)


def test_a_capped_space_is_the_same_space_with_shorter_runs() -> None:
    space = capped(SPACE, STEPS, 8192)
    assert space.to_config()[STEPS] == {"distribution": "uniform_pow2", "min": 1024, "max": 8192}
    assert space.center()[STEPS] == 4096
    assert space.to_config()["rate"] == SPACE.to_config()["rate"]
    assert [constraint.text for constraint in space.constraints] == [
        constraint.text for constraint in SPACE.constraints
    ]
    assert capped(SPACE, STEPS, 2048).center()[STEPS] == 2048
