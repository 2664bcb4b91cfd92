"""One form of a run's end from the trial to the registry, and the words that everybody has for it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

import searchers
from metta_sweep.driver.runs import curve_point
from metta_sweep.errors import InvalidRequest
from metta_sweep.registry.codec import decode, dumps, encode
from metta_sweep.registry.observations import to_point, to_searcher
from metta_sweep.registry.records import FINAL_STATES, NewObservation, ObservationRecord
from trainables.result import Costs, FailureKind, Outcome, Point, RunEnd, RunResult, Span

COSTS = Costs(train=Span(3.0, 2.0, 1.0))
LOST = RunResult(
    Outcome.INTERRUPTED,
    None,
    COSTS,
    COSTS,
    env_steps=7,
    failure=FailureKind.INFRASTRUCTURE,
    signature="lost",
    message="a worker was lost",
    log_tail="...",
    nodes=("n0",),
)
DONE = RunResult(
    Outcome.COMPLETED,
    1.5,
    COSTS,
    COSTS,
    metrics={"reward": 1.5},
    standard_error=0.1,
    curve=(Point(10, Span(1.0, 2.0, 3.0), 0.5),),
    env_steps=20,
)
STORED = {
    "outcome": "completed",
    "score": 1.5,
    "cost_seconds": 4.0,
    "wall_seconds": 5.0,
    "metrics": {"reward": 1.5},
    "standard_error": 0.1,
    "curve": [{"env_steps": 10, "seconds": 2.0, "score": 0.5}],
    "env_steps": 20,
    "failure": None,
    "signature": "",
    "message": "",
    "log_tail": "",
    "nodes": [],
}


def stored(result: RunResult, curve: tuple[dict[str, Any], ...] = ()) -> NewObservation:
    return NewObservation.of(result, cost_seconds=4.0, wall_seconds=5.0, curve=curve)


def test_the_optimiser_has_the_same_words_for_the_end_of_a_run() -> None:
    assert [*map(str, searchers.FailureKind)] == [*map(str, FailureKind)]
    assert {*map(str, searchers.Outcome)} == {*map(str, Outcome)} - {"interrupted"} == {*map(str, FINAL_STATES)}


def test_a_result_is_stored_as_the_version_before_wrote_it() -> None:
    observation = stored(DONE, ({"env_steps": 10, "seconds": 2.0, "score": 0.5},))
    written = encode(observation)
    assert written.pop("costs") == written.pop("attempt_costs") == encode(COSTS)
    assert written == STORED
    assert decode(NewObservation, {**STORED, "costs": encode(COSTS), "attempt_costs": encode(COSTS)}) == observation


def test_standard_errors_reach_the_optimiser_and_what_is_none_is_left_out() -> None:
    curve = tuple(curve_point(replace(DONE.curve[0], score_se=error), "cpu_seconds") for error in (0.5, None))
    observation = stored(DONE, curve)
    record = ObservationRecord(1, "s.r.0", 0, "", {"x": 1.0}, observation, 0.0)
    told = to_searcher(record)
    assert (told.score_se, to_point(curve[0]).score_se, to_point(curve[1]).score_se) == (0.1, 0.5, None)
    wrong = replace(observation, standard_error=-1.0, curve=({**curve[0], "score_se": "x"},))
    told = to_searcher(replace(record, observation=wrong))
    assert (told.score_se, told.curve[0].score_se) == (None, None)


def test_everything_that_a_trial_tells_of_the_end_is_stored() -> None:
    lost = stored(LOST.given_up())
    assert {item.name: getattr(lost, item.name) for item in fields(RunEnd)} == {
        item.name: getattr(LOST.given_up(), item.name) for item in fields(RunEnd)
    }


@pytest.mark.parametrize("result", [LOST, DONE])
def test_a_result_comes_back_from_the_trial_as_it_was(result: RunResult) -> None:
    again = RunResult.from_dict(decode(dict[str, Any], encode(result.to_dict())))
    assert again == result
    assert (type(again.outcome), again.failure) == (Outcome, result.failure)


def test_a_run_that_lost_its_workers_is_interrupted_and_has_failed_only_when_nobody_takes_it_up() -> None:
    assert (LOST.is_lost, LOST.given_up()) == (True, replace(LOST, outcome=Outcome.FAILED))
    asked = replace(LOST, failure=None)
    assert (asked.is_lost, asked.given_up()) == (False, asked)
    with pytest.raises(InvalidRequest, match="outcome: need completed, stopped_early or failed, got 'interrupted'"):
        stored(LOST)


def test_the_words_are_plain_texts_on_disk() -> None:
    line = dumps(stored(LOST.given_up()))
    assert '"outcome":"failed"' in line
    assert '"failure":"infrastructure"' in line


@pytest.mark.parametrize(
    ("told", "kind"),
    [("code", "code"), ("nonsense", "infrastructure"), (None, "infrastructure"), ([], "infrastructure")],
)
def test_a_kind_of_failure_that_there_is_not_is_not_held_against_the_point(told: object, kind: str) -> None:
    assert FailureKind.known(told) == kind
