"""Patch files: a run's configuration as a file that `train +trainer/patch=NAME` lays on the defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metta_sweep.config import tree as trees
from metta_sweep.config.runs import RUN_KEYS, TrainComposition, run_mapping
from metta_sweep.config.tree import Tree

MISSING = "???"
DATA_OF_PROGRAMS = frozenset(
    {"kind", "parameters", "types", "average", "metrics", "pattern", "total_steps", "stop_seconds"}
)
CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]")
# The run's own name, what it ran on, and what only a person on this machine may have imported.
NOT_IN_PATCH = frozenset({"run", "code_version", "plugins"})


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run of a sweep.

    Attributes:
        config: its resolved mapping, as `train_config_overrides.yaml` holds it.
        params: its suggestion by dotted path.
        choices: option of each config group in its sweep (`choices` in the sweep's specification).
    """

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    choices: Mapping[str, str] = field(default_factory=dict)


def patch_text(
    params: Mapping[str, Any],
    header_lines: Sequence[str],
    below: Mapping[str, Any] | None = None,
    choices: Mapping[str, str] | None = None,
) -> str:
    """Text of a patch file.

    Args:
        params: values by dotted path.
        header_lines: what the file says about itself, without `#`.
        below: nested values that `params` are laid on.
        choices: config groups that the file chooses.
    """
    values: Tree = dict(below or {})
    for name, value in params.items():
        values = trees.put(values, trees.split(name), value)
    chosen = [{f"override /{group}": option} for group, option in (choices or {}).items()]
    parts = ({"defaults": [*chosen, "_self_"]} if chosen else {}, plain_data(values))
    head = "".join(f"# {line}".rstrip() + "\n" for line in ("@package _global_", *map(one_line, header_lines)))
    body = "".join(yaml.safe_dump(part, sort_keys=False, allow_unicode=True) for part in parts if part)
    return head + (body or "{}\n")


def run_patch(
    run: FinishedRun, header_lines: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path] = ()
) -> str:
    """Text of a patch with which `train` uses a run's configuration exactly, whatever its sweep had changed.

    Args:
        header_lines: what the file says about itself.
        environ: environment variables; decide what `auto` is on this machine.
    """
    defaults = TrainComposition.of([], environ, config_dirs).composed.choices
    choices = {group: option for group, option in run.choices.items() if defaults.get(group) != option}
    chosen = TrainComposition.of([f"{group}={option}" for group, option in choices.items()], environ, config_dirs)
    base = run_mapping(chosen.resolved)
    changed: Tree = {}
    kept = {key: run.config[key] for key in RUN_KEYS if key in run.config and key not in NOT_IN_PATCH}
    for path, value in trees.leaves(kept):
        if value != {} and trees.get(base, path, trees.ABSENT) != value:
            changed = trees.put(changed, path, value)
    return patch_text(run.params, header_lines, changed, choices)


def without_code(run: FinishedRun) -> tuple[FinishedRun, tuple[str, ...]]:
    """A run as somebody else told of it, with `???` for what names code to run, and the dotted keys of that.

    Whoever trains with it is asked for them: what may be executed on a machine only a person there says.
    """
    told = {".".join(path): value for path, value in trees.leaves(run.config)}
    code = tuple(name for name, value in {**told, **run.params}.items() if names_code(name, value))
    config: Tree = dict(run.config)
    for path, _ in trees.leaves(run.config):
        config = trees.put(config, path, MISSING) if ".".join(path) in code else config
    params = {name: MISSING if name in code else value for name, value in run.params.items()}
    return FinishedRun(config, params, run.choices), code


def names_code(name: str, value: Any) -> bool:
    """Whether a key of a run's configuration says what is executed: a program, or a text `package.module:name`."""
    root, _, rest = name.partition(".")
    is_program = root == "trainable" and rest.split(".")[0] not in DATA_OF_PROGRAMS
    return bool(value) and (is_program or root == "plugins" or CODE.search(str(value)) is not None)


def one_line(text: str) -> str:
    """Somebody's text for a comment, which ends with its line."""
    return "".join(character if character.isprintable() else "?" for character in text)


def plain_data(value: Any) -> Any:
    """The same data in plain dicts and lists, as YAML can write them, with texts that Hydra reads as they are."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    return [plain_data(item) for item in value] if isinstance(value, list | tuple) else trees.literal(value)
