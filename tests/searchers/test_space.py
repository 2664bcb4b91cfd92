"""The search space: layout of each distribution, conditions, constraints, round trips, and an error for every
mistake.
"""

from __future__ import annotations

import math
import pickle
import re
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


@pytest.mark.parametrize(
    "text", ["a in [1, 3] or b == 'y z'", "not (a > 2) and 1 <= a", "a ** 2 // 3 == 0", "-a < +b2 - 4"]
)
def test_expressions_agree_with_python(text: str) -> None:
    space = Space.from_config(
        {
            "a": {"distribution": "int_uniform", "min": 0, "max": 3},
            "b": {"choices": ["x", "y z"]},
            "b2": {"min": 0.0, "max": 9.0},
        }
    )
    from searchers.expression import parse

    points = space.sample(64, lambda count: np.random.default_rng(0).uniform(-1, 1, (count, 3)))
    holds = parse(text, space.names, ["x", "y z"])(space.columns(points))
    assert holds.tolist() == [bool(eval(text, {}, space.from_unit(point))) for point in points]


def test_names_that_are_not_python_may_stand_in_constraints() -> None:
    space = Space.from_config(
        {"ppo.lambda": {"min": 0.0, "max": 1.0}, "my-rate": {"min": 0.0, "max": 1.0}}, ["ppo.lambda < my-rate"]
    )
    assert space.is_feasible({"ppo.lambda": 0.1, "my-rate": 0.2})
    assert not space.is_feasible({"ppo.lambda": 0.3, "my-rate": 0.2})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("__import__('os').system('x')", "not allowed"),
        ("a.__class__", "unknown name 'a.__class__'"),
        ("(lambda: 1)() == 1", "not allowed"),
        ("[x for x in (1,)]", "not allowed"),
        ("bb <= 1", "unknown name 'bb'; did you mean b?"),
        ("a <=", "not an expression"),
        ("", "need an expression"),
        ("a" * 2000, "need an expression"),
        ("a > 5", "no point among"),
        ("a < 'text'", "cannot be evaluated"),
        ("a", "'a' is no condition; compare it with something, such as 'a > 0'"),
        ("a * b", "'a \\* b' is no condition"),
        ("a > 0 or b", "'b' is no condition"),
        ("not a", "'a' is no condition"),
        ("'text'", "is no condition"),
        ("1 < 2", "mentions no parameter"),
        ("true", "mentions no parameter"),
        ("[a] == 1", "not allowed"),
        ("a < [1, 2]", "not allowed"),
        ("a in [[1]]", "not allowed"),
        ("-" * 400 + "a < 1", "nested more than 50 deep"),
        ("9" * 400 + " > a", "not an expression"),
        ("a > 0\nand b >", "not an expression"),
    ],
)
def test_what_is_no_expression_of_the_language_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SpaceError, match=complaint.replace("(", r"\(").replace("?", r"\?")):
        Space.from_config({"a": {"min": 0.0, "max": 1.0}, "b": {"min": 0.0, "max": 1.0}}, [text])


@pytest.mark.parametrize(
    "text",
    ["a < b\n  and b < 0.9", "a < b  # a comment\nand b < 0.9\n", "(a < b\n and\n b < 0.9)", "\n a < b and b < 0.9\n"],
)
def test_an_expression_may_stand_on_several_lines(text: str) -> None:
    space = Space.from_config({"a": {"min": 0.0, "max": 1.0}, "b": {"min": 0.0, "max": 1.0}}, [text])
    assert [space.is_feasible({"a": a, "b": b}) for a, b in ((0.1, 0.5), (0.5, 0.1), (0.1, 0.95))] == [
        True,
        False,
        False,
    ]


UNDEFINED = """b / n >= 1; b / n != 1; not b / n < 1; b // n >= 0; b % n == b % n; b % n != 5
n ** -1 > 0; b // n in [1, 2, 3]; b / n not in [77]
b / n * 0 == 0; 1 < b / n + b; b > 0 and not (b / n > 100); flag / n >= 0; mixed % n >= 0"""


