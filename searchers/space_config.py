"""Reading a search space from configuration: every problem found, each one line, key first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from searchers.distributions import (
    DISTRIBUTIONS,
    LARGEST_BOUND,
    CategoricalParameter,
    Distribution,
    NumericParameter,
    Parameter,
    shown,
)
from searchers.errors import Keyed, SpaceError
from searchers.expression import Expression, parse
from searchers.observation import ParamValue, number_of, plain
from searchers.space_hints import distribution_hint, key_hint, nearest
from searchers.values import column, constant

# What a parameter may say of itself
LEAF_KEYS = ("distribution", "min", "max", "mean", "scale", "choices", "value", "when")
AUTO_SCALE = 0.5  # a quarter of the range: `auto` of Metta's sweep files
LARGEST_SCALE = 1e6  # as good as no belief; keeps arithmetic finite
# A range that is narrower than this share of its values holds too few floats to search.
NARROWEST = 1e-12
# Points at which expressions are tried while a space is read.
TRIED = 256

Parsed = tuple[tuple[Parameter, ...], dict[str, ParamValue], tuple[Expression, ...], dict[str, Expression]]


def parse_space(parameters: Mapping[str, Any], constraints: Sequence[str]) -> Parsed:
    """Parameters, fixed values, constraints and conditions of a sweep file.

    Raises:
        SpaceError: everything that is wrong.
    """
    problems: list[Keyed] = []
    free: list[Parameter] = []
    fixed: dict[str, ParamValue] = {}
    for name, leaf in sorted(_leaves(parameters, "", problems), key=lambda named: named[0]):
        if name in fixed or any(parameter.name == name for parameter in free):
            problems.append((name, "given twice (nested and dotted); keep one"))
        elif "value" in leaf:
            _read_fixed(name, leaf, fixed, problems)
        else:
            parameter = _read_parameter(name, leaf, problems)
            free += [parameter] if parameter else []
    # Conditions and constraints can only be judged against parameters that are right.
    if problems:
        raise SpaceError(*problems)
    conditions = _read_conditions(free, fixed, problems)
    parsed_constraints = _read_constraints(constraints, free, fixed, problems)
    keyed = [("constraints", constraint) for constraint in parsed_constraints] + [
        (f"{name}.when", one) for name, one in conditions.items()
    ]
    _try_expressions(free, fixed, keyed, problems)
    if problems:
        raise SpaceError(*problems)
    return tuple(free), fixed, parsed_constraints, conditions


def parameter_config(parameter: Parameter) -> dict[str, Any]:
    """The leaf that reads back as `parameter`: a centre that nobody wrote stays unwritten, for a written one is a
    belief.
    """
    when = {"when": parameter.when} if parameter.when else {}
    if isinstance(parameter, CategoricalParameter):
        belief = {"mean": parameter.mean} if parameter.is_believed else {}
        return {"distribution": "categorical", "choices": list(parameter.choices), **belief, **when}
    native = parameter.native
    bounds = {"min": native(parameter.low), "max": native(parameter.high)}
    written = {"mean": native(parameter.mean), "scale": parameter.scale} if parameter.is_believed else {}
    return {"distribution": parameter.distribution.name, **bounds, **written, **when}


def only_written(leaf: Mapping[str, Any]) -> dict[str, Any]:
    """The leaf without a `mean` and a `scale` that it would have anyway: earlier versions stored what nobody wrote."""
    bare = {key: value for key, value in leaf.items() if key not in ("mean", "scale")}
    parameter = _read_parameter("parameter", bare, [])
    if parameter is None:
        return dict(leaf)
    mean = parameter.native(parameter.mean) if isinstance(parameter, NumericParameter) else parameter.mean
    unwritten = {"mean": (mean, None), "scale": (AUTO_SCALE, "auto", None)}
    kept = (key for key, values in unwritten.items() if key in leaf and not _is_one_of(leaf[key], values))
    return bare | {key: leaf[key] for key in kept}


def _is_one_of(value: object, values: tuple[object, ...]) -> bool:
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def _leaves(tree: Mapping[str, Any], prefix: str, problems: list[Keyed]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            problems.append(
                (
                    name,
                    f"need a mapping with min and max, choices, or value, got {value!r}; use {{value: "
                    f"{value!r}}} to fix it",
                )
            )
        elif not value:
            problems.append((name, "empty; need min and max, choices, or value"))
        elif set(value) == {"parameters"} and isinstance(value["parameters"], Mapping):
            inner = ", ".join(f"{name}.{key}" for key in value["parameters"])
            problems.append((f"{name}.parameters", f"W&B's way of nesting; leave this level out: {inner}"))
        elif any(leaf_key in value and not isinstance(value[leaf_key], Mapping) for leaf_key in (*LEAF_KEYS, "values")):
            yield name, value
        else:
            yield from _leaves(value, f"{name}.", problems)


def _read_fixed(name: str, leaf: Mapping[str, Any], fixed: dict[str, ParamValue], problems: list[Keyed]) -> None:
    value, extra = plain(leaf["value"]), sorted(set(leaf) - {"value"})
    if extra:
        problems.append((f"{name}.{extra[0]}", f"a fixed parameter has value only; remove {', '.join(extra)} or value"))
    elif not _is_value(value):
        problems.append((f"{name}.value", f"need a number, text or truth value, got {shown(value)}"))
    else:
        fixed[name] = value


def _read_parameter(name: str, leaf: Mapping[str, Any], problems: list[Keyed]) -> Parameter | None:
    before = len(problems)
    for key in leaf:
        if key not in LEAF_KEYS:
            problems.append((f"{name}.{key}", f"unknown key{key_hint(str(key), LEAF_KEYS)}"))
    kind = leaf.get("distribution", "categorical" if "choices" in leaf else "uniform")
    if kind != "categorical" and kind not in DISTRIBUTIONS:
        hint = distribution_hint(str(kind), ("categorical", *DISTRIBUTIONS))
        problems.append((f"{name}.distribution", f"unknown distribution {kind!r}{hint}"))
    if len(problems) > before:
        return None
    if kind == "categorical":
        return _read_categorical(name, leaf, problems)
    return _read_numeric(name, leaf, DISTRIBUTIONS[kind], problems)


def _read_categorical(name: str, leaf: Mapping[str, Any], problems: list[Keyed]) -> CategoricalParameter | None:
    wrong = sorted(set(leaf) & {"min", "max", "scale"})
    choices = leaf.get("choices")
    if not isinstance(choices, str) and isinstance(choices, Sequence):
        choices = [plain(choice) for choice in choices]
    if wrong:
        problems.append((f"{name}.{wrong[0]}", f"categorical has choices only; remove {', '.join(wrong)}"))
    elif isinstance(choices, str) or not isinstance(choices, Sequence) or len(choices) < 2:
        problems.append(
            (
                f"{name}.choices",
                f"need a list of at least two values, got {choices!r}; use {{value: ...}} for a single one",
            )
        )
    elif not all(_is_value(choice) for choice in choices):
        problems.append(
            (f"{name}.choices", f"need numbers, texts or truth values, got [{', '.join(map(shown, choices))}]")
        )
    elif len({(isinstance(choice, bool), choice) for choice in choices}) < len(choices):
        problems.append((f"{name}.choices", f"a value stands twice in {list(choices)!r}; remove one"))
    else:
        parameter = CategoricalParameter(name, tuple(choices), choices[0], str(leaf.get("when", "")))
        mean = leaf.get("mean", choices[0])
        if parameter.index(mean) < 0:
            problems.append((f"{name}.mean", f"need one of {list(choices)!r}, got {mean!r}"))
            return None
        return replace(parameter, mean=mean, is_believed="mean" in leaf)
    return None


def _read_numeric(
    name: str, leaf: Mapping[str, Any], distribution: Distribution, problems: list[Keyed]
) -> NumericParameter | None:
    before = len(problems)
    if "choices" in leaf:
        problems.append(
            (f"{name}.choices", f"{distribution.name} has min and max; remove choices or use distribution: categorical")
        )
        return None
    low, high = (_read_number(name, key, leaf.get(key), problems) for key in ("min", "max"))
    if low is None or high is None:
        return None
    for key, bound in (("min", low), ("max", high)):
        wrong = _bound_problem(leaf[key], bound) or distribution.problem(key, bound)
        problems += [(f"{name}.{key}", wrong)] if wrong else []
    if low >= high:
        problems.append(
            (f"{name}.min", f"need min < max, got min {low:g} and max {high:g}; swap them or use {{value: {low:g}}}")
        )
    elif high - low <= NARROWEST * max(abs(low), abs(high)):
        problems.append(
            (
                f"{name}.max",
                f"the range from {low!r} to {high!r} holds too few floats to search; widen it or use "
                f"{{value: {low!r}}}",
            )
        )
    if len(problems) > before:
        return None
    mean = _read_mean(name, leaf, distribution, (low, high), problems)
    scale = _read_scale(name, leaf.get("scale", "auto"), low, high, problems)
    if mean is None or scale is None:
        return None
    is_believed = leaf.get("mean") is not None or leaf.get("scale") not in (None, "auto")
    return NumericParameter(name, distribution, low, high, mean, scale, str(leaf.get("when", "")), is_believed)


def _bound_problem(written: Any, bound: float) -> str | None:
    """What is wrong with a bound whatever the distribution."""
    if abs(bound) > LARGEST_BOUND:
        return f"need a number from -{LARGEST_BOUND:g} to {LARGEST_BOUND:g}, got {bound}"
    if isinstance(written, int) and int(bound) != written:
        return f"no float is {written}, the nearest one is {int(bound)}; use that"
    return None


def _read_mean(
    name: str, leaf: Mapping[str, Any], distribution: Distribution, bounds: tuple[float, float], problems: list[Keyed]
) -> float | None:
    low, high = bounds
    if leaf.get("mean") is None:
        middle = distribution.forward(np.array(bounds)).mean()
        natural = float(np.clip(distribution.inverse(np.array([middle]))[0], low, high))
        return (
            NumericParameter(name, distribution, low, high, natural).from_unit(np.zeros(1))[0].item()
            if distribution.integer
            else natural
        )
    mean = _read_number(name, "mean", leaf["mean"], problems)
    if mean is not None and not low <= mean <= high:
        problems.append(
            (
                f"{name}.mean",
                f"need a value from min {low:g} to max {high:g}, got {mean:g}; move mean or widen the range",
            )
        )
        return None
    if mean is None or not distribution.integer:
        return mean
    # A centre between two valid values means the nearer one.
    parameter = NumericParameter(name, distribution, low, high, mean)
    return float(parameter.from_unit(parameter.to_unit(np.array([mean])))[0])


def _read_scale(name: str, scale: Any, low: float, high: float, problems: list[Keyed]) -> float | None:
    if scale is None or scale == "auto":
        return AUTO_SCALE
    if scale == "time":
        if low <= 0:
            problems.append((f"{name}.scale", f"time needs min > 0, got {low:g}; use auto or a number"))
            return None
        return min(1.0, 1.0 / (math.log2(high) - math.log2(low)))
    if isinstance(scale, str) and _number(scale) is None:
        problems.append(
            (f"{name}.scale", f"need auto, time or a number > 0, got {scale!r}{nearest(scale, ('auto', 'time'))}")
        )
        return None
    value = _read_number(name, "scale", scale, problems)
    if value is not None and not 0 < value <= LARGEST_SCALE:
        limit = f" and at most {LARGEST_SCALE:g}" if value > 0 else ""
        problems.append((f"{name}.scale", f"need auto, time or a number > 0{limit}, got {value:g}"))
        return None
    return value


def _read_number(name: str, key: str, value: Any, problems: list[Keyed]) -> float | None:
    number = _number(value)
    if number is None:
        got = "nothing" if value is None else shown(value)
        problems.append((f"{name}.{key}", f"need a finite number, got {got}"))
    return number


def _number(value: Any) -> float | None:
    """The finite number that `value` is or spells (plain YAML reads 1e-5 as text), else None."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool) or math.isfinite(number_of(value))


