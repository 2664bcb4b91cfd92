"""Every constant says why it is what it is, and one name means one value."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("searchers", "trainables", "metta_sweep/driver", "metta_sweep/ray_cluster", "metta_sweep/capacity.py")
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")  # a single letter is a type variable


def constants(package: str) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign, Path]]:
    """Name, statement and file of every constant at the top of a module."""
    found = ROOT / package
    for path in sorted(found.rglob("*.py")) or [found]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and CONSTANT.fullmatch(target.id):
                    yield target.id, node, path


def explained(path: Path) -> set[int]:
    """Lines that a comment ends, or that follow a line that is one."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    found = [token for token in tokens if token.type == tokenize.COMMENT]
    return {token.start[0] + (token.line.lstrip()[0] == "#") for token in found}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_constant_says_what_it_was_chosen_by(package: str) -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for name, node, path in constants(package)
        if not explained(path) & {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    ]
    assert silent == [], "write why, in a line beside it or above"


@pytest.mark.parametrize("package", PACKAGES)
def test_one_name_of_a_constant_means_one_value(package: str) -> None:
    values: defaultdict[str, set[str]] = defaultdict(set)
    for name, node, _ in constants(package):
        if name[0] != "_" and node.value is not None:
            values[name].add(ast.unparse(node.value))
    assert {name: sorted(found) for name, found in values.items() if len(found) > 1} == {}