@pytest.mark.parametrize("text", re.split(r"; |\n", UNDEFINED))
def test_what_divides_by_zero_does_not_hold(text: str) -> None:
    parameters = {
        "n": {"distribution": "int_uniform", "min": 0, "max": 3},
        "b": {"min": 1.0, "max": 9.0},
        "flag": {"choices": [True, False]},
        "mixed": {"choices": [1, 2.5, True]},
    }
    space = Space.from_config(parameters, [text])
    points = space.sample(200, lambda count: np.random.default_rng(0).uniform(-1, 1, (count, 4)))
    assert {space.from_unit(point)["n"] for point in points} == {1, 2, 3}


def test_what_holds_whether_or_not_something_divides_by_zero_holds() -> None:
    space = Space.from_config(
        {"n": {"distribution": "int_uniform", "min": 0, "max": 3}, "b": {"min": 1.0, "max": 9.0}},
        ["b / n > 2 or b > 5"],
    )
    assert [space.is_feasible({"n": 0, "b": b}) for b in (4.0, 6.0)] == [False, True]


def test_truth_values_can_be_counted_and_are_conditions_by_themselves() -> None:
    parameters = {
        "f": {"choices": [True, False]},
        "g": {"value": True},
        "a": {"min": 0.0, "max": 1.0, "when": "f"},
        "b": {"min": 0.0, "max": 1.0},
    }
    space = Space.from_config(parameters, ["f and g or b > 0.5", "(b > 0.2) + (b > 0.3) + (b > 0.4) >= 2"])
    assert [
        space.is_feasible({"f": f, "b": b}) for f, b in ((True, 0.35), (True, 0.25), (False, 0.35), (False, 0.6))
    ] == [True, False, False, True]
    assert space.contains({"f": False, "g": True, "b": 0.6})


def test_numbers_and_texts_that_are_mixed_in_any_choice_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"constraints: 'c < 2' cannot be evaluated: it mixes numbers and texts"):
        Space.from_config({"c": {"choices": [1, 2.5, "x"]}}, ["c < 2"])
    with pytest.raises(SpaceError, match=r"b\.when: 'c < 2' cannot be evaluated"):
        Space.from_config({"c": {"choices": [1, "x"]}, "b": {"min": 0, "max": 1, "when": "c < 2"}})


BASE: dict[str, Any] = {
    "c": {"choices": ["adam", "sgd"]},
    "a": {"distribution": "int_uniform", "min": 1, "max": 5},
    "x": {"min": 0.0, "max": 1.0},
    "k": {"value": "adam"},
}
DOUBTFUL = [
    (
        "c == 'adamm'",
        "b.when: \"c == 'adamm'\" holds at none of 2 points tried: b is never searched; did you mean adam?",
    ),
    ("a > 9", "b.when: 'a > 9' holds at none of 5 points tried: b is never searched"),
    ("x == 1", "b.when: 'x == 1' holds at none of 16,384 points tried: b is never searched"),
    ("a == 1 and a == 2", "b.when: 'a == 1 and a == 2' holds at none of 5 points tried: b is never searched"),
    ("c == 1", "b.when: 'c == 1' holds at none of 2 points tried: b is never searched"),
    ("k == sgd", "b.when: 'k == sgd' holds at none of 1 points tried: b is never searched"),
    ("a >= 1", "b.when: 'a >= 1' holds at all of 5 points tried; leave it out if b always exists"),
    ("x < 2", "b.when: 'x < 2' holds at all of 16,384 points tried; leave it out if b always exists"),
]


@pytest.mark.parametrize(("when", "doubt"), DOUBTFUL, ids=[when for when, _ in DOUBTFUL])
def test_a_condition_that_never_or_always_holds_is_said(
    when: str, doubt: str, caplog: pytest.LogCaptureFixture
) -> None:
    space = Space.from_config({**BASE, "b": {"min": 0, "max": 1, "when": when}})
    assert [": ".join(one) for one in space.doubts] == [doubt]
    assert caplog.messages == [doubt]


def test_a_constraint_that_excludes_nothing_is_said() -> None:
    assert Space.from_config(BASE, ["a <= 5", "a * x < 4"], warn=False).doubts == (
        ("constraints", "'a <= 5' holds at all of 5 points tried: it excludes nothing"),
    )


@pytest.mark.parametrize("when", ["a == 5", "c == sgd", "x > 0.99", "k == adam", "a * x > 4.9"])
def test_a_condition_that_sometimes_holds_is_no_matter(when: str) -> None:
    assert Space.from_config({**BASE, "b": {"min": 0, "max": 1, "when": when}}).doubts == ()


