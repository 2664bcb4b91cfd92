"""Nested dicts addressed by paths; nothing here changes its arguments."""

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
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return node


def put(tree: Mapping[str, Any], path: Path, value: Any) -> Tree:
    """The tree with `value` at `path`; a scalar on the way becomes a mapping."""
    head, rest = path[0], path[1:]
    below = tree.get(head)
    return {**tree, head: put(below if isinstance(below, Mapping) else {}, rest, value) if rest else value}


def remove(tree: Mapping[str, Any], path: Path) -> Tree:
    """The tree without what is at `path`; unchanged when nothing is there."""
    head, rest = path[0], path[1:]
    if head not in tree:
        return dict(tree)
    if not rest:
        return {key: value for key, value in tree.items() if key != head}
    below = tree[head]
    return {**tree, head: remove(below, rest)} if isinstance(below, Mapping) else dict(tree)


def literal(value: Any) -> Any:
    """The value as a configuration must hold it so that it is read as it is: `${...}` in a text is no interpolation.

    Before `${` a backslash escapes, so that those which stand there are doubled.
    """
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value) if isinstance(value, str) else value
