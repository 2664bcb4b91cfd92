"""Every key that can be written has an effect, or is refused, or a note speaks of it; what a file says and another
replaces is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from metta_sweep.config import SweepJob, load_sweep_job, load_train_job, resolve_run, validate_file
from metta_sweep.config.load import JOB_KEYS
from metta_sweep.config.runs import TRAIN_KEYS
from metta_sweep.errors import ConfigError
from tests.metta_sweep.config import key_table
from tests.metta_sweep.config.written_keys import all_keys

PARAMETERS = {"trainer.ppo.gamma": {"min": 0.9, "max": 0.99}}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[key_table.Row]:
    return key_table.walk(tmp_path_factory.mktemp("keys"))


def test_the_walk_knows_every_section_of_a_job() -> None:
    assert (JOB_KEYS | TRAIN_KEYS) - {key.name.split(".")[0] for key in all_keys()} == {
        "suggestion"
    }  # what a patch holds


@pytest.mark.timeout(1200)  # two hundred compositions
def test_no_key_is_taken_in_silence(rows: list[key_table.Row]) -> None:
    silent = [
        f"{place}: {row.key.name}" for row in rows for place, outcome in row.outcomes.items() if outcome.is_silent
    ]
    assert silent == []


def test_no_key_is_refused_where_it_may_stand(rows: list[key_table.Row]) -> None:
    assert [
        f"{place}: {outcome.refused}" for row in rows for place, outcome in row.outcomes.items() if outcome.refused
    ] == []


def test_the_table_of_keys_is_what_the_walk_found(rows: list[key_table.Row]) -> None:
    page = Path("configs/KEYS.md").read_text(encoding="utf-8")
    assert page == key_table.table(rows), "python -m tests.metta_sweep.config.key_table > configs/KEYS.md"


JOB_SECTIONS = ("settings", "budget", "resources", "wandb", "sweep", "sweep.protein", "sweep.schedule")
RUN_SECTIONS = (
    "trainer",
    "trainer.ppo",
    "trainer.optimizer",
    "trainer.checkpoint",
    "trainer.simulation",
    "model",
    "env",
    "sim",
    "trainable",
)


@pytest.mark.parametrize("section", [*JOB_SECTIONS, "sweep.parameters.trainer.ppo.gae_lambda", *RUN_SECTIONS])
def test_a_key_that_no_section_has_is_refused(section: str) -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        load_sweep_job(["sweep_name=x", "sweep=quick", f"{section}.nonsense=1"], {})


def written(directory: Path, files: Mapping[str, Mapping[str, Any]], *overrides: str) -> SweepJob:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        head = "# @package _global_\n" if name.startswith(("hardware/", "trainer/patch/")) else ""
        (directory / name).write_text(head + yaml.safe_dump(dict(content), sort_keys=False))
    return load_sweep_job(["sweep_name=x", "sweep=own", *overrides], {}, [directory])


def trainer_of(job: SweepJob) -> dict[str, Any]:
    trainer: dict[str, Any] = resolve_run(job.train, "x.r.0", {}, seed=1)["trainer"]
    return trainer


CAPPED = {
    "parameters": PARAMETERS,
    "settings": {"max_consecutive_failures": 0},
    "budget": {"wall_clock": 100},
    "sweep_job_overrides": {"trainer": {"simulation": {"evaluate_interval": 7, "replay_dir": "replays"}}},
}


def test_budget_settings_and_overrides_of_a_sweep_file_lie_above_the_job_files(tmp_path: Path) -> None:
    job = written(tmp_path, {"sweep/own.yaml": CAPPED})
    simulation = trainer_of(job)["simulation"]
    assert (job.settings.max_consecutive_failures, job.budget.wall_clock) == (0, 100.0)
    assert (simulation["evaluate_interval"], simulation["replay_dir"]) == (7, "replays")
    assert job.notes == ()


def test_what_a_job_file_says_and_the_sweep_file_replaces_is_told(tmp_path: Path) -> None:
    job_file = {"defaults": ["common", {"sweep": "own"}, "_self_"], "settings": {"max_consecutive_failures": 7}}
    job = written(tmp_path, {"sweep_job.yaml": job_file, "sweep/own.yaml": CAPPED})
    assert job.settings.max_consecutive_failures == 0
    told = (
        f"{tmp_path}/sweep_job.yaml:6: settings.max_consecutive_failures=7 has no effect: "
        f"{tmp_path}/sweep/own.yaml:6 sets 0"
    )
    assert job.notes == (told,)


def test_a_job_file_lies_above_our_defaults_of_groups_that_it_leaves_out(tmp_path: Path) -> None:
    job_file = {
        "defaults": ["common", {"sweep": "own"}, "_self_"],
        "trainer": {"num_envs": 64},
        "wandb": {"project": "mine"},
    }
    job = written(tmp_path, {"sweep_job.yaml": job_file, "sweep/own.yaml": {"parameters": PARAMETERS}})
    assert (trainer_of(job)["num_envs"], job.wandb.project, job.notes) == (64, "mine", ())


def test_a_hardware_file_may_set_the_price_and_the_settings_of_its_machines(tmp_path: Path) -> None:
    hardware = {"budget": {"hourly_cost": 2.5}, "settings": {"lease_seconds": 100}}
    job = written(
        tmp_path, {"hardware/mine.yaml": hardware, "sweep/own.yaml": {"parameters": PARAMETERS}}, "hardware=mine"
    )
    assert (job.budget.hourly_cost, job.settings.lease_seconds) == (2.5, 100)


def test_a_task_on_the_command_line_lies_above_the_task_of_the_sweep_file(tmp_path: Path) -> None:
    overrides = {"trainer": {"curriculum": "/env/mettagrid/arena/basic"}}
    sweep = {"parameters": PARAMETERS, "sweep_job_overrides": overrides}
    job = written(tmp_path, {"sweep/own.yaml": sweep}, "env=mettagrid/arena/advanced")
    assert trainer_of(job)["curriculum"] == "/env/mettagrid/arena/advanced"
    assert len(job.notes) == 1
    assert (
        "own.yaml:7: sweep_job_overrides.trainer.curriculum='/env/mettagrid/arena/basic' has no effect" in job.notes[0]
    )


def test_a_section_on_the_command_line_that_the_sweep_file_changes_is_told(tmp_path: Path) -> None:
    sweep = {"parameters": PARAMETERS, "sweep_job_overrides": {"model": {"type": "mlp"}}}
    (note,) = written(tmp_path, {"sweep/own.yaml": sweep}, "model=lstm").notes
    assert note.endswith(f"model/lstm.yaml:1: model.type='lstm' has no effect: {tmp_path}/sweep/own.yaml:7 sets 'mlp'")


def test_a_sweep_file_keeps_the_suite_of_the_file_that_it_stands_on(tmp_path: Path) -> None:
    job = written(tmp_path, {"sweep/own.yaml": {"defaults": ["quick", "_self_"], "num_samples": 2}})
    assert set(resolve_run(job.train, "x.r.0", {}, seed=1)["sim"]["simulations"]) == {"basic"}
    assert job.notes == ()


def test_a_suite_that_the_command_line_replaces_is_told() -> None:
    (note,) = load_sweep_job(["sweep_name=x", "sweep=quick", "sim=smoke_test"], {}).notes
    assert note.endswith("sim_name='arena_basic' has no effect: the suite is smoke_test")


def test_one_key_in_two_spellings_is_told(tmp_path: Path) -> None:
    overrides = {"trainer": {"learning_rate": 0.1, "optimizer": {"learning_rate": 0.2}}}
    (note,) = written(tmp_path, {"sweep/own.yaml": {"parameters": PARAMETERS, "sweep_job_overrides": overrides}}).notes
    assert "own.yaml:7: sweep_job_overrides.trainer.optimizer.learning_rate=0.1 has no effect" in note


def test_many_keys_of_one_file_are_told_in_one_line(tmp_path: Path) -> None:
    values = {"num_envs": 16, "update_epochs": 2, "batch_size": 4096, "minibatch_size": 1024}
    patch = {"trainer": {key: 2 * value for key, value in values.items()}}
    files = {
        "sweep/own.yaml": {"parameters": PARAMETERS, "sweep_job_overrides": {"trainer": values}},
        "trainer/patch/p.yaml": patch,
    }
    (note,) = written(tmp_path, files, "+trainer/patch=p").notes
    keys = ", ".join(f"sweep_job_overrides.trainer.{key}" for key in values)
    assert note == f"{tmp_path}/sweep/own.yaml: {keys} have no effect: {tmp_path}/trainer/patch/p.yaml sets them"


def test_a_variable_that_lies_above_a_users_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "mine.yaml").write_text("mode: auto\nentity: me\nproject: mine\ntags: []\n")
    job = load_sweep_job(["sweep_name=x", "sweep=quick", "wandb=mine"], {"WANDB_PROJECT": "theirs"}, [tmp_path])
    assert job.notes == (f"{tmp_path}/wandb/mine.yaml:3: wandb.project='mine' has no effect: WANDB_PROJECT=theirs",)


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (
            ["sweep.method=random", "sweep.protein.expansion_rate=0.2"],
            "sweep.protein.expansion_rate: no effect: sweep.method is random, ",
        ),
        (["trainable.command=x"], "trainable.command: no effect: trainable.kind is ppo"),
        (["sweep.protein.target_score=3"], "sweep.protein.target_score: no effect: sweep.protein.objective is pareto"),
        (["+user=me"], "user: no effect of me: there is no file user/me.yaml"),
        (
            ["trainable=function", "trainable.function=a:b", "sweep.metric=score", "trainer.num_envs=4"],
            "trainer.num_envs: no effect: trainable.kind is function, which has its own parameters "
            "(trainable.parameters)",
        ),
    ],
)
def test_a_key_that_another_key_makes_idle_is_told(words: list[str], note: str) -> None:
    notes = load_sweep_job(["sweep_name=x", "sweep=quick", *words], {}).notes
    assert any(line.startswith(f"command line: {note}") for line in notes), notes


def test_a_single_run_says_that_nothing_is_mirrored() -> None:
    (note,) = load_train_job(["run=x", "wandb.project=mine"], {}).notes
    assert note == "command line: wandb.project: no effect: there is no sweep: a single run is not mirrored to WandB"


@pytest.mark.parametrize(
    "word", ["trainer={learning_rate: 0.002}", "sweep_job_overrides={trainer: {optimizer: {learning_rate: 0.002}}}"]
)
def test_a_mapping_on_the_command_line_means_its_keys(word: str) -> None:
    job = load_sweep_job(["sweep_name=x", "sweep=quick", word], {})
    assert job.sweep.fixed == {"trainer.optimizer.learning_rate": 0.002}


@pytest.mark.parametrize(
    ("key", "place"), [("metric", "sweep.metric"), ("num_random_samples", "sweep.protein.num_random_samples")]
)
def test_a_key_of_the_sweep_file_on_the_command_line_is_told_its_place(key: str, place: str) -> None:
    with pytest.raises(ConfigError, match=rf"command line: {key}: unknown key; did you mean {place}\?"):
        load_sweep_job(["sweep_name=x", "sweep=quick", f"{key}=3"], {})


def test_a_path_of_a_package_keeps_its_dots_in_a_sweep_file(tmp_path: Path) -> None:
    tasks = {"/env/gymnasium/json.decoder:CartPole-v1": 1}
    sweep = {
        "parameters": PARAMETERS,
        "sim_name": "cartpole",
        "sweep_job_overrides": {"trainer": {"curriculum": {"tasks": tasks}}},
    }
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "own.yaml").write_text(yaml.safe_dump(sweep))
    assert trainer_of(validate_file(tmp_path / "sweep" / "own.yaml", [], {}))["curriculum"] == {"tasks": tasks}