def test_a_power_tower_overflows_instead_of_hanging() -> None:
    assert Space.from_config({"a": {"min": 0.0, "max": 1.0}}, ["9 ** 9 ** 9 ** 9 > a"]).is_feasible({"a": 0.5})


BAD_LEAVES: list[tuple[Any, str]] = [
    ({"min": 5, "max": 1}, "x.min: need min < max, got min 5 and max 1; swap them or use {value: 5}"),
    ({"min": 1, "max": 1}, "x.min: need min < max, got min 1 and max 1; swap them or use {value: 1}"),
    ({"min": 0, "max": 1, "mean": 2}, "x.mean: need a value from min 0 to max 1, got 2; move mean or widen the range"),
    (
        {"min": 0, "max": 1, "distribution": "uniforn"},
        "x.distribution: unknown distribution 'uniforn'; did you mean uniform?",
    ),
    ({"min": 0, "mx": 1}, "x.mx: unknown key; did you mean max?"),
    ({"values": [1, 2]}, "x.values: unknown key; did you mean choices?"),
    ({"min": 0}, "x.max: need a finite number, got nothing"),
    ({"min": "low", "max": 1}, "x.min: need a finite number, got 'low'"),
    ({"min": True, "max": 2}, "x.min: need a finite number, got True"),
    ({"min": 0, "max": float("inf")}, "x.max: need a finite number, got inf"),
    ({"min": 0, "max": 1, "scale": 0}, "x.scale: need auto, time or a number > 0, got 0"),
    ({"min": 0, "max": 1, "scale": "autp"}, "x.scale: need auto, time or a number > 0, got 'autp'; did you mean auto?"),
    ({"min": 0, "max": 1, "scale": "time"}, "x.scale: time needs min > 0, got 0; use auto or a number"),
    (
        {"distribution": "logit_normal", "min": 0.5, "max": 1.0},
        "x.max: logit_normal needs max < 1, got 1.0; use 0.9999 or distribution: uniform",
    ),
    (
        {"distribution": "log_normal", "min": 0, "max": 1},
        "x.min: log_normal needs min > 0, got 0.0; use a small positive number or distribution: uniform",
    ),
    (
        {"distribution": "uniform_pow2", "min": 100, "max": 4096},
        "x.min: uniform_pow2 needs a power of two, got 100.0; use 128 or distribution: int_uniform",
    ),
    (
        {"distribution": "int_uniform", "min": 1.5, "max": 4},
        "x.min: int_uniform needs a whole number, got 1.5; use 2 or distribution: uniform",
    ),
    ({"choices": ["a"]}, "x.choices: need a list of at least two values, got ['a']; use {value: ...} for a single one"),
    ({"choices": ["a", "a"]}, "x.choices: a value stands twice in ['a', 'a']; remove one"),
    ({"choices": ["a", "b"], "mean": "c"}, "x.mean: need one of ['a', 'b'], got 'c'"),
    ({"choices": ["a", "b"], "min": 1}, "x.min: categorical has choices only; remove min"),
    ({"choices": ["a", [1]]}, "x.choices: need numbers, texts or truth values, got ['a', [1]]"),
    ({"value": [1]}, "x.value: need a number, text or truth value, got [1]"),
    (
        {"distribution": "uniform", "min": 0, "max": 1, "choices": [1, 2]},
        "x.choices: uniform has min and max; remove choices or use distribution: categorical",
    ),
    (
        {"distribution": "logit_normal", "min": 0, "max": 0.9},
        "x.min: logit_normal needs min > 0, got 0.0; use 0.0001 or distribution: uniform",
    ),
    (
        {"distribution": "int_log_normal", "min": 0.5, "max": 9},
        "x.min: int_log_normal needs a whole number >= 1, got 0.5; use 1 or distribution: log_normal",
    ),
    ({"value": 1, "min": 0}, "x.min: a fixed parameter has value only; remove min or value"),
    (3, "x: need a mapping with min and max, choices, or value, got 3; use {value: 3} to fix it"),
    ({}, "x: empty; need min and max, choices, or value"),
    (
        {"min": 0, "max": 1, "when": "y > 1"},
        "x.when: 'y > 1': unknown name 'y'; give it under parameters, as {value: ...} if it is fixed",
    ),
    (
        {"min": 0, "max": 1, "when": "x > 1"},
        "x.when: 'x > 1' depends on the parameter itself (a circle through ['x']); break it",
    ),
]


