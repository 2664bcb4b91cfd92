"""No number of a configuration may be NaN or infinite, whoever reads it; WANDB_MODE means the same everywhere."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from metta_sweep.config import load_sweep_job, load_train_job
from metta_sweep.config.environment import WANDB_MODES
from metta_sweep.config.job import Budget, Settings, SweepKeys
from metta_sweep.errors import ConfigError
from metta_sweep.tracking.job import resolve_mode
from searchers.config import ProteinConfig
from trainables.resources import Resources
from trainables.spec import RunSpec

SECTIONS = {"settings": Settings, "budget": Budget, "resources": Resources, "sweep": SweepKeys}
PROGRAM = ["trainable=function", "trainable.function=json:loads", "sweep.metric=score"]


def is_number(hint: Any) -> bool:
    return any(kind in (int, float) for kind in get_args(hint) or (hint,))


def number_keys() -> list[str]:
    sections = {**SECTIONS, "sweep.protein": ProteinConfig}
    keys = [
        f"{name}.{key}"
        for name, kind in sections.items()
        for key, hint in get_type_hints(kind).items()
        if is_number(hint)
    ]
    return sorted({*keys, *(key for key, hint in RunSpec.known_keys().items() if is_number(hint))})


def test_the_walk_finds_numbers_of_every_section() -> None:
    found = {key.rpartition(".")[0] for key in number_keys()}
    assert found >= {
        "settings",
        "budget",
        "resources",
        "sweep",
        "sweep.protein",
        "trainer",
        "trainer.ppo",
        "model",
        "env",
        "sim",
    }
    assert len(number_keys()) > len(fields(Settings))


def test_nan_and_infinity_are_refused_by_name_in_every_number() -> None:
    keys = [key for key in number_keys() if key != "sweep.protein.budget"]  # that name means the job's budget
    words = [f"++{key}={'nan' if index % 2 else 'inf'}" for index, key in enumerate(keys)]
    with pytest.raises(ConfigError) as caught:
        load_sweep_job(["sweep_name=x", "sweep=quick", *words], {})
    told = {problem.removeprefix("command line: ").partition(": ")[0] for problem in caught.value.problems}
    assert set(keys) - told == set()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["+env.ore_reward", "trainer.ppo.ent_coef", "trainer.optimizer.weight_decay"])
def test_each_of_them_is_refused_for_a_single_run(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{key.removeprefix('+')}: need a finite number, got {value}"):
        load_train_job(["run=x", f"{key}={value}"], {})


@pytest.mark.parametrize(
    "word", ["+trainable.parameters.scale=nan", "+trainable.parameters.deep={a: {b: [1.0, inf]}}", "+own.limit=inf"]
)
def test_numbers_that_only_a_program_reads_are_refused_too(word: str) -> None:
    with pytest.raises(ConfigError, match="need a finite number"):
        load_sweep_job(["sweep_name=x", "sweep=fast", *PROGRAM, word, "+trainable.environment.OWN=${own.limit}"], {})


def test_a_whole_number_of_hundreds_of_digits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.total_timesteps: need a whole number"):
        load_train_job(["run=x", f"trainer.total_timesteps={'9' * 400}"], {})
    with pytest.raises(ConfigError, match=r"settings\.lease_seconds: need a finite number"):
        load_sweep_job(["sweep_name=x", "sweep=quick", f"settings.lease_seconds={'9' * 400}"], {})


@pytest.mark.parametrize(("value", "mode"), WANDB_MODES.items())
def test_a_wandb_mode_of_the_environment_means_the_same_to_job_and_mirror(
    value: str, mode: str, tmp_path: Path
) -> None:
    environ = {"WANDB_MODE": value, "HOME": str(tmp_path)}
    assert load_sweep_job(["sweep_name=x", "sweep=quick"], environ).wandb.mode == mode
    assert resolve_mode("auto", environ) == mode


def test_an_unknown_wandb_mode_is_refused_by_the_variables_name(tmp_path: Path) -> None:
    environ = {"WANDB_MODE": "ofline", "HOME": str(tmp_path)}
    for load in (
        lambda: load_sweep_job(["sweep_name=x", "sweep=quick"], environ),
        lambda: resolve_mode("auto", environ),
    ):
        with pytest.raises(ConfigError, match="environment: WANDB_MODE: unknown value 'ofline'; did you mean offline"):
            load()
