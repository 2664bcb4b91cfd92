"""A W&B sweep file read as one of ours: what means the same is rewritten, what has no place here is said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from metta_sweep.config.tree import Tree
from metta_sweep.errors import ConfigError
from trainables.fields import number

METHODS = ("bayes", "random", "grid")  # of W&B, which mean the same here
# Its distributions
LOGARITHMIC = ("log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values")
EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")  # their bounds are exponents of e
NUM_SAMPLES = 20  # runs, where W&B would go on without end: a round number that somebody changes


def convert(theirs: Any) -> tuple[Tree, list[str]]:
    """Our sweep file, and what a person should look at.

    Raises:
        ConfigError: it is no W&B sweep file.
    """
    if not isinstance(theirs, Mapping) or not isinstance(theirs.get("parameters"), Mapping):
        raise ConfigError("need a W&B sweep file: keys at the top level, `parameters:` among them")
    notes: list[str] = []
    fixed: Tree = {}
    searched: Tree = {}
    for name, leaf in _leaves(theirs["parameters"]):
        if "value" in leaf:
            fixed[name] = leaf["value"]
        else:
            searched[name] = _parameter(name, leaf, notes)
    metric = theirs.get("metric") or {}
    if not isinstance(metric, Mapping):
        raise ConfigError(f"metric: need a mapping with name and goal, got {metric!r}")
    goal = str(metric.get("goal", "minimize"))  # W&B's default
    ours: Tree = {"goal": goal, "method": theirs.get("method") if theirs.get("method") in METHODS else "bayes"}
    ours["num_samples"] = theirs.get("run_cap") or NUM_SAMPLES
    if not theirs.get("run_cap"):
        notes.append(f"num_samples: the file has no run_cap; {NUM_SAMPLES} is a guess")
    if theirs.get("early_terminate"):
        ours["early_stopping"] = True
    ours["parameters"] = searched
    ours["sweep_job_overrides"] = {"trainable": _trainable(theirs, fixed)}
    score = metric.get("name") or "score"
    notes.append(
        f"the program reports with `from trainables.report import report; report(score={score}, step=step)`; "
        "or set trainable.pattern to read its output"
    )
    known = {"parameters", "metric", "method", "run_cap", "early_terminate", "program", "command"}
    notes += [f"{key}: left out" for key in theirs if key not in known]
    return ours, notes


def _leaves(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, leaf in parameters.items():
        name = f"{prefix}{key}"
        if not isinstance(leaf, Mapping):
            raise ConfigError(f"parameters.{name}: need a mapping, got {leaf!r}")
        if isinstance(leaf.get("parameters"), Mapping):
            yield from _leaves(leaf["parameters"], f"{name}.")
        else:
            yield name, leaf


def _parameter(name: str, leaf: Mapping[str, Any], notes: list[str]) -> Tree:
    kind = str(leaf.get("distribution", ""))
    if "values" in leaf:
        if "probabilities" in leaf:
            notes.append(f"{name}: probabilities left out; all choices are equally likely at first")
        return {"choices": list(leaf["values"])}
    numbers = ("mu", "sigma", "min", "max")
    told = {key: _number(f"parameters.{name}.{key}", leaf[key]) for key in numbers if leaf.get(key) is not None}
    if "mu" in told:
        return _around(name, kind, told["mu"], told.get("sigma", 1.0), notes)
    if not {"min", "max"} <= set(told):
        raise ConfigError(f"parameters.{name}: need values, value, or min and max, got {dict(leaf)!r}")
    low, high = told["min"], told["max"]
    if "q" in leaf:
        notes.append(f"{name}: q={leaf['q']} left out; trainable.types: {{{name}: int}} rounds to whole numbers")
    if kind in EXPONENTS:
        return {"distribution": "log_normal", "min": math.exp(low), "max": math.exp(high)}
    if kind in LOGARITHMIC:
        return {"distribution": "log_normal", "min": low, "max": high}
    is_whole = kind == "int_uniform" or (not kind and isinstance(low, int) and isinstance(high, int))
    return {"distribution": "int_uniform" if is_whole else "uniform", "min": low, "max": high}


def _number(key: str, value: Any) -> float:
    """A number as it is, a whole one whole; YAML reads 1e-3 as a text."""
    try:
        return value if type(value) is int else number(value)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}, got {value!r}") from error


def _around(name: str, kind: str, mu: float, sigma: float, notes: list[str]) -> Tree:
    """A normal distribution as bounds of two standard deviations about its mean, where 95 % of it lies."""
    notes.append(f"{name}: {kind} has no bounds; mean and two standard deviations about it")
    low, high = mu - 2 * sigma, mu + 2 * sigma
    if "log" in kind:
        return {"distribution": "log_normal", "min": math.exp(low), "max": math.exp(high), "mean": math.exp(mu)}
    return {"distribution": "uniform", "min": low, "max": high, "mean": mu}


def _trainable(theirs: Mapping[str, Any], fixed: Tree) -> Tree:
    """W&B calls `python program --name=value ...` when the file has no command."""
    command = theirs.get("command") or ["${interpreter}", "${program}", "${args}"]
    says = {
        "${env}": "",
        "${interpreter}": "python",
        "${program}": str(theirs.get("program", "train.py")),
        **dict.fromkeys(("${args}", "${args_no_boolean_flags}", "${args_no_hyphens}"), "{overrides}"),
    }
    words = [says.get(str(word), str(word)) for word in command]
    form = "{key}={value}" if "${args_no_hyphens}" in command else "--{key}={value}"
    trainable = {"kind": "command", "command": " ".join(filter(None, words)), "override": form}
    if "${args_no_boolean_flags}" in command:
        trainable["booleans"] = "present"
    return trainable | ({"parameters": fixed} if fixed else {})
