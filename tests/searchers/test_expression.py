"""Conditions and constraints: what the language holds, refuses and warns of."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from searchers import Space, SpaceError
from searchers.expression import parse


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
        ("a", "'a' is not a condition; compare it with something, such as 'a > 0'"),
        ("a * b", "'a \\* b' is not a condition"),
        ("a > 0 or b", "'b' is not a condition"),
        ("not a", "'a' is not a condition"),
        ("'text'", "is not a condition"),
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


def test_constraints_are_a_list() -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_config({"a": {"min": 0.0, "max": 1.0}}, "a < 0.5")
    assert caught.value.problems == ("constraints: need a list of expressions, got 'a < 0.5'; put it in a list",)


def test_truth_values_and_dotted_choices_may_stand_in_conditions() -> None:
    space = Space.from_config(
        {"flag": {"choices": [True, False]}, "kind": {"choices": ["torch.adam", "sgd"]}},
        ["flag == true or kind == torch.adam"],
    )
    assert space.is_feasible({"flag": False, "kind": "torch.adam"})
    assert not space.is_feasible({"flag": False, "kind": "sgd"})
