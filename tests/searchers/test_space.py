"""The search space: layout of each distribution, centre, sampling under constraints and conditions, round trips."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from searchers import Distribution, Observation, Protein, ProteinConfig, Space, SpaceError, register_distribution
from searchers.distributions import DISTRIBUTIONS


def one(leaf: dict[str, Any]) -> Space:
    return Space.from_config({"x": leaf})


def natural(space: Space, unit: float) -> Any:
    return space.from_unit(space.snap(np.array([[unit]]))[0])["x"]


@pytest.mark.parametrize(
    ("leaf", "middle"),
    [
        ({"min": 0.0, "max": 4.0}, 2.0),
        ({"distribution": "log_normal", "min": 1e-4, "max": 1e-2}, 1e-3),
        ({"distribution": "logit_normal", "min": 0.1, "max": 0.9}, 0.5),
        ({"distribution": "int_uniform", "min": 1, "max": 5}, 3),
        ({"distribution": "uniform_pow2", "min": 4, "max": 64}, 16),
        ({"distribution": "int_log_normal", "min": 10, "max": 1000}, 100),
    ],
)
def test_both_bounds_and_the_middle_of_every_distribution(leaf: dict[str, Any], middle: float) -> None:
    space = one(leaf)
    assert natural(space, -1.0) == leaf["min"]
    assert natural(space, 1.0) == leaf["max"]
    assert natural(space, 0.0) == pytest.approx(middle, rel=1e-9)
    assert type(natural(space, 0.3)) is type(middle)
    assert space.to_unit({"x": natural(space, 0.3)}) == pytest.approx(space.snap(np.array([[0.3]]))[0], abs=1e-9)


def test_whole_numbers_and_powers_of_two_have_equal_cells() -> None:
    units = np.linspace(-0.9999, 0.9999, 6000)
    for leaf in (
        {"distribution": "int_uniform", "min": 1, "max": 3},
        {"distribution": "uniform_pow2", "min": 2, "max": 8},
    ):
        space = one(leaf)
        values, counts = np.unique(space.columns(space.snap(units[:, None]))["x"], return_counts=True)
        assert len(values) == 3
        assert counts == pytest.approx([2000, 2000, 2000], abs=1)


def test_a_value_beyond_the_bounds_is_seen_beyond_the_cube() -> None:
    assert one({"min": 0.0, "max": 1.0}).to_unit({"x": 1.5}) == pytest.approx([2.0])


def test_mean_is_the_center_and_defaults_to_the_middle_of_the_scale() -> None:
    space = Space.from_config(
        {"a": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1}, "b": {"min": 0, "max": 1, "mean": 0.2}}
    )
    assert space.center() == pytest.approx({"a": 1e-3, "b": 0.2})


@pytest.mark.parametrize(
    ("scale", "expected"), [("auto", 0.5), (0.25, 0.25), ("time", 1 / (math.log2(1024) - math.log2(64)))]
)
def test_scale_is_auto_a_number_or_time(scale: Any, expected: float) -> None:
    assert one({"distribution": "uniform_pow2", "min": 64, "max": 1024, "scale": scale}).scales_unit == pytest.approx(
        [expected]
    )


def test_nested_and_dotted_keys_mean_the_same_and_order_means_nothing() -> None:
    leaf, other = {"min": 0.0, "max": 1.0}, {"distribution": "log_normal", "min": 1.0, "max": 2.0}
    dotted = Space.from_config({"trainer.ppo.gamma": leaf, "trainer.rate": other})
    assert Space.from_config({"trainer": {"rate": other, "ppo": {"gamma": leaf}}}) == dotted
    assert Space.from_config({"trainer.rate": other, "trainer": {"ppo.gamma": leaf}}) == dotted


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    assert one({"distribution": "log_normal", "min": "1e-5", "max": "1e-2"}) == one(
        {"distribution": "log_normal", "min": 1e-5, "max": 1e-2}
    )


def test_a_fixed_parameter_is_part_of_every_point_and_of_constraints() -> None:
    space = Space.from_config({"a": {"min": 0.0, "max": 8.0}, "b": {"value": 3}}, ["a <= b"])
    assert space.names == ("a",)
    points = space.sample(200, lambda count: np.random.default_rng(0).uniform(-1, 1, (count, 1)))
    assert max(space.from_unit(point)["a"] for point in points) <= 3
    assert all(space.from_unit(point)["b"] == 3 for point in points)


def test_constraints_filter_and_the_center_moves_no_more_than_it_must() -> None:
    pow2 = {"distribution": "uniform_pow2", "min": 64, "max": 4096}
    space = Space.from_config(
        {"batch": {**pow2, "mean": 256}, "mini": {**pow2, "mean": 1024}, "free": {"min": 0, "max": 1, "mean": 0.3}},
        ["mini <= batch", "batch % mini == 0"],
    )
    assert space.center()["mini"] <= space.center()["batch"]
    assert space.center()["free"] == pytest.approx(0.3)
    assert space.is_feasible({"batch": 512, "mini": 256, "free": 0.1})
    assert not space.is_feasible({"batch": 256, "mini": 512, "free": 0.1})


def test_even_tight_constraints_yield_as_many_points_as_asked() -> None:
    space = Space.from_config({"a": {"min": 0.0, "max": 1.0}, "b": {"min": 0.0, "max": 1.0}}, ["a * b > 0.97"])
    points = space.sample(500, lambda count: np.random.default_rng(0).uniform(-1, 1, (count, 2)))
    assert points.shape == (500, 2)
    assert space.feasible(points).all()


def test_a_conditional_parameter_exists_only_under_its_condition() -> None:
    space = Space.from_config(
        {
            "opt": {"choices": ["adam", "sgd"]},
            "beta": {"min": 0.8, "max": 0.99, "when": "opt == adam"},
            "warm": {"min": 1, "max": 9, "when": "beta > 0.85"},
        },
        ["beta < 0.95"],
    )
    assert space.contains({"opt": "sgd"})
    assert not space.contains({"opt": "sgd", "beta": 0.9})
    assert space.contains({"opt": "adam", "beta": 0.82})
    assert space.contains({"opt": "adam", "beta": 0.9, "warm": 4.0})
    assert not space.contains({"opt": "adam", "beta": 0.97, "warm": 4.0})
    inactive = space.snap(np.array([[0.9, 0.9, 0.1], [-0.9, 0.9, -0.4]]))
    assert (inactive[0] == inactive[1]).all()  # what differs only in parameters that do not exist is one point


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "leaf",
    [
        {"min": -1e300, "max": 1e300},
        {"min": 0, "max": 5e-324},
        {"min": 5e-324, "max": 1e-310},
        {"min": 1e6, "max": 1e6 + 1e-3},
        {"distribution": "log_normal", "min": 5e-324, "max": 1e300},
        {"distribution": "logit_normal", "min": 5e-324, "max": 0.9999999999999999},
        {"distribution": "int_uniform", "min": -(2**53), "max": 2**53},
        {"distribution": "int_log_normal", "min": 1, "max": 2**53},
        {"distribution": "uniform_pow2", "min": 1, "max": 2**900},
        {"distribution": "log_normal", "min": 1.0, "max": 1.00000001},
    ],
    ids=str,
)
def test_at_the_edge_of_floats_every_suggestion_lies_inside(leaf: dict[str, Any]) -> None:
    space = Space.from_config({"x": leaf, "y": {"min": 0.0, "max": 1.0}})
    protein = Protein(space, ProteinConfig(num_random_samples=3), rng=np.random.default_rng(0))
    for number in range(8):
        suggestion = protein.suggest()
        assert space.contains(suggestion.params)
        assert leaf["min"] <= suggestion.params["x"] <= leaf["max"]
        protein.observe(Observation(suggestion.params, float(number % 3), 1.0))
    corners = space.sample(9, lambda count: np.tile([[-1.0], [1.0], [0.5]], (count, 2))[:count])
    assert all(space.contains(space.from_unit(point)) for point in corners)


def test_to_unit_refuses_what_is_missing_or_no_choice() -> None:
    space = Space.from_config({"a": {"min": 0, "max": 1}, "b": {"choices": ["x", "y"]}})
    with pytest.raises(SpaceError) as caught:
        space.to_unit({"b": "z"})
    assert caught.value.problems == ("a: missing", "b: need one of ['x', 'y'], got 'z'")
    with pytest.raises(SpaceError) as caught:
        space.to_unit({"a": "0.5", "b": "x"})
    assert caught.value.problems == ("a: need a finite number, got '0.5'",)
    assert not space.contains({"a": 1.5, "b": "x"})
    assert not space.contains({"a": "0.5", "b": "x"})


def test_a_space_of_fixed_parameters_has_one_point() -> None:
    space = Space.from_config({"a": {"value": 3}}, ["a > 2"])
    assert space.center() == {"a": 3}
    assert space.is_feasible({"a": 3})
    with pytest.raises(SpaceError, match="no point among"):
        Space.from_config({"a": {"value": 3}}, ["a > 4"])


def test_config_and_pickle_give_the_space_again() -> None:
    space = Space.from_config(
        {
            "a": {"min": 0.0, "max": 1.0, "mean": 0.3, "scale": 0.2},
            "n": {"distribution": "uniform_pow2", "min": 2, "max": 64},
            "c": {"choices": [True, 1, "x"], "mean": 1},
            "d": {"min": 0.0, "max": 1.0, "when": "c == x"},
            "e": {"value": "text"},
        },
        ["a < 0.9", "n <= 32"],
    )
    again = Space.from_config(space.to_config(), [constraint.text for constraint in space.constraints])
    assert again == space == pickle.loads(pickle.dumps(space))
    assert space.center()["c"] == 1


def _square(values: Any) -> Any:
    return np.square(values)


def test_a_new_distribution_joins_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(DISTRIBUTIONS, "square", raising=False)
    register_distribution(Distribution("square", forward=_square, inverse=np.sqrt))
    monkeypatch.setitem(DISTRIBUTIONS, "square", DISTRIBUTIONS["square"])  # so that it is gone after the test
    assert natural(one({"distribution": "square", "min": 0.0, "max": 2.0}), 0.0) == pytest.approx(math.sqrt(2))
    with pytest.raises(ValueError, match="'uniform' exists already"):
        register_distribution(Distribution("uniform", forward=_square))


WRITTEN = [
    {"distribution": "log_normal", "min": 1e-4, "max": 1e-2, "mean": 3e-4},
    {"distribution": "log_normal", "min": 1e-5, "max": 0.1, "mean": 0.123456789012345e-3},
    {"distribution": "logit_normal", "min": 0.8, "max": 0.999, "mean": 0.98765432109876},
    {"distribution": "uniform", "min": -0.3, "max": 2.7, "mean": 0.1},
    {"distribution": "int_log_normal", "min": 1, "max": 2**40, "mean": 1_000_000_007},
]


@pytest.mark.parametrize("leaf", WRITTEN)
def test_what_a_person_wrote_as_mean_min_and_max_comes_back_to_the_last_bit(leaf: dict[str, Any]) -> None:
    space = Space.from_config({"x": leaf})
    assert space.center() == {"x": leaf["mean"]}
    assert [space.from_unit(np.array([unit]))["x"] for unit in (-1.0, 1.0)] == [leaf["min"], leaf["max"]]
    assert space.columns(space.center_unit[None])["x"].tolist() == [leaf["mean"]]  # so does what constraints see


@pytest.mark.parametrize("leaf", [leaf for leaf in WRITTEN if "int" not in leaf["distribution"]])
def test_other_numbers_have_no_more_digits_than_tell_them_from_their_neighbours(leaf: dict[str, Any]) -> None:
    space = Space.from_config({"x": leaf})
    for row in space.snap(np.random.default_rng(0).uniform(-1, 1, (200, 1))):
        value = space.from_unit(row)["x"]
        assert isinstance(value, float)
        assert space.to_unit({"x": value}).tolist() == row.tolist()
        digits = len(f"{value!r}".partition("e")[0].replace(".", "").replace("-", "").lstrip("0"))
        assert digits <= 14
        shorter = float(f"{value:.{max(digits - 2, 0)}e}")
        assert digits == 1 or space.to_unit({"x": shorter}).tolist() != row.tolist()


def test_a_number_that_a_person_would_have_written_is_suggested_as_it_would_be_written() -> None:
    space = Space.from_config({"x": {"distribution": "log_normal", "min": 1e-4, "max": 1e-2}})
    assert space.from_unit(space.to_unit({"x": 0.0007}))["x"] == 0.0007
