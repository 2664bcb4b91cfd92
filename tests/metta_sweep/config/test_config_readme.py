"""Every setting stands on the page of settings."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from metta_sweep.config.job import Budget, Settings, SweepKeys, WandbSettings
from searchers.config import ProteinConfig
from trainables.resources import Resources

PAGE = Path("docs/reference/settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "section"),
    [(Settings, "settings."), (Budget, "budget."), (Resources, "resources."), (WandbSettings, "wandb.")],
)
def test_every_key_of_a_job_is_documented(kind: type, section: str) -> None:
    assert [field.name for field in fields(kind) if f"`{section}{field.name}`" not in PAGE] == []


@pytest.mark.parametrize("kind", [SweepKeys, ProteinConfig])
def test_every_key_of_a_sweep_file_is_documented(kind: type) -> None:
    assert [field.name for field in fields(kind) if f"`{field.name}`" not in PAGE] == []


def test_every_sweep_file_stands_in_the_list_of_configs() -> None:
    text = Path("configs/README.md").read_text(encoding="utf-8")
    assert [file.stem for file in Path("configs/sweep").glob("*.yaml") if f"`{file.stem}`" not in text] == []
