"""The newcomer's page speaks of what there is."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from metta_sweep.config.job import Settings
from tests import structure

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))))
DRAWN = sorted(set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]*\b|\b\w+\.py\b", TEXT.split("```")[1])))


@cache
def defined() -> set[str]:
    """Every class, function, method, field and constant of ours; members also as `Class.member`."""
    found = set()
    for module in structure.modules(ROOT):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{name}" for name in members(node)}
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def members(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef)} | {
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def exists(name: str) -> bool:
    if name.startswith("python -m "):
        return (ROOT / name.split()[2] / "__main__.py").exists()
    if "/" in name:
        return (ROOT / name).exists()
    if name.startswith("settings."):
        return name.partition(".")[2] in {item.name for item in fields(Settings)}
    return name in defined()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_on_the_page_is_one_of_ours(name: str) -> None:
    assert exists(name)


def test_every_message_and_file_of_the_drawing_is_one_of_the_drivers() -> None:
    files = {path.name for path in (ROOT / "metta_sweep" / "driver").glob("*.py")}
    words = {"Machine", "Optimiser", "Outbox", "Registry", "Reporter", "Trial", "Tune"}  # its boxes
    assert [name for name in DRAWN if name not in files | words | defined()] == []


def test_a_name_that_is_not_there_is_seen() -> None:
    assert not exists("Stock")
    assert not exists("metta_sweep/driver/stock.py")
    assert not exists("settings.stock")
    assert not exists("State.stock")
