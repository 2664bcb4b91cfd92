"""One set of rules reads every field, whoever owns it: the same values pass, in the same words the rest is refused."""

from __future__ import annotations

import math
from dataclasses import is_dataclass, make_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from metta_sweep.config.job import Budget, Settings, SweepKeys, WandbSettings
from metta_sweep.config.phases import PhaseEntry
from metta_sweep.config.runs import OwnKeys
from searchers import ProteinConfig, SpaceError
from trainables.environments.curriculum import CurriculumConfig
from trainables.environments.mettagrid_tasks import Task
from trainables.errors import Problem
from trainables.fields import Flag, Number, Text, Whole, build
from trainables.ppo.config import ModelConfig, TrainerConfig
from trainables.programs import TrainableConfig
from trainables.resources import Resources
from trainables.simulation.config import SuiteConfig

SECTIONS = (
    *(Settings, Budget, WandbSettings, OwnKeys, SweepKeys, PhaseEntry, Resources, TrainerConfig, ModelConfig),
    *(TrainableConfig, SuiteConfig, CurriculumConfig, Task),
)
ODD: tuple[Any, ...] = (
    *(math.nan, math.inf, -math.inf, -1, 0, 1, 1.5, 3.0, 1e3, 10**400, 2**53 + 1, True, None),
    *(
        "",
        "1",
        " 1 ",
        "1e3",
        "1.5",
        "nan",
        "1e400",
        "true",
        "9007199254740993",
        b"1",
        [],
        ["a"],
        [1],
        ("a",),
        {},
        {1: 2},
    ),
)


def fields_of(section: type) -> list[tuple[type, str, Any]]:
    """(dataclass, name, type) of all fields, those of sections in it too."""
    own = get_type_hints(section, include_extras=True).items()
    below = [leaf for _, hint in own if is_dataclass(hint) for leaf in fields_of(hint)]
    return below + [(section, name, hint) for name, hint in own if not is_dataclass(hint)]


FIELDS = [leaf for section in SECTIONS for leaf in fields_of(section)]


@pytest.mark.parametrize(
    ("owner", "name", "hint"), FIELDS, ids=[f"{owner.__name__}.{name}" for owner, name, _ in FIELDS]
)
def test_every_field_has_a_rule_and_says_its_key_and_value_when_it_refuses_one(
    owner: type[Any], name: str, hint: Any
) -> None:
    rule = next(one for one in (hint, *get_args(hint)) if hasattr(one, "__metadata__"))
    is_number = get_args(rule)[0] in (int, float)
    for value in ODD:
        problems: list[Problem] = []
        built: Any = build(owner, {name: value}, "key", problems)
        if problems:
            assert [problem.key for problem in problems] == [f"key.{name}"]
            assert repr(value) in problems[0].text
            assert built == owner()
        elif is_number and value is not None:
            assert type(getattr(built, name)) is get_args(rule)[0]
            assert math.isfinite(getattr(built, name))


@pytest.mark.parametrize(
    ("name", "rule"),
    [("curve_points", Whole), ("expansion_rate", Number), ("seed_with_search_center", Flag), ("fidelity", Text)],
)
def test_settings_of_the_optimiser_follow_the_same_rules_in_the_same_words(name: str, rule: Any) -> None:
    section = make_dataclass("Section", [(name, rule | None if name == "fidelity" else rule, None)], frozen=True)
    for value in ODD:
        problems: list[Problem] = []
        ours = getattr(build(section, {name: value}, "", problems), name)
        try:
            theirs, refused = getattr(ProteinConfig.from_mapping({name: value}), name), ""
        except SpaceError as error:
            theirs, refused = None, str(error)
        if "need at least 0" not in refused:
            assert (theirs, type(theirs), refused) == (ours, type(ours), "".join(map(str, problems))), value


def test_all_problems_of_all_sections_come_at_once_and_the_rest_is_read() -> None:
    wrong = {"ppo": {"gamma": 2, "ent_coef": math.nan, "gama": 1}, "optimizer": 3, "num_envs": 8, 7: 1}
    problems: list[Problem] = []
    trainer = build(TrainerConfig, wrong, "trainer", problems)
    assert sorted(map(str, problems)) == [
        f"trainer.7: unknown key; known: {', '.join(sorted(get_type_hints(TrainerConfig)))}",
        "trainer.optimizer: need a mapping, got 3",
        "trainer.ppo.ent_coef: need a finite number, got nan",
        "trainer.ppo.gama: unknown key; did you mean gamma?",
        "trainer.ppo.gamma: need a number from 0 to 1, got 2",
    ]
    assert (trainer.num_envs, trainer.ppo.gamma) == (8, 0.99)
    assert build(TrainerConfig, {"ppo": None}, "trainer", []) == build(TrainerConfig, None, "trainer", [])
