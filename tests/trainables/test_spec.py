"""From a plain mapping to a checked run: what is accepted, what is refused and in which words."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from trainables.environments.catalog import AtariFamily, MettaGridFamily
from trainables.errors import SpecError
from trainables.spec import RunSpec, metric_names


def problems_of(**mapping: Any) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        RunSpec.from_mapping(mapping)
    return caught.value.problems


def test_nothing_given_is_the_textbook_run_on_the_basic_arena() -> None:
    spec = RunSpec.from_mapping({})
    assert (spec.trainer.optimizer.learning_rate, spec.trainer.ppo.gamma, spec.trainer.total_timesteps) == (
        3e-4,
        0.99,
        262_144,
    )
    assert spec.environment.task_names == ("arena/basic",)
    assert [(spec.suite.name, sim.name) for sim in spec.suite.simulations] == [("arena", "basic")]


def test_numbers_may_come_as_yaml_and_searches_write_them() -> None:
    spec = RunSpec.from_mapping({"trainer": {"batch_size": 4096.0, "optimizer": {"learning_rate": "1e-3"}}})
    assert (spec.trainer.batch_size, spec.trainer.optimizer.learning_rate) == (4096, 1e-3)


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"devce": "cpu"}, "devce: unknown key; did you mean device or env?"),
        ({"trainer": {"ppo": {"gama": 0.9}}}, "trainer.ppo.gama: unknown key; did you mean gamma?"),
        ({"trainer": {"batch_size": "many"}}, "trainer.batch_size: need a whole number, got 'many'"),
        ({"trainer": {"num_envs": 1.5}}, "trainer.num_envs: need a whole number, got 1.5"),
        ({"trainer": {"ppo": {"gamma": 1.5}}}, "trainer.ppo.gamma: need a number from 0 to 1, got 1.5"),
        ({"trainer": {"schedule": "cosin"}}, "trainer.schedule: unknown value 'cosin'; did you mean cosine?"),
        ({"trainer": {"ppo": 3}}, "trainer.ppo: need a mapping, got 3"),
        (
            {"trainer": {"curriculum": "/env/mettagrid/arena/basc"}},
            "trainer.curriculum: unknown MettaGrid task 'arena/basc'; did you mean arena/basic or arena/combat or "
            "arena/advanced?",
        ),
        (
            {"trainer": {"curriculum": "/env/gymnasium/CartPol-v1"}},
            "trainer.curriculum: unknown gymnasium environment 'CartPol-v1'",
        ),
        ({"env": {"windw": 9}}, "env.windw: unknown key; did you mean window or width?"),
        ({"env": {"window": 8}}, "env.window: need an odd number from 3 to 15, got 8"),
        (
            {"env": {"altars": 90}},
            "env: 100 objects and agents do not fit 81 inner cells; use a larger width or height, or fewer objects",
        ),
        ({"metric": "heart.gaind"}, "metric: unknown 'heart.gaind'; did you mean heart.gained"),
        ({"device": "cuda"}, "device: cuda needs resources.gpus_per_worker above 0; set it, or use device=cpu"),
        ({"trainer": {"precision": "bf16"}}, "trainer.precision: bf16 needs a GPU; use device=cuda, or float32"),
        (
            {"trainer": {"cuda_graphs": True, "compile": True}},
            "trainer.cuda_graphs: true needs a GPU; use device=cuda, or false",
        ),
        (
            {"trainer": {"cuda_graphs": True}, "device": "cuda", "resources": {"gpus_per_worker": 1}},
            "trainer.cuda_graphs: true needs trainer.compile=true, which captures them; set it, or use false",
        ),
        (
            {"resources": {"world_size": 3}},
            "trainer.batch_size: 8192 is not divisible by resources.world_size=3; use a multiple of it",
        ),
        (
            {"trainer": {"minibatch_size": 9000}},
            "trainer.minibatch_size: 9000 is larger than trainer.batch_size=8192; use at most that",
        ),
        (
            {"resources": {"gpus_per_worker": 0.5, "world_size": 2}},
            "resources.gpus_per_worker: need 0, 1, 2, ... or a fraction below 1",
        ),
        ({"run": "../x"}, "run: need a name without '/', got '../x'"),
        ({"sim": {"simulations": {"a": {}}}}, "sim.simulations.a: need a mapping with env: /env/..., got {}"),
    ],
)
def test_every_problem_names_the_key_the_value_and_the_fix(mapping: dict[str, Any], problem: str) -> None:
    assert any(line.startswith(problem) for line in problems_of(**mapping)), problems_of(**mapping)


def test_all_problems_come_at_once() -> None:
    assert len(problems_of(run="a/b", seed=-1, trainer={"num_envs": 0, "ppo": {"gamma": 2}}, env={"window": 2})) == 5


def test_a_searched_point_is_not_refused_for_sizes_that_can_be_rounded() -> None:
    odd = {
        "trainer": {"batch_size": 5000, "minibatch_size": 7000, "total_timesteps": 12_345},
        "resources": {"world_size": 3},
    }
    assert RunSpec.from_mapping(odd, strict=False).trainer.minibatch_size == 7000


def test_metrics_are_known_before_anything_runs() -> None:
    names = metric_names(RunSpec.from_mapping({}))
    assert {
        "reward",
        "arena/basic/reward",
        "heart.gained",
        "action.use.altar",
        "arena/basic/action.move.success",
    } <= set(names)


def test_swept_paths_have_types() -> None:
    keys = RunSpec.known_keys()
    assert (keys["trainer.optimizer.learning_rate"], keys["trainer.batch_size"], keys["env.difficulty"]) == (
        float,
        int,
        float,
    )


def test_evaluation_is_seen_through_the_window_of_training() -> None:
    spec = RunSpec.from_mapping(
        {"env": {"window": 7}, "sim": {"simulations": {"fight": {"env": "/env/mettagrid/arena/combat"}}}}
    )
    families = [spec.environment, spec.suite.simulations[0].family]
    assert all(
        isinstance(family, MettaGridFamily) and family.combat_vocabulary and family.tasks[0][1].window == 7
        for family in families
    )


def test_checking_a_run_loads_no_torch_and_no_simulator() -> None:
    code = (
        "import sys, trainables.spec as s; s.RunSpec.from_mapping({}); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'ray', 'mettagrid', 'gymnasium')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PATHS = (
    "/env/gymnasium/CartPole-v1",
    "/env/gymnasium/tests.trainables.odd_environments:Odd-v0",
    "/env/mettagrid/arena/basic",
)


def tasks_of(family: object) -> list[int]:
    assert isinstance(family, MettaGridFamily)
    return [task.max_steps for _, task in family.tasks]


def test_options_of_env_are_for_training_and_for_a_suite_that_is_the_training_tasks() -> None:
    own = RunSpec.from_mapping({"env": {"max_steps": 16}})
    assert (tasks_of(own.environment), tasks_of(own.suite.simulations[0].family)) == ([16], [16])
    named = {"name": "arena", "simulations": {"basic": {"env": "/env/mettagrid/arena/basic"}}}
    kept = RunSpec.from_mapping({"env": {"max_steps": 16}, "sim": named})
    assert (tasks_of(kept.environment), tasks_of(kept.suite.simulations[0].family)) == ([16], [128])
    named["simulations"]["basic"]["max_steps"] = 32  # type: ignore[index]
    assert tasks_of(RunSpec.from_mapping({"env": {"max_steps": 16}, "sim": named}).suite.simulations[0].family) == [32]


@pytest.mark.parametrize("path", PATHS[:2])
def test_every_family_knows_max_steps(path: str) -> None:
    spec = RunSpec.from_mapping({"trainer": {"curriculum": path}, "env": {"max_steps": 7}})
    assert spec.environment.step_limit() == 7
    assert problems_of(trainer={"curriculum": path}, env={"max_steps": 0}) == (
        "env.max_steps: need a whole number of at least 1, got 0",
    )


def test_the_limit_of_an_episode_is_that_of_the_environment() -> None:
    limits = {path: RunSpec.from_mapping({"trainer": {"curriculum": path}}).environment.step_limit() for path in PATHS}
    assert list(limits.values()) == [500, None, 128]
    atari = [AtariFamily("pong", options).step_limit() for options in ({}, {"frameskip": 2}, {"max_steps": 9})]
    assert atari == [27_000, 54_000, 9]
