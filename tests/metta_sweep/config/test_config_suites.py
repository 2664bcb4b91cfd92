"""What scores a policy fits what it was trained on, and can be made on this machine; otherwise nothing starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gymnasium
import pytest
import yaml

from metta_sweep.config import load_sweep_job, load_train_job, resolve_run
from metta_sweep.driver.files import write_run_config
from metta_sweep.driver.single import check_same_policy
from metta_sweep.errors import ConfigError
from trainables.spec import RunSpec

CARTPOLE = "/env/gymnasium/CartPole-v1"


def told(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_sweep_job(["sweep_name=x", "sweep=full", *words], {})
    return caught.value.problems


@pytest.mark.parametrize(
    "words",
    [
        ["env=gymnasium/cartpole"],
        [f"trainer.curriculum={CARTPOLE}"],
        [f"trainer.curriculum={{tasks: {{{CARTPOLE}: 1}}}}"],
    ],
)
def test_without_a_suite_the_training_tasks_are_played(words: Sequence[str]) -> None:
    job = load_sweep_job(["sweep_name=x", "sweep=full", *words], {})
    suite = RunSpec.from_mapping(resolve_run(job.train, "x.r.0", {}, seed=1), strict=False).suite
    assert [simulation.path for simulation in suite.simulations] == [CARTPOLE]
    train = RunSpec.from_mapping(load_train_job(["run=x", *words], {}).config)
    assert [simulation.path for simulation in train.suite.simulations] == [CARTPOLE]


@pytest.mark.parametrize("words", [["env=gymnasium/cartpole"], [f"trainer.curriculum={CARTPOLE}"]])
def test_a_suite_of_another_task_is_refused_with_both_names(words: Sequence[str]) -> None:
    expected = (
        "sim.simulations.basic.env: /env/mettagrid/arena/basic cannot be played by a policy of trainer.curriculum "
        f"{CARTPOLE} (env=); "
        "choose a suite of its task with sim=, or sim=auto for the training tasks"
    )
    assert told(*words, "sim=arena_basic") == (f"configs/sim/arena_basic.yaml:8: {expected}",)
    with pytest.raises(ConfigError) as caught:
        load_train_job(["run=x", *words, "sim=arena_basic"], {})
    assert caught.value.problems == (f"configs/sim/arena_basic.yaml:8: {expected}",)


def test_a_task_on_the_command_line_and_the_suite_of_the_sweep_file_are_held_against_each_other() -> None:
    with pytest.raises(
        ConfigError,
        match=r"smoke_test\.yaml:8: sim\.simulations\.basic\.env: .* trainer\.curriculum /env/gymnasium/CartPole-v1",
    ):
        load_sweep_job(["sweep_name=x", "sweep=fast", "env=gymnasium/cartpole"], {})


def test_two_environments_of_one_kind_are_compared_by_what_they_show_and_take() -> None:
    (problem,) = told("trainer.curriculum=/env/gymnasium/Acrobot-v1", "sim=cartpole")
    assert problem.endswith("it shows (4,) and takes ('one of', 2), not (6,) and ('one of', 3)")


class Halts(gymnasium.Env):
    """Ends its process while it is made."""

    def __init__(self) -> None:
        raise SystemExit("no licence")


class Nested(gymnasium.Env):
    """Shows what no policy of ours reads."""

    observation_space = gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2)})
    action_space = gymnasium.spaces.Discrete(2)


@pytest.fixture(autouse=True)
def odd_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.envs.registration.registry))
    gymnasium.register("Halts-v0", entry_point=Halts)
    gymnasium.register("Nested-v0", entry_point=Nested)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["trainer.curriculum=/env/gymnasium/CartPole-v1", "+env.sizw=3"],
            "cannot be made: TypeError: .* unexpected keyword argument 'sizw'",
        ),
        (["trainer.curriculum=/env/gymnasium/Halts-v0"], "cannot be made: SystemExit: no licence"),
        (["trainer.curriculum=/env/gymnasium/Nested-v0"], r"its observation space Dict\(.*\) is not supported"),
    ],
)
def test_an_environment_that_cannot_be_made_is_refused_before_the_start(words: Sequence[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"^command line: trainer\.curriculum: /env/gymnasium/\S+: {problem}"):
        load_sweep_job(["sweep_name=x", "sweep=full", *words], {})


def test_a_network_that_cannot_read_the_task_is_refused() -> None:
    (problem,) = told("env=gymnasium/cartpole", "model=cnn")
    assert problem.endswith("model.type: cnn needs images or a grid, and this environment has neither; use mlp or lstm")


def test_a_searched_option_that_the_environment_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    sweep = {
        "parameters": {"env.gravty": {"min": 1, "max": 10}},
        "sweep_job_overrides": {"trainer": {"curriculum": CARTPOLE}},
    }
    (tmp_path / "sweep" / "own.yaml").write_text(yaml.safe_dump(sweep))
    with pytest.raises(ConfigError, match="unexpected keyword argument 'gravty'"):
        load_sweep_job(["sweep_name=x", "sweep=own"], {}, [tmp_path])


def test_evaluate_refuses_another_task_and_network_than_the_run_was_trained_with(tmp_path: Path) -> None:
    trained = load_train_job(["run=x", f"data_dir={tmp_path}", "env=gymnasium/cartpole", "model=lstm"], {})
    trained.directory.mkdir(parents=True)
    write_run_config(trained.directory, trained.config)
    check_same_policy(trained)
    with pytest.raises(ConfigError) as caught:
        check_same_policy(load_train_job(["run=x", f"data_dir={tmp_path}"], {}))
    task, model = caught.value.problems
    assert task.startswith(
        f"trainer.curriculum: run x was trained with '{CARTPOLE}', not '/env/mettagrid/arena/basic'; give `evaluate` "
        "the words"
    )
    assert model.startswith("model: run x was trained with {")
