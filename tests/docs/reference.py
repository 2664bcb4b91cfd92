"""The reference, made from the code: `python -m tests.docs.reference DIRECTORY` copies `docs/` there and writes it.

Commands come from their help, keys from configs/KEYS.md and the dataclasses that own them, configuration files from
their first lines, events from the registry and the driver, routes from the service, the Python API from docstrings.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from metta_sweep.cli.commands import COMMANDS
from metta_sweep.cli.main import main as command_line
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.service import create_app
from metta_sweep.registry.store import SqlRegistry
from tests.docs.events import events
from tests.docs.python_api import python_api
from tests.metta_sweep.config.written_keys import SECTIONS

ROOT = Path(__file__).parents[2]
COLUMNS = "100"  # of a help text: a page shows so many without a scroll bar


def commands() -> str:
    """Every command as its `--help` says it."""
    parts = ["# Commands\n\n`metta-sweep COMMAND` and `python -m metta_sweep COMMAND` are the same program."]
    for name in COMMANDS:
        parts.append(f"## {name}\n\n```text\n{help_of(name).strip()}\n```")
    return "\n\n".join(parts) + "\n"


def help_of(name: str) -> str:
    """What `COMMAND --help` prints."""
    columns, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), COLUMNS
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            command_line([name, "--help"])
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return output.getvalue()


def keys() -> str:
    """The table of configs/KEYS.md by section, with defaults."""
    page = (ROOT / "configs" / "KEYS.md").read_text(encoding="utf-8")
    head, _, rest = page.partition("| key |")
    rows = [line for line in rest.splitlines() if line.startswith("| `")]
    notes = [line for line in rest.splitlines() if re.match(r"\d+\. ", line)]
    sections: dict[str, list[str]] = {}
    for row in rows:
        sections.setdefault(section_of(row), []).append(with_default(row))
    title = "| key | default | what it is | command line | job file | sweep file | `train` |\n" + "| --- " * 7 + "|"
    parts = [head.replace("`docs/reference/configuration.md`", "[what overrides what](configuration.md)").strip()]
    parts += [f"## {name}\n\n{title}\n" + "\n".join(lines) for name, lines in sections.items()]
    return "\n\n".join([*parts, "## Notes", "\n".join(notes)]) + "\n"


def key_of(row: str) -> str:
    return row.split("`")[1]


def section_of(row: str) -> str:
    """The longest section that owns the key; what stands alone belongs to the job."""
    name = key_of(row)
    owners = [section for section in SECTIONS if name.startswith(f"{section}.")]
    return max(owners, key=len) if owners else "Top of the job"


def with_default(row: str) -> str:
    """The row with a second column."""
    name = key_of(row)
    owner = SECTIONS.get(section_of(row))
    known = {item.name for item in fields(owner)} if owner is not None and is_dataclass(owner) else set()
    field = name.rpartition(".")[2]
    is_own = name == f"{section_of(row)}.{field}" and field in known
    default = f"`{plain_value(getattr(owner(), field))}`" if is_own and owner is not None else ""
    first, _, others = row.removeprefix("| ").partition(" | ")
    return f"| {first} | {default} | {others}"


def plain_value(value: Any) -> str:
    """A default as YAML spells it."""
    words = {None: "null", True: "true", False: "false", "": "''", (): "[]"}
    if isinstance(value, dict):
        return str(value)
    return words.get(value, str(value)) if not isinstance(value, int | float) or isinstance(value, bool) else f"{value}"


def configs() -> str:
    """Every file of `configs/` with its first comment."""
    parts = [
        "# Configuration files\n\nThe files in the package. A folder is a group: `sweep=quick`, `hardware=macbook`."
    ]
    for folder, files in grouped(sorted((ROOT / "configs").rglob("*.yaml"))):
        lines = [f"| `{file.stem}` | {first_comment(file)} |" for file in files]
        parts.append(
            f"## {folder or 'Job files'}\n\n| file | what it says of itself |\n| --- | --- |\n" + "\n".join(lines)
        )
    return "\n\n".join(parts) + "\n"


def grouped(files: Iterable[Path]) -> Iterator[tuple[str, list[Path]]]:
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(file.parent.relative_to(ROOT / "configs").as_posix().removeprefix("."), []).append(file)
    yield from sorted(groups.items())


def first_comment(file: Path) -> str:
    """The comment lines at the head of a file, without Hydra's own."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.lstrip("# "))
    return " ".join(lines).replace("|", "\\|")


def http() -> str:
    """Every route of the registry service."""
    with tempfile.TemporaryDirectory() as directory:
        registry = open_registry(Path(directory), None)
        assert isinstance(registry, SqlRegistry)
        try:
            return routes(create_app(registry))
        finally:
            registry.close()


def routes(app: FastAPI) -> str:
    schema = app.openapi()
    parts = [
        "# HTTP routes\n\nOf the registry as a service (`serve`), which shows the same at `/docs`. Every request "
        "carries `Authorization: Bearer TOKEN`. How to start it: [several drivers](../how-to/several-drivers.md)."
    ]
    for path, verbs in schema["paths"].items():
        parts += [route(verb.upper(), path, details) for verb, details in verbs.items()]
    parts.append("## Bodies")
    for name, body in schema["components"]["schemas"].items():
        rows = [f"| `{key}` | {type_of(value)} |" for key, value in body.get("properties", {}).items()]
        parts.append(f"### {name}\n\n| field | type |\n| --- | --- |\n" + "\n".join(rows) if rows else f"### {name}")
    return "\n\n".join(parts) + "\n"


def route(verb: str, path: str, details: dict[str, Any]) -> str:
    lines = [f"## {verb} {path}"]
    if details.get("description"):
        lines.append(" ".join(details["description"].split()))
    rows = [
        f"- `{item['name']}` ({item['in']}): {item.get('description') or type_of(item['schema'])}"
        for item in details.get("parameters", [])
    ]
    body = details.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    rows += [f"- body: {type_of(body)}"] if body else []
    answer = details["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
    rows += [f"- answer: {type_of(answer)}"] if answer else []
    return "\n\n".join([*lines, "\n".join(rows)])


def type_of(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(part) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


MADE: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/keys.md": keys,
    "reference/config-files.md": configs,
    "reference/events.md": events,
    "reference/http.md": http,
    "reference/python.md": python_api,
}


def write(directory: Path) -> None:
    """`docs/` with the reference, for mkdocs."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(ROOT / "docs", directory, ignore=shutil.ignore_patterns("__pycache__", "train_dir"))
    for name, make in MADE.items():
        (directory / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
