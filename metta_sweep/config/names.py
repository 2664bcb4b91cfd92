"""One canonical spelling for every key: both spellings of a sweep file, and the second page's, lead to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from metta_sweep.config import tree as trees
from metta_sweep.config.tree import Path, Tree
from searchers.config import ProteinConfig

REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")  # a dotted name inside a constraint
PARAMETER_ALIASES: Mapping[Path, Path] = {
    ("trainer", "learning_rate"): ("trainer", "optimizer", "learning_rate"),
    ("trainer", "gamma"): ("trainer", "ppo", "gamma"),
    ("trainer", "clip_param"): ("trainer", "ppo", "clip_coef"),
    ("trainer", "entropy_coeff"): ("trainer", "ppo", "ent_coef"),
    ("evaluation", "metrics"): ("sim", "metrics"),
}
# A sweep file may carry these; they mean the keys of the job.
HOISTED = frozenset({"budget", "plugins", "settings", "sweep_job_overrides"})
WANDB_HEADER: Mapping[Path, Path] = {("metric", "name"): ("metric",), ("metric", "goal"): ("goal",)}
# One target, for optimiser and stop rule.
PROTEIN_KEYS = frozenset(field.name for field in fields(ProteinConfig)) - HOISTED - {"target_score"}


def parameter(path: Path) -> Path:
    """Canonical path of a training parameter; longer paths below it keep their tail."""
    for alias, canonical in PARAMETER_ALIASES.items():
        if path[: len(alias)] == alias:
            return canonical + path[len(alias) :]
    return path


def spellings(path: Path) -> tuple[Path, ...]:
    """All paths that mean the same training parameter as this one, the canonical one first."""
    place = parameter(path)
    tails = {alias: place[len(one) :] for alias, one in PARAMETER_ALIASES.items() if place[: len(one)] == one}
    return (place, *(alias + tail for alias, tail in tails.items()))


def asked_names(tree: Mapping[str, Any]) -> dict[str, str]:
    """How a sweep file's `parameters` spell each training parameter that has several names, by its canonical name."""
    asked: dict[str, str] = {}
    for path, _ in trees.leaves(tree):
        path = dotless(path)
        while path[:1] == ("sweep",):
            path = path[1:]
        for alias, place in PARAMETER_ALIASES.items():
            for name in (alias, place):
                if path[: len(name) + 1] == ("parameters", *name):
                    asked[".".join(place)] = ".".join(name)
    return asked


def canonical(path: Path) -> Path:
    """Canonical path of a key of the job (`sweep.sweep.random_suggestions` is `sweep.protein.random_suggestions`)."""
    head, rest = path[0], path[1:]
    if head == "schedule":
        return canonical(("sweep", *path))
    if head == "sweep":
        below = in_sweep(rest)
        return canonical(below) if below[:1] and below[0] in HOISTED else ("sweep", *below)
    if head == "sweep_job_overrides":
        return (head, *parameter(dotless(rest)))
    return parameter(path)


def in_sweep(path: Path) -> Path:
    """Canonical path below `sweep`; also for what a phase overrides."""
    path = dotless(path)
    while path[:1] == ("sweep",):  # the second page's block inside the file
        path = path[1:]
    if path[:1] == ("parameters",):
        return ("parameters", *parameter(path[1:]))
    if path[:2] == ("schedule", "phases") and path[3:4] == ("sweep",):
        return (*path[:4], *in_sweep(path[4:]))
    if path in WANDB_HEADER:
        return WANDB_HEADER[path]
    return ("protein", *path) if path[:1] and path[0] in PROTEIN_KEYS else path


def is_hoisted(path: Path) -> bool:
    """Whether a sweep file says something about the job there."""
    return path[0] == "sweep" and canonical(path)[:1] != ("sweep",)


def dotless(path: Path) -> Path:
    """`("parameters", "trainer.gamma")` with its dots as levels; the dots of an environment's path are its own."""
    return tuple(part for key in path for part in (key.split(".") if "/" not in key else [key]))


def canonical_tree(tree: Mapping[str, Any]) -> Tree:
    """The tree with every key in its canonical place; later keys win, and a sweep file's over the job's."""
    out: Tree = {}
    for path, value in sorted(trees.leaves(tree), key=lambda leaf: is_hoisted(leaf[0])):
        place = canonical(path)
        value = canonical_value(place, value)
        if place and not (value == {} and isinstance(trees.get(out, place), dict)):
            out = trees.put(out, place, value)
    return out


def canonical_value(place: Path, value: Any) -> Any:
    """The value with the keys and names inside it in canonical spelling."""
    if not isinstance(value, list):
        return value
    if place == ("sweep", "constraints"):
        return [REFERENCE.sub(canonical_name, text) if isinstance(text, str) else text for text in value]
    return [canonical_phase(phase) for phase in value] if place == ("sweep", "schedule", "phases") else value


def canonical_name(match: re.Match[str]) -> str:
    """A dotted name inside a constraint, in canonical spelling."""
    return ".".join(parameter(tuple(match[0].split("."))))


def canonical_phase(phase: Any) -> Any:
    """A phase with its `sweep` block in canonical spelling; anything but a mapping comes back as it is."""
    if not isinstance(phase, Mapping) or not isinstance(phase.get("sweep"), Mapping):
        return phase
    block: Tree = {}
    for path, value in trees.leaves(phase["sweep"]):
        place = in_sweep(path)
        block = trees.put(block, place, canonical_value(("sweep", *place), value))
    return {**phase, "sweep": block}