EDGES: list[tuple[dict[str, Any], str]] = [
    (
        {"min": 0, "max": 1.7976931348623157e308},
        "x.max: need a number from -1e+300 to 1e+300, got 1.7976931348623157e+308",
    ),
    ({"distribution": "log_normal", "min": 1, "max": 1e301}, "x.max: need a number from -1e+300 to 1e+300, got 1e+301"),
    (
        {"distribution": "int_uniform", "min": 0, "max": 2**60},
        "x.max: int_uniform needs whole numbers from -2**53 to 2**53",
    ),
    (
        {"distribution": "int_log_normal", "min": 1, "max": 2**54},
        "x.max: int_log_normal needs whole numbers up to 2**53",
    ),
    ({"distribution": "uniform_pow2", "min": 2, "max": 2**53 + 2}, "x.max: uniform_pow2 needs a power of two"),
    ({"min": 2**53 + 1, "max": 2**60}, f"x.min: no float is {2**53 + 1}, the nearest one is {2**53}; use that"),
    (
        {"min": 1.0, "max": 1.0000000000000002},
        "x.max: the range from 1.0 to 1.0000000000000002 holds too few floats to search",
    ),
    ({"min": 1e300, "max": -1e300}, "x.min: need min < max"),
    ({"min": 0, "max": 10**400}, "x.max: need a finite number, got a whole number of 1329 bits"),
    ({"min": 0, "max": 1, "scale": 1e308}, "x.scale: need auto, time or a number > 0 and at most 1e+06, got 1e+308"),
    ({"choices": [1, 10**400]}, "x.choices: need numbers, texts or truth values, got [1, a whole number of 1329 bits]"),
    ({"value": 10**400}, "x.value: need a number, text or truth value, got a whole number of 1329 bits"),
]


@pytest.mark.parametrize(("leaf", "line"), EDGES, ids=[line[:40] for _, line in EDGES])
def test_what_floats_cannot_hold_is_refused_at_once(leaf: dict[str, Any], line: str) -> None:
    with pytest.raises(SpaceError) as caught:
        one(leaf)
    assert caught.value.problems[0].startswith(line)


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


@pytest.mark.parametrize(("leaf", "line"), BAD_LEAVES, ids=[line.split(";")[0] for _, line in BAD_LEAVES])
def test_every_mistake_has_its_line(leaf: Any, line: str) -> None:
    with pytest.raises(SpaceError) as caught:
        one(leaf)
    assert caught.value.problems == (line,)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_config(
            {"a": {"min": 2, "max": 1}, "b": {"distribution": "beta"}, "c": {"min": 0, "max": 1, "mean": 7}}
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["a.min", "b.distribution", "c.mean"]


def test_a_parameter_given_nested_and_dotted_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"a\.b: given twice"):
        Space.from_config({"a.b": {"min": 0, "max": 1}, "a": {"b": {"min": 0, "max": 2}}})


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


def test_constraints_are_a_list() -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_config({"a": {"min": 0.0, "max": 1.0}}, "a < 0.5")
    assert caught.value.problems == ("constraints: need a list of expressions, got 'a < 0.5'; put it in a list",)


def test_a_space_of_fixed_parameters_has_one_point() -> None:
    space = Space.from_config({"a": {"value": 3}}, ["a > 2"])
    assert space.center() == {"a": 3}
    assert space.is_feasible({"a": 3})
    with pytest.raises(SpaceError, match="no point among"):
        Space.from_config({"a": {"value": 3}}, ["a > 4"])


def test_truth_values_and_dotted_choices_may_stand_in_conditions() -> None:
    space = Space.from_config(
        {"flag": {"choices": [True, False]}, "kind": {"choices": ["torch.adam", "sgd"]}},
        ["flag == true or kind == torch.adam"],
    )
    assert space.is_feasible({"flag": False, "kind": "torch.adam"})
    assert not space.is_feasible({"flag": False, "kind": "sgd"})


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
