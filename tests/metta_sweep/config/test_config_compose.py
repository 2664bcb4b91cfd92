"""Override grammar, search path, precedence and spellings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from metta_sweep.config import SweepJob, load_sweep_job, resolve_run, validate_file
from metta_sweep.errors import ConfigError

QUICK = ["sweep_name=demo", "sweep=quick"]


def load(*overrides: str, environ: dict[str, str] | None = None, config_dirs: tuple[Path, ...] = ()) -> SweepJob:
    return load_sweep_job([*QUICK, *overrides], environ or {}, config_dirs)


def run_of(job: SweepJob, **params: float) -> dict[str, dict[str, object]]:
    return resolve_run(job.train, "demo.r.0", params, seed=1)


def sweep_file(directory: Path, name: str, text: str) -> Path:
    file = directory / "sweep" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


ONE_PARAMETER = "parameters:\n  trainer.learning_rate: {min: 1.0e-4, max: 1.0e-2, distribution: log_normal}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["sweep_name=demo", "sweep=demo_sweep"],
        ["run=demo", "++sweep_params=sweep/demo_sweep"],
        ["run=demo", "sweep_params=sweep/demo_sweep.yaml"],
        ["sweep_name=demo", "+sweep=demo_sweep"],
    ],
)
def test_both_pages_ways_to_name_a_sweep_mean_the_same(words: list[str]) -> None:
    job = load_sweep_job([*words, "+hardware=macbook", "+user=someone"], {})
    assert job.sweep_name == "demo"
    assert set(job.sweep.phases[0].space.names) == {
        "trainer.optimizer.learning_rate",
        "trainer.ppo.gamma",
        "trainer.ppo.ent_coef",
    }
    assert job.resources.max_concurrent_runs == 1


def test_plus_plus_and_plus_add_values_and_tilde_removes_them() -> None:
    job = load("++trainer.num_envs=16", "~sweep.parameters.trainer.ppo", "+sweep.target_score=4.5")
    assert run_of(job)["trainer"]["num_envs"] == 16
    assert "trainer.ppo.gae_lambda" not in job.sweep.phases[0].space.names
    assert job.sweep.target_score == 4.5


def test_sim_name_chooses_the_suite_on_the_command_line_and_in_a_sweep_file(tmp_path: Path) -> None:
    assert run_of(load())["sim"]["name"] == "arena"
    assert set(run_of(load("sim_name=arena"))["sim"]["simulations"]) == {"basic", "advanced"}  # type: ignore[call-overload]
    file = sweep_file(
        tmp_path,
        "walk",
        f"sim_name: navigation\n{ONE_PARAMETER}sweep_job_overrides: {{trainer: {{curriculum: "
        f"/env/mettagrid/navigation}}}}\n",
    )
    assert run_of(validate_file(file, [], {}))["sim"]["name"] == "navigation"


def test_hydras_global_state_is_gone_afterwards() -> None:
    load()
    assert not GlobalHydra.instance().is_initialized()


def test_the_users_own_directory_comes_before_ours_and_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, here = tmp_path / "own", tmp_path / "here"
    sweep_file(own, "mine", ONE_PARAMETER + "num_samples: 7\n")
    sweep_file(here / "configs", "mine", ONE_PARAMETER + "num_samples: 8\n")
    sweep_file(here / "configs", "quick", ONE_PARAMETER + "num_samples: 9\n")
    monkeypatch.chdir(here)
    assert load_sweep_job(["sweep_name=x", "sweep=mine"], {}, [own]).sweep.num_samples == 7
    assert load_sweep_job(["sweep_name=x", "sweep=mine"], {}).sweep.num_samples == 8
    assert load_sweep_job(["sweep_name=x", "sweep=quick"], {}).sweep.num_samples == 9
    assert load_sweep_job(["sweep_name=x", "sweep=fast"], {}).sweep.num_samples == 3


def test_a_sweep_file_elsewhere_finds_its_neighbours_and_ours(tmp_path: Path) -> None:
    sweep_file(tmp_path, "base", ONE_PARAMETER + "num_samples: 7\n")
    file = sweep_file(tmp_path, "derived", "defaults: [base, _self_]\ngoal: minimize\n")
    job = validate_file(file, [], {})
    assert (job.sweep_name, job.sweep.num_samples, job.sweep.goal) == ("derived", 7, "minimize")


def test_file_overrides_lie_above_trainer_defaults_and_below_the_command_line(tmp_path: Path) -> None:
    file = sweep_file(
        tmp_path, "mine", ONE_PARAMETER + "sweep_job_overrides: {trainer: {num_envs: 16, update_epochs: 2}}\n"
    )
    trainer = run_of(validate_file(file, ["trainer.update_epochs=3"], {}))["trainer"]
    assert (trainer["num_envs"], trainer["update_epochs"], trainer["batch_size"]) == (16, 3, 8192)


def test_a_patch_on_the_command_line_lies_above_the_files_overrides_and_below_values(tmp_path: Path) -> None:
    file = sweep_file(
        tmp_path, "mine", ONE_PARAMETER + "sweep_job_overrides: {trainer: {num_envs: 16, update_epochs: 2}}\n"
    )
    patch = tmp_path / "trainer" / "patch" / "p.yaml"
    patch.parent.mkdir(parents=True)
    patch.write_text("# @package _global_\ntrainer: {num_envs: 64, update_epochs: 5}\n")
    trainer = run_of(validate_file(file, ["+trainer/patch=p", "trainer.update_epochs=3"], {}))["trainer"]
    assert (trainer["num_envs"], trainer["update_epochs"]) == (64, 3)


def test_the_suggestion_lies_above_everything() -> None:
    run = resolve_run(load().train, "demo.r.3", {"trainer.minibatch_size": 512}, seed=9)
    assert (run["run"], run["seed"], run["metric"], run["trainer"]["minibatch_size"]) == ("demo.r.3", 9, "reward", 512)


def test_runs_share_nothing_that_could_change() -> None:
    job = load()
    first = run_of(job)
    first["trainer"]["ppo"] = {"gamma": -1.0}
    first["sim"].clear()
    assert run_of(job)["trainer"]["ppo"] != {"gamma": -1.0}
    assert run_of(job)["sim"]


@pytest.mark.parametrize(
    "word",
    [
        "trainer.learning_rate=0.002",
        "trainer.optimizer.learning_rate=0.002",
        "sweep_job_overrides.trainer.learning_rate=0.002",
    ],
)
def test_a_value_for_a_searched_parameter_fixes_it_and_says_so(word: str) -> None:
    job = load(word)
    space = job.sweep.phases[0].space
    assert "trainer.optimizer.learning_rate" not in space.names
    assert space.center()["trainer.optimizer.learning_rate"] == 0.002
    assert job.sweep.fixed == {"trainer.optimizer.learning_rate": 0.002}
    assert job.notes == (
        "trainer.optimizer.learning_rate=0.002 on the command line fixes this parameter; it is not searched",
    )


def test_a_limit_of_observations_is_said_to_bound_what_comes_from_wandb() -> None:
    assert load("settings.max_observations_to_load=250").notes == ()
    key = "settings.max_observations_to_load=10"
    assert load(key).notes == (f"{key} bounds what comes in from WandB; a sweep learns from all its runs",)


def test_settings_under_sweep_are_settings_under_protein_in_every_place() -> None:
    job = load("sweep.num_random_samples=9", "sweep.max_suggestion_cost=60")
    assert (job.sweep.phases[0].protein.num_random_samples, job.sweep.phases[0].protein.max_suggestion_cost) == (9, 60)


@pytest.mark.parametrize(
    "text",
    [
        "metric: reward\ngoal: minimize\n",
        "metric: {name: reward, goal: minimize}\n",
        "sweep: {metric: reward, goal: minimize}\n",
    ],
)
def test_every_spelling_of_metric_and_goal_is_read(text: str, tmp_path: Path) -> None:
    sweep = validate_file(sweep_file(tmp_path, "m", text + ONE_PARAMETER), [], {}).sweep
    assert (sweep.metric, sweep.goal) == ("reward", "minimize")


def test_constraints_may_mention_values_that_are_not_searched() -> None:
    space = load("sweep.constraints=['trainer.minibatch_size * 8 <= trainer.batch_size']").sweep.phases[0].space
    assert space.is_feasible({**space.center(), "trainer.minibatch_size": 1024})
    assert not space.is_feasible({**space.center(), "trainer.minibatch_size": 2048})


def test_interpolations_are_resolved_for_each_run() -> None:
    job = load("trainer.batch_size=${trainer.minibatch_size}", "trainer.simulation.replay_dir=${data_dir}/replays")
    run = resolve_run(job.train, "demo.r.0", {"trainer.minibatch_size": 2048}, seed=1)
    assert (run["trainer"]["batch_size"], run["trainer"]["simulation"]["replay_dir"]) == (2048, "./train_dir/replays")


def test_wandb_variables_lie_above_files_and_below_the_command_line() -> None:
    environ = {"WANDB_PROJECT": "mine", "WANDB_ENTITY": "team", "WANDB_MODE": "disabled", "WANDB_TAGS": "a, b"}
    wandb = load("wandb=metta_research", "wandb.project=typed", environ=environ).wandb
    assert (wandb.mode, wandb.entity, wandb.project, wandb.tags) == ("off", "team", "typed", ("a", "b"))


def test_the_specification_does_not_depend_on_the_machine_or_on_stop_rules() -> None:
    here = load("sweep.num_samples=5", "device=cpu", "data_dir=/tmp/one", environ={"NUM_CPUS": "2"})
    there = load(
        "sweep.num_samples=50",
        "wandb=off",
        "+hardware=aws",
        "budget.wall_clock=60",
        "data_dir=/tmp/two",
        environ={"NUM_CPUS": "64", "NUM_GPUS": "8"},
    )
    assert here.spec_yaml == there.spec_yaml
    assert load("trainer.num_envs=16").spec_yaml != here.spec_yaml
    assert load("sweep.goal=minimize").spec_yaml != here.spec_yaml


def test_the_specification_is_sorted_yaml_without_aliases() -> None:
    text = load_sweep_job(["sweep_name=demo", "sweep=phased"], {}).spec_yaml
    assert yaml.safe_dump(yaml.safe_load(text), sort_keys=True, allow_unicode=True) == text
    assert "&id" not in text


def test_the_users_own_keys_may_be_interpolated_but_a_stray_key_is_refused() -> None:
    assert run_of(load("+my_envs=16", "trainer.num_envs=${my_envs}"))["trainer"]["num_envs"] == 16
    with pytest.raises(ConfigError, match="my_envs: unknown key"):
        load("+my_envs=16")


def test_a_broken_file_is_told_with_file_and_line_and_what_the_cause_was(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, "tab", "metric: reward\nparameters:\n\ttrainer.gamma: {min: 0.8, max: 0.9}\n")
    with pytest.raises(ConfigError) as caught:
        validate_file(file, [], {})
    assert (
        str(caught.value)
        == f"{file}:3: YAML: found character that cannot start any token: '\\ttrainer.gamma: {{min: 0.8, max: 0.9}}'"
    )
    assert isinstance(caught.value.__cause__, yaml.YAMLError)


def test_metrics_of_ones_own_may_be_given_as_evaluation_metrics(tmp_path: Path) -> None:
    path = "json:loads"
    assert run_of(load(f"evaluation.metrics=[{path}]"))["sim"]["metrics"] == [path]
    sweep_file(
        tmp_path,
        "mine",
        f"{ONE_PARAMETER}sweep_job_overrides: {{evaluation: {{metrics: ['{path}']}}}}\nmetric: loads\n",
    )
    job = load_sweep_job(["sweep_name=demo", "sweep=mine"], {}, [tmp_path])
    assert run_of(job)["sim"]["metrics"] == [path]


def test_all_runs_are_measured_on_the_training_tasks_as_they_were_written_and_not_as_they_are_searched(
    tmp_path: Path,
) -> None:
    (tmp_path / "sweep").mkdir()
    searched = {
        "env.difficulty": {"min": 0.0, "max": 1.0},
        "env.walls": {"distribution": "int_uniform", "min": 0, "max": 5},
    }
    overrides = {"env": {"max_steps": 64, "difficulty": 0.25}, "trainer": {"curriculum": "/env/mettagrid/arena/basic"}}
    (tmp_path / "sweep" / "own.yaml").write_text(
        yaml.safe_dump({"parameters": searched, "sweep_job_overrides": overrides})
    )
    job = load_sweep_job(["sweep_name=demo", "sweep=own"], {}, [tmp_path])
    run = resolve_run(job.train, "demo.r.0", {"env.difficulty": 0.9, "env.walls": 3}, seed=1)
    assert run["env"] == {"max_steps": 64, "difficulty": 0.9, "walls": 3}
    assert run["sim"]["simulations"] == {
        "basic": {"env": "/env/mettagrid/arena/basic", "max_steps": 64, "difficulty": 0.25}
    }
    named = resolve_run(load("sim=arena_basic", "env.max_steps=64").train, "demo.r.0", {}, seed=1)
    assert named["sim"]["simulations"] == {"basic": {"env": "/env/mettagrid/arena/basic"}}
