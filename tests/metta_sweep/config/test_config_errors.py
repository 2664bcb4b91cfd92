"""What a wrong configuration is told: the exact text, one line each, nothing started."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.config import load_sweep_job, load_train_job, validate_file
from metta_sweep.errors import ConfigError

QUICK = ["sweep_name=demo", "sweep=quick"]


def told(*overrides: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_sweep_job(overrides, environ or {})
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["sweep=quick"], "configs/sweep_job.yaml:14: sweep_name: missing; name it: sweep_name=my_sweep"),
        (
            ["sweep_name=a/b", "sweep=quick"],
            "command line: sweep_name: 'a/b' cannot name a directory; use up to 100 letters, digits, '.', '_' and '-', a letter or digit first, "
            "and no '..'",
        ),
        (
            ["sweep_name=a..b", "sweep=quick"],
            "command line: sweep_name: 'a..b' cannot name a directory; use up to 100 letters, digits, '.', '_' and '-', a letter or digit first, "
            "and no '..'",
        ),
        (["sweep_name=demo", "sweep=quik"], "command line: sweep=quik: no such option; did you mean quick?"),
        ([*QUICK, "+hardware=macbok"], "command line: hardware=macbok: no such option; did you mean macbook?"),
        ([*QUICK, "env=navigation"], "command line: env=navigation: no such option; did you mean mettagrid/navigation?"),
        ([*QUICK, "hardwear=auto"], "command line: hardwear: unknown key; did you mean hardware?"),
        ([*QUICK, "trainer.optimzer.eps=1"], "command line: trainer.optimzer: unknown key; did you mean optimizer?"),
        (
            [*QUICK, "trainer.gama=1"],
            "command line: trainer.gama: unknown key; did you mean trainer.ppo.gamma or trainer.compile or trainer.ppo.gae_lambda?",
        ),
        ([*QUICK, "env.dificulty=0.5"], "command line: env.dificulty: unknown key; did you mean difficulty?"),
        ([*QUICK, "sweep.metric=rewrd"], "command line: sweep.metric: unknown 'rewrd'; did you mean reward?"),
        (
            [*QUICK, "+sweep.parameters.trainer.ppo.gama={min: 0.1, max: 0.9}"],
            "command line: sweep.parameters.trainer.ppo.gama: no such parameter in the training configuration; "
            "did you mean trainer.ppo.gamma or trainer.ppo.gae_lambda or trainer.ppo.target_kl?",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.ppo={min: 0.1, max: 0.9}", "~sweep.parameters.trainer.ppo.gae_lambda"],
            "command line: sweep.parameters.trainer.ppo: names a section of the training configuration, not a value; "
            "did you mean trainer.ppo.gamma or trainer.ppo.vf_coef or trainer.ppo.ent_coef?",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.ppo.gae_lambda.max=1.5", "sweep.parameters.trainer.ppo.gae_lambda.distribution=uniform"],
            "command line: sweep.parameters.trainer.ppo.gae_lambda.max: need a number from 0 to 1, got 1.5",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.minibatch_size={distribution: log_normal, min: 0.5, max: 4096, mean: 512}"],
            "command line: sweep.parameters.trainer.minibatch_size.min: need a whole number, got 0.5",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.total_timesteps.min=200000"],
            "command line: sweep.parameters.trainer.total_timesteps.min: need min < max, got min 200000 and max 98304; "
            "swap them or use {value: 200000}",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.total_timesteps.mean=1"],
            "command line: sweep.parameters.trainer.total_timesteps.mean: need a value from min 49152 to max 98304, got 1; "
            "move mean or widen the range",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.ppo.gae_lambda.max=1.0"],
            "command line: sweep.parameters.trainer.ppo.gae_lambda.max: logit_normal needs max < 1, got 1.0; use 0.9999 or distribution: uniform",
        ),
        (
            [*QUICK, "sweep.parameters.trainer.ppo.gae_lambda.distribution=logitnormal"],
            "command line: sweep.parameters.trainer.ppo.gae_lambda.distribution: unknown distribution 'logitnormal'; did you mean logit_normal?",
        ),
        ([*QUICK, "sweep.protein.num_random=3"], "command line: sweep.protein.num_random: unknown setting; did you mean num_random_samples?"),
        ([*QUICK, "sweep.protein.max_suggestion_cost=-1"], None),
        ([*QUICK, "settings.max_consecutive_failures=many"], None),
        (
            [*QUICK, "sweep.goal=maximise"],
            "command line: sweep.goal: unknown goal 'maximise'; did you mean maximize or minimize?",
        ),
        ([*QUICK, "sweep.method=bayesian"], "command line: sweep.method: unknown method 'bayesian'; did you mean bayes?"),
        ([*QUICK, "sweep.num_samples=0"], "command line: sweep.num_samples: need at least 1, got 0; leave it out for an endless sweep"),
        (
            [*QUICK, "budget.dollars=3"],
            "command line: budget.dollars: 3 needs budget.hourly_cost, in dollars per GPU-hour (per slot-hour without GPUs)",
        ),
        ([*QUICK, "budget.gpu_hours=0"], "command line: budget.gpu_hours: need a number > 0, got 0; leave it out for no limit"),
        ([*QUICK, "wandb.mode=onlin"], "command line: wandb.mode: unknown mode 'onlin'; did you mean online or offline?"),
        ([*QUICK, "resources.world_size=0"], None),
        (
            [*QUICK, "resources.strategy=SPRED"],
            "command line: resources.strategy: 'SPRED' is no strategy; did you mean SPREAD?",
        ),
        (
            [*QUICK, "resources.world_size=3"],
            "configs/trainer/ppo.yaml:4: trainer.minibatch_size: 2048 is not divisible by resources.world_size=3; use a multiple of it",
        ),
        (
            [*QUICK, "device=cpu", "resources.gpus_per_worker=1"],
            "command line: resources.gpus_per_worker: 1 would be held by runs with device cpu; use 0, or device=cuda",
        ),
        ([*QUICK, "seed=-1"], "command line: seed: need a whole number >= 0, got -1"),
        (
            [*QUICK, "trainer.num_envs=1,2"],
            "command line: trainer.num_envs=1,2: several values at once are Hydra's multirun; put the parameter under sweep.parameters instead",
        ),
        ([*QUICK, "~trainer.nothing"], None),
        (
            [*QUICK, "+trainer.num_envs=3"],
            "command line: +trainer.num_envs=3: trainer.num_envs is 32 already; use trainer.num_envs= or ++trainer.num_envs= to replace it",
        ),
        ([*QUICK, "trainer/pach=x"], "command line: trainer/pach=x: no config group trainer/pach; did you mean trainer/patch or trainer?"),
        (
            [*QUICK, "trainer.ppo.gamma=${trainer.ppo.gama}"],
            "command line: trainer.ppo.gamma: ${trainer.ppo.gama}: Interpolation key 'trainer.ppo.gama' not found",
        ),
        ([*QUICK, "sweep.constraints=['trainer.batch_size =< 3']"], None),
        ([*QUICK, "sweep.searcher=Protein"], "command line: sweep.searcher: need package.Class, got 'Protein'"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(overrides: list[str], expected: str | None) -> None:
    problems = told(*overrides)
    if expected is not None:
        assert expected in problems
    assert all(problem.startswith(("command line: ", "configs/")) and "\n" not in problem for problem in problems)


def test_every_problem_is_told_at_once() -> None:
    problems = told(
        "sweep=quick", "trainer.gama=1", "sweep.goal=up", "budget.dollars=3", "settings.max=1", "sweep.parameters.trainer.minibatch_size.min=3"
    )
    keys = [problem.split(": ")[1] for problem in problems]
    assert keys == [
        "sweep_name",
        "settings.max",
        "budget.dollars",
        "sweep.goal",
        "sweep.parameters.trainer.minibatch_size.min",
        "trainer.gama",
    ]


def test_a_number_in_an_environment_variable_is_checked() -> None:
    assert told(*QUICK, environ={"NUM_GPUS": "two"}) == ["environment: NUM_GPUS: need a whole number >= 0, got 'two'; unset it to detect"]


def test_an_unknown_config_directory_is_told() -> None:
    with pytest.raises(ConfigError, match=r"--config-dir nowhere: no such directory"):
        load_sweep_job(QUICK, {}, [Path("nowhere")])


def test_a_file_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file"):
        validate_file(Path("nothing.yaml"), [], {})


def test_a_sweep_without_parameters_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("metric: reward\n")
    with pytest.raises(ConfigError, match=r"^sweep\.parameters: nothing to search"):
        validate_file(file, [], {})


def test_train_needs_a_name_and_known_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        load_train_job(["trainer.optimizer.lr=1"], {})
    assert caught.value.problems[0] == "configs/train_job.yaml:13: run: missing; name it: run=my_run"


def test_a_written_batch_that_does_not_divide_is_refused_but_a_patch_may_hold_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.batch_size: 8192 is not divisible by trainer\.minibatch_size=3000"):
        load_train_job(["run=x", "trainer.minibatch_size=3000"], {})
    patch = tmp_path / "trainer" / "patch" / "odd.yaml"
    patch.parent.mkdir(parents=True)
    patch.write_text("# @package _global_\ntrainer:\n  minibatch_size: 3000\n")
    assert load_train_job(["run=x", "+trainer/patch=odd"], {}, [tmp_path]).config["trainer"]["minibatch_size"] == 3000
