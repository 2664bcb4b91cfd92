"""Who may import whom, read from the source with `ast`, so that it cannot rot."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "searchers": {"ray", "wandb", "omegaconf", "hydra", "torch", "metta_sweep", "trainables", "cluster"},
    "trainables": {"searchers", "metta_sweep", "wandb", "sqlalchemy", "omegaconf", "hydra"},  # a run never knows who proposed it
}
ALLOWED = {("searchers/ray_search.py", "ray")}


def imported_packages(path: Path) -> set[str]:
    """Top-level names of every import in the file, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_dependencies_point_one_way(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        relative = path.relative_to(ROOT).as_posix()
        found = {name for name in imported_packages(path) & FORBIDDEN[package] if (relative, name) not in ALLOWED}
        assert not found, f"{relative} imports {sorted(found)}"


def test_searchers_need_numpy_and_scipy_only() -> None:
    known = {"numpy", "scipy", "searchers"}
    for path in sorted((ROOT / "searchers").glob("*.py")):
        if path.name == "ray_search.py":
            continue
        third_party = {name for name in imported_packages(path) if name not in known and name not in __import__("sys").stdlib_module_names}
        assert not third_party, f"{path.name} imports {sorted(third_party)}"
