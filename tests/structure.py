"""The shape of the code in figures, for a before and after: `python -m tests.structure [DIRECTORY]`.

Files and lines of each package, locks, mutable classes that no test names, classes that share a name, imports that
point up the layers, circles of imports, and lines over 120 columns. Everything is read from the source with `ast`.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("metta_sweep", "searchers", "trainables")
MAX_COLUMNS = 120
# Neither searchers nor trainables may import the other: each has these words, and a test holds them together
# (tests/metta_sweep/registry/test_results.py).
TWINS = {"Outcome", "FailureKind"}
LOCKS = {"Lock", "RLock", "Condition", "Event", "Semaphore"}
# Folders of metta_sweep from the ground up: each may import from its own row and from the rows above it in this table.
# The registry stands below `config`: it knows specifications as data, and a service needs no Hydra.
LAYERS = (
    ("errors", "typed_commands"),
    ("registry",),
    ("config",),
    ("capacity",),
    ("analysis",),
    ("tracking",),
    ("launch",),
    ("ray_cluster",),
    ("driver",),
    ("dashboard",),
    ("cli",),
    ("__main__",),
)


@dataclass(frozen=True, slots=True)
class Module:
    """One source file.

    Attributes:
        name: dotted.
        text: of the file.
        tree: parsed.
    """

    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The top package, or the folder of metta_sweep."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if parts[0] == "metta_sweep" else parts[0]


def modules(root: Path) -> list[Module]:
    """Every module of the three packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, text, ast.parse(text)))
    return found


def imports(module: Module, names: frozenset[str]) -> set[str]:
    """Modules of ours that it imports anywhere, also inside functions and for type checkers."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & names) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & names) - {module.name}


def rank(name: str) -> int | None:
    """Layer of a module of metta_sweep, 0 at the ground; None outside."""
    package, _, rest = name.partition(".")
    folder = rest.split(".")[0] if package == "metta_sweep" else ""
    return next((row for row, folders in enumerate(LAYERS) if folder in folders), None)


def arrows_up(found: list[Module]) -> list[str]:
    """Imports, also those inside functions, from a lower folder of metta_sweep to a higher one."""
    names = frozenset(module.name for module in found)
    arrows = []
    for module in found:
        below = rank(module.name)
        for target in sorted(imports(module, names)):
            above = rank(target)
            if below is not None and above is not None and above > below:
                arrows.append(f"{module.name} -> {target}")
    return arrows


def circles(found: list[Module]) -> list[str]:
    """Groups of modules that import each other, directly or round about, wherever the imports stand."""
    names = frozenset(module.name for module in found)
    graph = {module.name: imports(module, names) for module in found}
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {frozenset({a, *(b for b in reach[a] if a in reach[b])}) for a in graph if a in reach[a]}
    return [" <-> ".join(sorted(group)) for group in sorted(groups, key=sorted)]


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph[name]
    return seen


def classes(found: list[Module]) -> Iterator[tuple[Module, ast.ClassDef]]:
    """Public classes at the top of modules."""
    for module in found:
        yield from (
            (module, node) for node in module.tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"
        )


def is_mutable(node: ast.ClassDef) -> bool:
    """Whether a method other than the constructor sets an attribute of its object."""
    methods = [
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name not in ("__init__", "__post_init__")
    ]
    stores = (
        target
        for method in methods
        for target in ast.walk(method)
        if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
    )
    return any(isinstance(target.value, ast.Name) and target.value.id == "self" for target in stores)


def tested_names(root: Path) -> frozenset[str]:
    """Every name that is called somewhere in the tests."""
    called = set()
    for path in (root / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                called.add(function.id if isinstance(function, ast.Name) else getattr(function, "attr", ""))
    return frozenset(called)


def report(root: Path) -> Iterator[str]:
    """The figures, line by line."""
    found = modules(root)
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for module in found:
        files[module.package] += 1
        lines[module.package] += module.text.count("\n")
    for package in sorted(files):
        yield f"{package:<24} {files[package]:>4} files {lines[package]:>6} lines"
    yield f"{'all':<24} {sum(files.values()):>4} files {sum(lines.values()):>6} lines"
    locks = Counter(
        module.package
        for module in found
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOCKS
    )
    yield f"locks: {sum(locks.values())} ({', '.join(f'{name} {count}' for name, count in sorted(locks.items()))})"
    called = tested_names(root)
    untested = [
        f"{module.name}.{node.name}" for module, node in classes(found) if is_mutable(node) and node.name not in called
    ]
    yield f"mutable classes that no test constructs: {len(untested)}"
    yield from (f"  {name}" for name in untested)
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for module, node in classes(found):
        homes[node.name].append(module.name)
    shared = {name: where for name, where in homes.items() if len(where) > 1 and name not in TWINS}
    yield f"class names used twice: {len(shared)}"
    yield from (f"  {name}: {', '.join(where)}" for name, where in sorted(shared.items()))
    for title, found_lines in (("arrows up", arrows_up(found)), ("circles", circles(found))):
        yield f"{title}: {len(found_lines)}"
        yield from (f"  {line}" for line in found_lines)
    yield (
        f"lines over {MAX_COLUMNS} columns: "
        f"{sum(len(line) > MAX_COLUMNS for module in found for line in module.text.splitlines())}"
    )


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    print("\n".join(report(root)))


if __name__ == "__main__":
    main()
