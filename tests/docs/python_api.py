"""The page of the Python API: signatures and docstrings of what users import."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

# What scripts and plugins import; modules with `__all__` say themselves what is public.
PUBLIC: dict[str, tuple[str, ...]] = {
    "metta_sweep": (),
    "metta_sweep.config": (),
    "metta_sweep.registry.open": ("open_registry",),
    "metta_sweep.registry.reader": ("open_reader",),
    "metta_sweep.registry.api": ("Registry",),
    "metta_sweep.analysis.frame": ("frame",),
    "metta_sweep.analysis.recommend": ("recommend",),
    "searchers": (),
    "searchers.ray_search": ("ProteinSearch", "ResultKeys"),
    "trainables.report": ("report",),
    "trainables.function": ("FunctionContext",),
    "trainables.kinds": ("TrainableKind", "register_kind"),
}
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Source|Yields):$")


def python_api() -> str:
    """The page."""
    parts = ["# Python API"]
    for module_name, names in PUBLIC.items():
        module = importlib.import_module(module_name)
        parts.append(f"## {module_name}\n\n{prose(module.__doc__)}")
        parts += [entry(name, getattr(module, name)) for name in names or module.__all__]
    return "\n\n".join(parts) + "\n"


def entry(name: str, item: Any) -> str:
    """One name: its signature, its docstring, and a class's public methods."""
    if not (inspect.isclass(item) or inspect.isfunction(item)):
        return f"### {name}\n\nA type or a constant: `{shown(item)}`."
    own = item.__doc__ or ""
    text = "" if own.startswith(f"{name}(") else own  # what dataclasses write of themselves
    parts = [f"### {name}", f"```python\n{name}{signature(item)}\n```", prose(text)]
    if inspect.isclass(item):
        parts += [f"`{method}{signature(value)}`\n{indented(prose(value.__doc__))}" for method, value in methods(item)]
    return "\n\n".join(part for part in parts if part)


def methods(item: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(item).items():
        function = getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield name, function


def indented(text: str) -> str:
    return ":   " + text.replace("\n", "\n    ")


def signature(item: Any) -> str:
    try:
        return shown(inspect.signature(item))
    except (TypeError, ValueError):  # protocols and enumerations have none that helps
        return ""


def shown(item: Any) -> str:
    """Without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(item)).replace("'", "")


def prose(docstring: str | None) -> str:
    """A Google-style docstring as Markdown."""
    lines: list[str] = []
    in_section = False
    for line in inspect.cleandoc(docstring or "").splitlines():
        if SECTION.match(line):
            lines += ["", f"**{line[:-1]}**", ""]
            in_section = True
            continue
        in_section = in_section and (line.startswith(" ") or not line)
        starts = re.match(r"^ {4}(\*{0,2}\w[\w, *]*): (.*)", line)
        if in_section and starts:
            lines.append(f"- `{starts[1]}`: {starts[2]}")
        else:
            lines.append(("  " if in_section else "") + line.strip() if line.strip() else "")
    return "\n".join(lines).strip()
