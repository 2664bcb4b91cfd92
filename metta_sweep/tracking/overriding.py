"""What a WandB run's config must hold so that no spelling of a value keeps an old one: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta_sweep.config.names import dotless, parameter, spellings
from metta_sweep.config.tree import ABSENT, Path, get, leaves, merge, put


def overriding(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The top-level entries with which `values` take the place of whatever `config` says of the same parameters.

    Args:
        config: what the run's config holds: dotted keys, nested mappings, aliases, or all of them.
        values: by dotted path, in any spelling.

    Returns:
        Each value under all its dotted names, and each mapping of `config` that it belongs to, with its names there.
    """
    new = {parameter(dotless(path)): value for path, value in leaves(values)}
    nested = {key: entry for key, entry in values.items() if isinstance(entry, Mapping)}
    trees = {key: entry for key, entry in merge(config, nested).items() if isinstance(entry, Mapping)}
    out: dict[str, Any] = {key: _replaced(dotless((key,)), entry, new) for key, entry in trees.items()}
    for place, value in new.items():
        for name in spellings(place):
            out[".".join(name)] = value
            out |= _put(out, name, value)
    return {key: entry for key, entry in out.items() if not (isinstance(entry, Mapping) and entry == config.get(key))}


def _replaced(place: Path, node: Any, new: Mapping[Path, Any]) -> Any:
    """The entry at `place` with every parameter in it that has a new value, however it is spelt."""
    if parameter(place) in new:
        return new[parameter(place)]
    if not isinstance(node, Mapping):
        return node
    return {key: _replaced((*place, *dotless((str(key),))), below, new) for key, below in node.items()}


def _put(tree: Mapping[str, Any], name: Path, value: Any) -> dict[str, Any]:
    """The entry of `tree` that `name` leads into with the value in it; nothing where a scalar is in the way."""
    ways = [get(tree, name[:depth], ABSENT) for depth in range(1, len(name))]
    is_open = all(way is ABSENT or isinstance(way, Mapping) for way in ways)
    if not is_open or not ways or ways[0] is ABSENT:
        return {}
    return {name[0]: put(tree, name, value)[name[0]]}
