"""Nested dicts addressed by paths, entries of lists by their numbers; nothing here changes its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from searchers.schedule import merge as merge

Tree = dict[str, Any]
Path = tuple[str, ...]
ABSENT = object()
OWN = "x-"  # begins keys of a file that are its author's own, such as a YAML anchor's; nothing reads them


def split(dotted: str) -> Path:
    """`"trainer.ppo.gamma"` as a path."""
    return tuple(dotted.split("."))


def leaves(tree: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All values that are not filled mappings, with their paths; lists are values."""
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def get(tree: Mapping[str, Any], path: Path, default: Any = None) -> Any:
    """The value at a path, or `default`."""
    node: Any = tree
    for key in path:
        if is_entry(node, key):
            node = node[int(key)]
        elif isinstance(node, Mapping) and key in node:
            node = node[key]
        else:
            return default
    return node


def put(tree: Mapping[str, Any], path: Path, value: Any) -> Tree:
    """The tree with `value` at `path`; a scalar on the way becomes a mapping, and a list without such an entry too."""
    head, rest = path[0], path[1:]
    return {**tree, head: _put(tree.get(head), rest, value)}


def _put(node: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    if is_entry(node, path[0]):
        number = int(path[0])
        return [*node[:number], _put(node[number], path[1:], value), *node[number + 1 :]]
    return put(node if isinstance(node, Mapping) else {}, path, value)


def remove(tree: Mapping[str, Any], path: Path) -> Tree:
    """The tree without what is at `path`; unchanged when nothing is there."""
    head, rest = path[0], path[1:]
    if head not in tree:
        return dict(tree)
    if not rest:
        return {key: value for key, value in tree.items() if key != head}
    return {**tree, head: _remove(tree[head], rest)}


def _remove(node: Any, path: Path) -> Any:
    if is_entry(node, path[0]):
        number = int(path[0])
        kept = [_remove(node[number], path[1:])] if path[1:] else []
        return [*node[:number], *kept, *node[number + 1 :]]
    return remove(node, path) if isinstance(node, Mapping) else node


def is_entry(node: Any, key: str) -> bool:
    """Whether `key` is the number of an entry of the list `node`."""
    return isinstance(node, list) and key in map(str, range(len(node)))


def no_entry(tree: Mapping[str, Any], path: Path) -> str | None:
    """What is wrong with a path that leads into a list but to none of its entries; None for every other path."""
    for length in range(1, len(path)):
        node = get(tree, path[:length])
        if isinstance(node, list) and not is_entry(node, path[length]):
            last = f"entries 0 to {len(node) - 1}" if node else "no entries"
            return f"{'.'.join(path[:length])} is a list with {last}, not {path[length]!r}"
    return None


def literal(value: Any) -> Any:
    """The value as a configuration must hold it so that it is read as it is: `${...}` in a text is no interpolation.

    Before `${` a backslash escapes, so that those which stand there are doubled.
    """
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value) if isinstance(value, str) else value