def _words(free: Sequence[Parameter], fixed: Mapping[str, ParamValue]) -> list[str]:
    choices = [
        choice for parameter in free if isinstance(parameter, CategoricalParameter) for choice in parameter.choices
    ]
    return sorted({value for value in [*choices, *fixed.values()] if isinstance(value, str)})


def _read_conditions(
    free: Sequence[Parameter], fixed: Mapping[str, ParamValue], problems: list[Keyed]
) -> dict[str, Expression]:
    conditions: dict[str, Expression] = {}
    for parameter in free:
        if parameter.when:
            expression = _read_expression(f"{parameter.name}.when", parameter.when, free, fixed, problems)
            conditions |= {parameter.name: expression} if expression else {}
    waiting = set(conditions)
    while ready := {name for name in waiting if not set(conditions[name].names) & waiting}:
        waiting -= ready
    for name in sorted(waiting):
        problems.append(
            (
                f"{name}.when",
                f"{conditions[name].text!r} depends on the parameter itself (a circle through "
                f"{sorted(waiting)}); break it",
            )
        )
    return conditions


def _read_constraints(
    texts: Any, free: Sequence[Parameter], fixed: Mapping[str, ParamValue], problems: list[Keyed]
) -> tuple[Expression, ...]:
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        problems.append(("constraints", f"need a list of expressions, got {texts!r}; put it in a list"))
        return ()
    read = [_read_expression("constraints", text, free, fixed, problems) for text in texts]
    return tuple(expression for expression in read if expression)


