"""What may stand in an observation: numbers of every library become Python's, the rest is refused when it is made."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from searchers import CurvePoint, FailureKind, Observation, ObservationError, Outcome, Protein, ProteinConfig, Space


def test_numbers_and_texts_of_numpy_become_pythons() -> None:
    params = {
        "half": np.float16(0.1),
        "single": np.float32(0.1),
        "whole": np.int64(3),
        "flag": np.bool_(True),
        "text": np.str_("adam"),
        "array": np.array(2.5),
        "large": np.float16(65504),
    }
    observation = Observation(
        params, np.float16(0.5), np.int32(7), curve=(CurvePoint(np.int64(9), np.float32(1), np.float16(0.25)),)
    )
    assert observation.params == {
        "half": 0.1,
        "single": 0.1,
        "whole": 3,
        "flag": True,
        "text": "adam",
        "array": 2.5,
        "large": 65504.0,
    }
    kinds = {name: type(value) for name, value in observation.params.items()}
    assert kinds == {
        "half": float,
        "single": float,
        "whole": int,
        "flag": bool,
        "text": str,
        "array": float,
        "large": float,
    }
    assert (observation.score, observation.cost_seconds, observation.curve[0].score) == (0.5, 7.0, 0.25)
    assert {type(value) for value in (observation.score, observation.cost_seconds, observation.curve[0].score)} == {
        float
    }


@pytest.mark.parametrize(
    ("score", "number"), [(True, 1.0), (np.bool_(False), 0.0), (Decimal("0.5"), 0.5), (3, 3.0), (10**90, 1e90)]
)
def test_what_is_a_number_by_any_name_is_a_score(score: Any, number: float) -> None:
    assert Observation({}, score, 1.0).score == number


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"score": "0.5"}, "score: need a number, got '0.5'"),
        ({"score": [0.5]}, r"score: need a number, got \[0.5\]"),
        ({"score": np.array([0.5])}, "score: need a number, got array"),
        ({"score": 1j}, "score: need a number, got 1j"),
        ({"score": 10**400}, "score: need a number, got one beyond 1.8e308"),
        ({"score": math.inf}, "score: need a finite number, got inf"),
        ({"score": np.float16(math.nan)}, "score: need a finite number, got nan"),
        ({"cost_seconds": "7"}, "cost_seconds: need a number, got '7'"),
        ({"cost_seconds": 0}, "cost_seconds: need a finite number > 0, got 0"),
        ({"wall_seconds": {}}, "wall_seconds: need a number, got {}"),
        ({"params": {"a": [1]}}, r"params.a: need a number, text or truth value, got \[1\]"),
        ({"params": {"a": {"b": 1}}}, "params.a: need a number, text or truth value, got {'b': 1}"),
        ({"params": {"a": np.array([1.0])}}, "params.a: need a number, text or truth value, got array"),
        ({"params": {"a": 10**5000}}, "params.a: need a number below 2\\*\\*1000, got a whole number of 16610 bits"),
        ({"params": {1: 2}}, "params: need texts as names, got 1"),
        ({"params": [1]}, r"params: need a mapping from dotted path to value, got \[1\]"),
        ({"outcome": "done"}, "outcome: need one of completed, stopped_early, failed, got 'done'"),
        (
            {"outcome": "failed", "score": None, "failure": "bad"},
            "failure: need one of hyperparameters, infrastructure, code, got 'bad'",
        ),
        ({"curve": ((1, 2.0, 3.0),)}, "curve: need CurvePoint"),
        ({"score_se": -0.1}, "score_se: need a standard error >= 0, got -0.1"),
    ],
)
def test_what_cannot_be_a_result_is_refused_at_once(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ObservationError, match=complaint):
        Observation(**{"params": {}, "score": 0.5, "cost_seconds": 1.0, **fields})


@pytest.mark.parametrize("steps", [math.nan, math.inf, None, "9", [1], 10**400])
def test_a_curve_point_needs_a_step(steps: Any) -> None:
    with pytest.raises(ObservationError, match=r"curve\.env_steps: need a"):
        CurvePoint(steps, 1.0, 0.5)


@pytest.mark.parametrize("score", [sys.float_info.max, -1e308, -1.1e100])
def test_a_score_beyond_1e100_is_a_run_that_failed_by_its_hyperparameters(score: float) -> None:
    observation = Observation({}, score, 10.0)
    assert (observation.score, observation.outcome, observation.failure) == (
        None,
        Outcome.FAILED,
        FailureKind.HYPERPARAMETERS,
    )


def test_points_of_a_curve_without_a_possible_score_are_left_out_and_the_rest_is_in_order() -> None:
    points = (
        CurvePoint(30, 3, 0.3),
        CurvePoint(10, 1, math.nan),
        CurvePoint(20, 2, 1e300),
        CurvePoint(5, 1, 0.1),
        CurvePoint(30, 3, 0.4),
    )
    points = (*points, CurvePoint(7, 1, None))  # type: ignore[assignment]
    assert Observation({}, 0.5, 1.0, curve=points).curve == (CurvePoint(5, 1, 0.1), CurvePoint(30, 3, 0.4))


def test_costs_are_limited_to_what_a_square_can_hold() -> None:
    assert Observation({}, 0.5, sys.float_info.max, wall_seconds=5e-324).cost_seconds == 1e100
    assert Observation({}, 0.5, 1.0, wall_seconds=5e-324).wall_seconds == 1e-100


ODD = [
    True,
    np.float16(0.5),
    np.float32(0.5),
    np.int64(1),
    np.bool_(True),
    np.str_("x"),
    "0.5",
    None,
    math.nan,
    math.inf,
    10**5000,
    [1],
    {"a": 1},
]
ODD += [np.array([1.0, 2.0]), object(), b"1", 1j]


@pytest.mark.parametrize("value", ODD, ids=lambda value: str(type(value)))
def test_embedding_forgives_every_value(value: Any) -> None:
    space = Space.from_config(
        {
            "a": {"min": 0.0, "max": 2.0},
            "n": {"distribution": "int_uniform", "min": 0, "max": 9},
            "c": {"choices": ["x", 1, 2.5]},
        }
    )
    assert np.isfinite(space.embed(dict.fromkeys(space.names, value))).all()
    assert isinstance(space.contains(dict.fromkeys(space.names, value)), bool)
    protein = Protein(space, ProteinConfig(), rng=np.random.default_rng(0))
    assert space.contains(protein.suggest(pending=[{"a": value, "trainer.total_timesteps": value}]).params)
    assert protein.predict({"a": value}).success_probability == 1.0


def test_a_choice_is_known_by_its_value_in_half_precision() -> None:
    space = Space.from_config({"c": {"choices": [0.1, 0.3, True, 1]}})
    values: list[Any] = [np.float16(0.3), np.float32(0.3), np.bool_(True), np.int8(1)]
    assert [space.embed({"c": value})[0] for value in values] == [-0.25, -0.25, 0.25, 0.75]


def test_configuration_takes_numpys_numbers() -> None:
    space = Space.from_config(
        {
            "a": {"min": np.float32(0.1), "max": np.int64(3)},
            "c": {"choices": [np.int64(1), np.float16(0.1)]},
            "f": {"value": np.float32(0.1)},
        }
    )
    assert (space.parameters[0].low, space.parameters[1].choices, space.fixed["f"]) == (0.1, (1, 0.1), 0.1)  # type: ignore[union-attr]
