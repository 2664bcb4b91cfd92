"""What is valid can be run: every point of a space, in every phase, is one that the run accepts; whole-number fields
get whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from metta_sweep.config import SweepJob, load_sweep_job, resolve_run
from metta_sweep.config.patches import patch_text
from metta_sweep.errors import ConfigError
from searchers.distributions import DISTRIBUTIONS, Distribution, register_distribution
from trainables.command import CommandRun
from trainables.run_files import RunFiles
from trainables.spec import RunSpec


def load(directory: Path, parameters: object, **keys: object) -> SweepJob:
    (directory / "sweep").mkdir(exist_ok=True)
    (directory / "sweep" / "own.yaml").write_text(yaml.safe_dump({"parameters": parameters, **keys}))
    return load_sweep_job(["sweep_name=x", "sweep=own"], {}, [directory])


def runs(job: SweepJob) -> Iterator[RunSpec]:
    """Random points of all phases, as the driver makes runs of them."""
    rng = np.random.default_rng(0)
    for phase in job.sweep.phases:
        for point in phase.space.sample(50, lambda count, d=phase.space.dimension: rng.uniform(-1, 1, (count, d))):  # type: ignore[misc]
            yield RunSpec.from_mapping(
                resolve_run(job.train, "x.r.0", phase.space.from_unit(point), seed=1), strict=False
            )


STEPS = {"distribution": "log_normal", "min": 12000, "max": 120000, "mean": 60000}


def test_a_fraction_never_reaches_a_field_that_holds_whole_numbers(tmp_path: Path) -> None:
    job = load(tmp_path, {"trainer.total_timesteps": STEPS})
    steps = [run.trainer.total_timesteps for run in runs(job)]
    assert min(steps) >= 12000
    assert max(steps) <= 120000
    assert len(set(steps)) > 40
    assert job.sweep.phases[0].space.center() == {"trainer.total_timesteps": 60000}
    place = f"{tmp_path}/sweep/own.yaml:2: sweep.parameters.trainer.total_timesteps"
    assert job.notes == (f"{place}: takes whole numbers: what log_normal gives is rounded",)


@pytest.mark.parametrize(
    "name",
    ["trainer.num_envs", "model.hidden_size", "trainer.simulation.curve_episodes", "env.num_agents", "sim.episodes"],
)
@pytest.mark.parametrize(
    "leaf", [{"min": 1.5, "max": 8.5, "mean": 3.4}, {"distribution": "log_normal", "min": 0.7, "max": 9}]
)
def test_every_whole_field_may_be_searched_with_every_distribution(
    name: str, leaf: dict[str, object], tmp_path: Path
) -> None:
    job = load(tmp_path, {name: leaf})
    assert len(list(runs(job))) == 50
    ends = job.sweep.phases[0].space.to_config()[name]
    assert (ends["min"], ends["max"]) in ((2, 8), (1, 9))


def _halves(values: np.ndarray) -> np.ndarray:
    return 2.0 * values


def _doubles(values: np.ndarray) -> np.ndarray:
    return values / 2.0


def test_what_a_distribution_of_ones_own_gives_is_rounded(tmp_path: Path) -> None:
    register_distribution(Distribution("of_points_test", forward=_halves, inverse=_doubles))
    try:
        job = load(tmp_path, {"trainer.num_envs": {"distribution": "of_points_test", "min": 2.2, "max": 40.0}})
        assert len({run.trainer.num_envs for run in runs(job)}) > 20
    finally:
        del DISTRIBUTIONS["of_points_test"]


def test_a_range_without_a_whole_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"num_envs\.min: takes whole numbers, and there are not two from 1\.2 to 1\.8"
    ):
        load(tmp_path, {"trainer.num_envs": {"min": 1.2, "max": 1.8}})


def test_a_choice_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.num_envs\.choices: need a whole number, got 2\.5"):
        load(tmp_path, {"trainer.num_envs": {"choices": [2, 2.5]}})


def test_points_that_only_some_combinations_make_impossible_are_refused_with_the_combination(tmp_path: Path) -> None:
    crowd = {
        "env.altars": {"distribution": "int_uniform", "min": 3, "max": 90},
        "env.width": {"distribution": "int_uniform", "min": 11, "max": 20},
    }
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, crowd)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path}/sweep/own.yaml:1: sweep.parameters: env: ")
    assert "objects and agents do not fit" in problem
    assert "; so with env.altars=" in problem
    assert load(tmp_path, crowd, constraints=["env.altars < 3 * env.width"]).sweep.phases


def test_the_points_of_every_phase_are_tried(tmp_path: Path) -> None:
    width = {"distribution": "int_uniform", "min": 11, "max": 20}
    crowd = {"env.altars": {"distribution": "int_uniform", "min": 3, "max": 90}}
    phases = [{"name": "a", "num_runs": 2}, {"name": "b", "sweep": {"parameters": crowd}}]
    with pytest.raises(ConfigError, match=r"sweep\.schedule\.phases\.1\.sweep\.parameters: env: "):
        load(tmp_path, {"env.width": width}, schedule={"phases": phases})


PROGRAM = {"kind": "command", "command": "python train.py {overrides}", "types": {"width": "int", "net.act": "str"}}


def test_a_program_that_declares_a_whole_number_gets_one(tmp_path: Path) -> None:
    parameters = {
        "width": {"distribution": "log_normal", "min": 16, "max": 256},
        "net": {"act": {"choices": ["a", "b"]}},
    }
    job = load(tmp_path, parameters, metric="score", sweep_job_overrides={"trainable": PROGRAM})
    assert all(type(run.parameters["width"]) is int for run in runs(job))
    assert [note.partition("parameters.")[2] for note in job.notes] == [
        "width: takes whole numbers: what log_normal gives is rounded"
    ]


@pytest.mark.parametrize(
    ("parameters", "trainable", "problem"),
    [
        (
            {"width": {"choices": [1, 2.5]}, "net.act": {"choices": ["a", "b"]}},
            PROGRAM,
            r"width\.choices: need a whole number, got 2\.5",
        ),
        (
            {"width": {"min": 1, "max": 9}, "net.act": {"choices": [1, 2]}},
            PROGRAM,
            r"sweep\.parameters\.net\.act: need a text, got 1",
        ),
        (
            {"wdth": {"min": 1, "max": 9}, "net.act": {"choices": ["a", "b"]}},
            PROGRAM,
            r"trainable\.types\.width: no such parameter of the run",
        ),
        (
            {"width": {"min": 1, "max": 9}},
            {**PROGRAM, "types": {"width": "whole"}},
            r"trainable\.types\.width: unknown value 'whole'",
        ),
        (
            {"lr": {"min": 0.1, "max": 0.9}},
            {**PROGRAM, "types": {"width": "int"}, "parameters": {"width": 1.5}},
            r"trainable\.parameters\.width: need a whole number, got 1\.5",
        ),
    ],
)
def test_what_a_program_declares_is_checked(
    parameters: object, trainable: object, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, parameters, metric="score", sweep_job_overrides={"trainable": trainable})


@pytest.mark.parametrize(
    "file", sorted(path.stem for path in Path("configs/sweep").glob("*.yaml") if path.stem != "pong")
)
def test_every_point_of_our_own_sweeps_can_be_run(file: str) -> None:
    assert all(runs(load_sweep_job(["sweep_name=x", f"sweep={file}"], {})))


def test_a_number_reaches_program_patch_and_run_as_it_was_written(tmp_path: Path) -> None:
    learning_rate = {"distribution": "log_normal", "min": 1e-4, "max": 1e-2, "mean": 3e-4}
    program = {"kind": "command", "command": "python train.py {overrides}", "override": "{key}={value}"}
    job = load(tmp_path, {"lr": learning_rate}, metric="score", sweep_job_overrides={"trainable": program})
    spec = RunSpec.from_mapping(resolve_run(job.train, "x.r.0", job.sweep.phases[0].space.center(), seed=1))
    files = RunFiles(tmp_path)
    assert CommandRun(spec.trainable, spec.parameters, {"rank": "0"}, files, {}).arguments() == [
        "python",
        "train.py",
        "lr=0.0003",
    ]
    ours = load(tmp_path, {"trainer.learning_rate": learning_rate}).sweep.phases[0].space.center()
    assert patch_text(ours, []).endswith("learning_rate: 0.0003\n")
