"""What is suggested where the usual way is closed: nothing new, nothing affordable, no model."""

from __future__ import annotations

import numpy as np
import pytest

from searchers import Observation, Origin, Space
from tests.searchers.plain_task import make, played

SWITCH = Space.from_config({"kind": {"choices": ["a", "b"]}})


def test_when_every_point_was_tried_the_next_one_is_a_repeat_and_says_so() -> None:
    protein = make(SWITCH, num_random_samples=4, max_suggestion_cost=1e-3)
    for kind in ("a", "b"):
        protein.observe(Observation({"kind": kind}, 1.0, 10.0))
    initial = protein.suggest(number=2)
    assert initial.explanation.origin is Origin.REPLICATE
    assert initial.explanation.reason == "every point of the space was tried; a repeat"
    assert make(SWITCH).suggest(pending=[{"kind": "a"}, {"kind": "b"}], number=1).explanation.origin is Origin.REPLICATE


def test_exploration_of_a_space_that_was_tried_whole_repeats_a_point() -> None:
    protein = make(SWITCH, exploration_share=0.999, num_random_samples=1)
    for kind in ("a", "b", "a"):
        protein.observe(Observation({"kind": kind}, 1.0 + (kind == "a"), 10.0))
    assert protein.suggest(number=4).explanation.origin is Origin.REPLICATE


def test_exploration_that_can_afford_nothing_goes_cheap() -> None:
    protein = make(exploration_share=0.999, num_random_samples=1, max_suggestion_cost=1e-3)
    played(protein, 4)
    assert protein.suggest().explanation.origin is Origin.FALLBACK


def test_a_model_that_cannot_be_factorised_costs_a_random_suggestion_and_not_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    protein = make(max_suggestion_cost=100.0)
    played(protein, 6)

    def refuse(*_: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr("searchers.rating.Rater.of", refuse)
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
