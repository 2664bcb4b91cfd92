"""What defines a sweep, as sorted YAML: two drivers of it must agree, and readers find the search (`registered.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from metta_sweep.config import tree as trees
from metta_sweep.config.job import Phase, Remembered, SweepSpec
from metta_sweep.config.runs import RUN_GROUPS, run_mapping
from metta_sweep.config.tree import Tree
from metta_sweep.registry.specs import check_memory, parse_spec

# What may differ between two machines, or be changed when a sweep is continued, does not define the sweep.
NOT_IN_SPEC = ("plugins", "device", "resources", "run", "seed", "metric", "code_version")
SWEEP_KEYS = ("metric", "goal", "method", "cost", "early_stopping", "searcher")


def spec_yaml(resolved: Mapping[str, Any], sweep: SweepSpec, seed: int, choices: Mapping[str, str]) -> str:
    """The specification of a job; stop rules and the machine are no part of it.

    Args:
        resolved: the composed configuration, interpolations resolved.
        choices: option of each config group.
    """
    train = run_mapping({**resolved, "run": "", "metric": sweep.metric})
    kept = {key: value for key, value in train.items() if key not in NOT_IN_SPEC}
    spec = {
        "sweep_name": str(resolved["sweep_name"]),
        "seed": seed,
        **{key: getattr(sweep, key) for key in SWEEP_KEYS},
        "fixed": dict(sweep.fixed),
        "phases": [phase_spec(phase) for phase in sweep.phases],
        "choices": {group: option for group, option in choices.items() if group in RUN_GROUPS},
        "train": trees.remove(kept, ("trainer", "num_workers")),
    }
    return yaml.safe_dump(spec, sort_keys=True, allow_unicode=True)


def with_memory(spec: str, remembered: Sequence[Remembered]) -> str:
    """The specification with what the sweep learns from; one that learns from nothing says nothing of it."""
    if not remembered:
        return spec
    memory = [asdict(one) for one in remembered]
    return yaml.safe_dump({**parse_spec(spec), "memory": memory}, sort_keys=True, allow_unicode=True)


def memory_in(spec: str) -> tuple[Remembered, ...]:
    """What a specification says that its sweep learns from. Raises `InvalidRequest` for what none would say."""
    return tuple(Remembered(**one) for one in check_memory(parse_spec(spec).get("memory", ()))) if spec else ()


def phase_spec(phase: Phase) -> Tree:
    """A phase with its merged space and settings."""
    return {
        "name": phase.name,
        "num_runs": phase.num_runs,
        "auto": phase.auto,
        "parameters": phase.space.to_config(),
        "constraints": [constraint.text for constraint in phase.space.constraints],
        "protein": asdict(phase.protein),
    }
