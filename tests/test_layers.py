"""Who may import whom, read from the source with `ast`, so that it cannot rot."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests import structure

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "searchers": {"ray", "wandb", "omegaconf", "hydra", "torch", "metta_sweep", "trainables", "cluster"},
    "trainables": {
        "searchers",
        "metta_sweep",
        "wandb",
        "sqlalchemy",
        "omegaconf",
        "hydra",
    },  # a run never knows who proposed it
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


def test_no_import_of_metta_sweep_points_up() -> None:
    assert structure.arrows_up(structure.modules(ROOT)) == []


def test_every_folder_of_metta_sweep_has_its_layer() -> None:
    names = {module.name for module in structure.modules(ROOT)} - {"metta_sweep"}
    assert {name for name in names if name.startswith("metta_sweep.") and structure.rank(name) is None} == set()


def test_no_modules_import_each_other() -> None:
    assert structure.circles(structure.modules(ROOT)) == []


def test_no_two_classes_share_a_name() -> None:
    names = Counter(node.name for _, node in structure.classes(structure.modules(ROOT)))
    assert [name for name, count in names.items() if count > 1 and name not in structure.TWINS] == []


PRIVATE_PARTS = re.compile(r"\bray(\.\w+)*\._\w+|\bhydra\._\w+|\bomegaconf\._\w+|\bwandb\.sdk\b")
# Each touches its own; test_ray_internals.py and test_config_files.py pin them.
TOUCHES = {
    "trainables/ray_internals.py": "ray",
    "metta_sweep/config/files.py": "omegaconf",
    "metta_sweep/config/hydra_files.py": "hydra",
}


def test_private_parts_of_other_packages_are_touched_in_one_file_each() -> None:
    for path in sorted(file for package in structure.PACKAGES for file in (ROOT / package).rglob("*.py")):
        relative = path.relative_to(ROOT).as_posix()
        found = {match[0] for match in PRIVATE_PARTS.finditer(path.read_text())}
        assert {name.split(".")[0] for name in found} <= {TOUCHES.get(relative)}, f"{relative}: {sorted(found)}"


UNPICKLES = {
    "load",
    "loads",
    "Unpickler",
    "all_gather_object",
    "gather_object",
    "broadcast_object_list",
    "scatter_object_list",
}


# What a process was sent by its parent, on a socket that has no name and no other end.
FROM_ITS_PARENT = {"trainables/environments/worker.py"}


def calls(path: Path) -> list[tuple[str, str, ast.Call]]:
    """Module-like name, function name and call of every call `name.function(...)`."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [
        (ast.unparse(call.func.value), call.func.attr, call) for call in found if isinstance(call.func, ast.Attribute)
    ]


@pytest.mark.parametrize("package", ["metta_sweep", "trainables"])
def test_nothing_that_others_may_have_written_is_unpickled(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        if path.relative_to(ROOT).as_posix() in FROM_ITS_PARENT:
            continue
        for name, function, call in calls(path):
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            unpickles = (
                name.endswith(("pickle", "torch.distributed", "dist", "shelve", "joblib", "dill"))
                and function in UNPICKLES
            )
            if (name, function) == ("torch", "load"):
                unpickles = arguments.get("weights_only") != "True"
            unpickles |= arguments.get("allow_pickle") == "True"
            assert not unpickles, f"{path.relative_to(ROOT)}:{call.lineno}: {name}.{function}"


def test_searchers_need_numpy_and_scipy_only() -> None:
    known = {"numpy", "scipy", "searchers"}
    for path in sorted((ROOT / "searchers").glob("*.py")):
        if path.name == "ray_search.py":
            continue
        third_party = {
            name
            for name in imported_packages(path)
            if name not in known and name not in __import__("sys").stdlib_module_names
        }
        assert not third_party, f"{path.name} imports {sorted(third_party)}"