def _try_expressions(
    free: Sequence[Parameter],
    fixed: Mapping[str, ParamValue],
    keyed: Sequence[tuple[str, Expression]],
    problems: list[Keyed],
) -> None:
    """Evaluate at a few points: comparing a number with a text shows only then."""
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (TRIED, len(free)))
    columns = {parameter.name: column(parameter, points[:, i]) for i, parameter in enumerate(free)}
    columns |= {name: constant(value, TRIED) for name, value in fixed.items()}
    for key, expression in keyed:
        try:
            expression(columns)
        except (TypeError, ValueError):
            problems.append((key, f"{expression.text!r} cannot be evaluated: it mixes numbers and texts"))


def _flags(free: Sequence[Parameter], fixed: Mapping[str, ParamValue]) -> list[str]:
    """Parameters that are true or false, and so conditions by themselves."""
    choices = {parameter.name: parameter.choices for parameter in free if isinstance(parameter, CategoricalParameter)}
    choices |= {name: (value,) for name, value in fixed.items()}
    return [name for name, values in choices.items() if all(isinstance(value, bool) for value in values)]


def _read_expression(
    key: str, text: Any, free: Sequence[Parameter], fixed: Mapping[str, ParamValue], problems: list[Keyed]
) -> Expression | None:
    names = [*(parameter.name for parameter in free), *fixed]
    try:
        expression = parse(text, names, _words(free, fixed), _flags(free, fixed))
    except SpaceError as error:
        problems += [(key, text) for _, text in error.keyed]
        return None
    return expression
