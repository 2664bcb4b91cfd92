"""What is suggested where the usual way is closed: nothing new, nothing affordable, no model."""

from __future__ import annotations

import numpy as np
import pytest

from searchers import Observation, Origin, Params, ProteinConfig, Space
from tests.searchers.plain_task import make, played

SWITCH = Space.from_config({"kind": {"choices": ["a", "b"]}})


def test_when_every_point_was_tried_the_next_one_is_a_repeat_and_says_so() -> None:
    protein = make(SWITCH, num_random_samples=4, max_suggestion_cost=1e-3)
    for kind in ("a", "b"):
        protein.observe(Observation({"kind": kind}, 1.0, 10.0))
    initial = protein.suggest(number=2)
    assert initial.explanation.origin is Origin.REPLICATE
    assert initial.explanation.reason.startswith(
        "every point of the space was tried; a repeat, and no candidate is predicted to take at most"
    )
    assert make(SWITCH).suggest(pending=[{"kind": "a"}, {"kind": "b"}], number=1).explanation.origin is Origin.REPLICATE


def test_a_model_that_cannot_be_factorised_costs_a_random_suggestion_and_not_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protein = make(max_suggestion_cost=100.0)
    played(protein, 6)

    def refuse(*_: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr("searchers.proposer.acquisition_of", refuse)
    suggestion = protein.suggest()
    assert suggestion.explanation.reason == "the model could not be factorised; a random affordable point"
    cost = protein.predict(suggestion.params).cost
    assert cost is not None
    assert cost.mean <= 100.0


def test_a_sweep_of_fixed_parameters_alone_repeats_its_point() -> None:
    protein = make(Space.from_config({"a": {"value": 3}}), num_random_samples=1)
    for _ in range(4):
        suggestion = protein.suggest()
        assert suggestion.params == {"a": 3}
        protein.observe(Observation(suggestion.params, 1.0, 10.0))


@pytest.mark.parametrize("cap", [None, 3600.0])
@pytest.mark.parametrize("at_once", [1, 3, 5])
def test_a_small_space_with_parallel_runs_repeats_points_and_says_so(cap: float | None, at_once: int) -> None:
    protein = make(SWITCH, max_suggestion_cost=cap, num_random_samples=2)
    pending: list[Params] = []
    reasons = []
    for _ in range(14):
        suggestion = protein.suggest(pending=pending)
        reasons.append(suggestion.explanation.reason)
        pending.append(suggestion.params)
        if len(pending) == at_once:
            params = pending.pop(0)
            protein.observe(Observation(params, float(params["kind"] == "a"), 10.0))
    assert at_once < 5 or "every point of the space was tried or is pending; a repeat of the front" in reasons
    assert not any("afford" in reason or "predicted to take" in reason for reason in reasons)


def test_the_last_new_points_of_a_space_are_found_wherever_they_lie() -> None:
    space = Space.from_config({"n": {"distribution": "int_uniform", "min": 1, "max": 40}})
    protein = make(space, num_random_samples=1, global_search_scale=0.001)
    for _ in range(60):
        suggestion = protein.suggest()
        protein.observe(Observation(suggestion.params, float(np.sin(float(suggestion.params["n"]))), 10.0))
    assert {observation.params["n"] for observation in protein.observations} == set(range(1, 41))
    assert protein.suggest().explanation.origin is Origin.REPLICATE


def test_close_pending_runs_leave_a_new_point_of_a_continuous_space() -> None:
    space = Space.from_config({"x": {"min": 0.0, "max": 1.0}})
    protein = make(space, num_random_samples=1, global_search_scale=0.001)
    for score in (0.0, 1.0):
        protein.observe(Observation({"x": 0.5}, score, 10.0))
    suggestion = protein.suggest(pending=[{"x": 0.5}], number=7)
    assert suggestion.params["x"] != 0.5
    assert suggestion.explanation.origin is Origin.FALLBACK
    assert (
        suggestion.explanation.reason
        == "every candidate was tried or is close to a pending run; a random new point instead"
    )


def test_a_point_beyond_the_bounds_of_the_phase_is_never_called_repeated() -> None:
    """The front of the last phase lies beyond these bounds: at the bound nothing was run."""
    space = Space.from_config({"x": {"min": 0.0, "max": 1.0}})
    protein = make(Space.from_config({"x": {"min": 0.0, "max": 10.0}}), num_random_samples=1)
    for x in (2.0, 4.0, 6.0, 8.0, 10.0):
        protein.observe(Observation({"x": x}, x, 10.0))
    narrow = protein.with_phase(space, ProteinConfig(num_random_samples=1, resample_frequency=2))
    for number in range(2, 8):
        suggestion = narrow.suggest(number=number)
        assert suggestion.explanation.origin is not Origin.REPLICATE
        assert "repeat" not in suggestion.explanation.reason
    narrow.observe(Observation({"x": 0.25}, 0.25, 5.0))
    repeated = narrow.suggest(number=8)
    assert (repeated.params, repeated.explanation.origin) == ({"x": 0.25}, Origin.REPLICATE)


def test_a_run_without_a_parameter_of_this_phase_is_no_run_at_its_centre() -> None:
    space = Space.from_config({"kind": {"choices": ["a", "b"]}, "new": {"choices": ["p", "q"]}, "fixed": {"value": 1}})
    protein = make(space, num_random_samples=1)
    for kind in ("a", "b", "a", "b"):
        protein.observe(Observation({"kind": kind, "fixed": 1}, float(kind == "a"), 10.0))
        protein.observe(Observation({"kind": kind, "new": "q", "fixed": 2}, float(kind == "a"), 10.0))
    for number in range(1, 4):
        assert protein.suggest(number=number).explanation.origin is not Origin.REPLICATE
