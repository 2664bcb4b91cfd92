"""A wrong parameter of a search space: one line for every mistake, with its key, value and fix."""

from __future__ import annotations

from typing import Any

import pytest

from searchers import Space, SpaceError

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
        Space.from_config({"x": leaf})
    assert caught.value.problems[0].startswith(line)


@pytest.mark.parametrize(("leaf", "line"), BAD_LEAVES, ids=[line.split(";")[0] for _, line in BAD_LEAVES])
def test_every_mistake_has_its_line(leaf: Any, line: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_config({"x": leaf})
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
