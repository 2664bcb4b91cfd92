"""Kinds of training: what each reads and what does it, and a kind that a plugin brings."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import SpecError
from trainables.kinds import KINDS, FunctionKind, kind_of, register_kind, unread_settings
from trainables.messages import RunRequest, Trained
from trainables.programs import TrainableConfig
from trainables.spec import RunSpec
from trainables.worker import RankWorker

PLUGIN = "tests.trainables.programs.dice"
DICE: dict[str, Any] = {"run": "s.r.0", "plugins": [PLUGIN], "trainable": {"kind": "dice"}}


@pytest.fixture
def plugin() -> Iterator[None]:
    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)
    sys.modules.pop(PLUGIN, None)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_a_kind_names_is_there(kind: Any) -> None:
    module, _, function = kind.trainer.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    known = {item.name for item in fields(TrainableConfig)}
    assert {*kind.settings} <= known
    assert {*unread_settings(kind)} == known - {"kind", *kind.settings}


@pytest.mark.parametrize(
    ("mapping", "name"),
    [
        ({}, "ppo"),
        ({"trainable": None}, "ppo"),
        ({"trainable": {}}, "ppo"),
        ({"trainable": {"kind": "function"}}, "function"),
        ({"trainable": {"kind": "nonsense"}}, "command"),
        ({"trainable": {"kind": None}}, "command"),
    ],
)
def test_the_kind_of_a_mapping_is_known_before_it_is_checked(mapping: dict[str, Any], name: str) -> None:
    assert kind_of(mapping).name == name


def test_a_plugin_brings_a_kind_of_training_of_its_own(plugin: None, tmp_path: Path) -> None:
    mapping = {**DICE, "suggestion": {"sides": 20}, "own": {"section": 1}}
    spec = RunSpec.from_mapping(mapping)
    assert (spec.kind.name, spec.parameters) == ("dice", {"sides": 20})
    trained = RankWorker().train(RunRequest(spec, tmp_path))
    assert isinstance(trained, Trained)
    assert trained.reported == {"score": 20.0}


def test_a_kind_checks_its_own_settings(plugin: None) -> None:
    with pytest.raises(SpecError, match=r"trainable\.parameters\.sides: need more than 0"):
        RunSpec.from_mapping({**DICE, "suggestion": {"sides": 0}})


def test_two_kinds_cannot_share_a_name(plugin: None) -> None:
    register_kind(FunctionKind())
    with pytest.raises(ValueError, match="'function' exists already"):
        register_kind(replace(FunctionKind(), trainer="other:train"))


def test_a_kind_that_nobody_registered_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match=r"trainable.kind: unknown value 'dice'; known: command, function, ppo"):
        RunSpec.from_mapping({"trainable": {"kind": "dice"}})
