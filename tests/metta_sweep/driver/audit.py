"""What a finished sweep must not have done, read from its registry: lost or doubled a run, a result, a point or a
cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import yaml

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import AttemptRecord, ObservationRecord, RunRecord
from trainables.result import Costs
from trainables.run_files import RunFiles

LENGTH = "trainer.total_timesteps"
CLOCK_SECONDS = 0.5  # an attempt's end is told by one process and the next one's start by another


def assert_no_point_is_a_double(runs: Sequence[RunRecord]) -> None:
    """But for those that the optimiser repeats because it wants to."""
    points = [str(sorted(run.params.items())) for run in runs if run.explanation["origin"] != "replicate"]
    assert len(set(points)) == len(points)


def assert_nothing_starts_after_its_end(registry: Registry, sweep: str) -> None:
    ended: set[str | None] = set()
    for event in registry.events(sweep):
        assert not (event.kind == "started" and event.run_id in ended), event
        ended |= {event.run_id} if event.kind in ("completed", "stopped_early") else set()


def assert_numbers_have_no_gaps(
    runs: Sequence[RunRecord], observations: Sequence[ObservationRecord], count: int
) -> None:
    """Each number once, each run at its end, one result of each, results in one order."""
    assert [run.number for run in runs] == list(range(count))
    assert all(run.state.is_final for run in runs), Counter(run.state for run in runs)
    assert sorted(seen.run_number for seen in observations) == list(range(count))
    assert len({seen.sequence for seen in observations}) == count


def assert_results_are_those_of_the_files(observations: Sequence[ObservationRecord], runs: Path) -> None:
    """What the evaluation of each completed run wrote is what the registry holds."""
    for seen in observations:
        if seen.observation.outcome == "completed":
            written = yaml.safe_load(RunFiles(runs / seen.run_id).eval_results.read_text())["score"]
            assert written == pytest.approx(seen.observation.score), seen.run_id


def assert_attempts_follow_each_other(attempts: Sequence[AttemptRecord]) -> None:
    """No run was trained twice at the same time, and no attempt is without its end and its costs."""
    for run_id, group in groupby(
        sorted(attempts, key=lambda one: (one.run_id, one.number)), key=lambda one: one.run_id
    ):
        mine = list(group)
        assert [one.number for one in mine] == list(range(1, len(mine) + 1)), run_id
        assert all(one.ended_at is not None and one.exit_reason for one in mine), run_id
        for before, after in pairwise(mine):
            assert before.ended_at is not None
            assert before.ended_at <= after.started_at + CLOCK_SECONDS, (before, after)


def assert_attempts_pay_for_results(
    observations: Sequence[ObservationRecord], attempts: Sequence[AttemptRecord]
) -> None:
    """All attempts of a run are charged at least what is in its result; what they cost more is work that a fault took
    with it.
    """
    for seen in observations:
        paid = sum(charged(one) for one in attempts if one.run_id == seen.run_id)
        result = Costs.from_dict(seen.observation.costs).total.cpu_seconds
        assert result <= 1.01 * paid + 0.1, (seen.run_id, result, paid)


def charged(attempt: AttemptRecord) -> float:
    """CPU seconds; an attempt whose driver died told no costs and is charged the wall clock until its last sign of
    life, as budgets do.
    """
    if attempt.costs:
        return Costs.from_dict(attempt.costs).total.cpu_seconds
    return (attempt.ended_at or attempt.started_at) - attempt.started_at


def assert_phases_as_scheduled(runs: Sequence[RunRecord], phases: Mapping[str, tuple[int, float, float]]) -> None:
    """Args: phases: in order, how many runs each has, and the shortest and longest training in it."""
    names = [name for name, (count, _, _) in phases.items() for _ in range(count)]
    assert [run.phase for run in runs] == names
    for run in runs:
        _, shortest, longest = phases[run.phase]
        assert shortest <= run.params[LENGTH] <= longest, (run.id, run.params[LENGTH])


def audit(
    registry: Registry, sweep: str, runs_directory: Path, phases: Mapping[str, tuple[int, float, float]]
) -> list[str]:
    """Everything above; a line for each promise that was kept. Raises `AssertionError` at the first that was not."""
    runs, seen, attempts = registry.runs(sweep), registry.observations(sweep), registry.attempts(sweep)
    count = sum(number for number, _, _ in phases.values())
    states = ", ".join(
        f"{number} {state}" for state, number in sorted(Counter(run.state.value for run in runs).items())
    )
    again = sum(run.attempts > 1 for run in runs)
    checks: dict[str, Callable[[], None]] = {
        f"{count} runs ({states}), numbers 0 to {count - 1}, one result each": lambda: assert_numbers_have_no_gaps(
            runs, seen, count
        ),
        "no point trained twice": lambda: assert_no_point_is_a_double(runs),
        "no run started again after its end": lambda: assert_nothing_starts_after_its_end(registry, sweep),
        f"{len(attempts)} attempts, {again} runs took more than one, never two at once": lambda: (
            assert_attempts_follow_each_other(attempts)
        ),
        "scores are those in the runs' files": lambda: assert_results_are_those_of_the_files(seen, runs_directory),
        "the attempts of a run paid for all that is in its result": lambda: assert_attempts_pay_for_results(
            seen, attempts
        ),
        "phases as scheduled: " + ", ".join(phases): lambda: assert_phases_as_scheduled(runs, phases),
    }
    for check in checks.values():
        check()
    return list(checks)
