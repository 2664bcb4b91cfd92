"""Every file in configs/ composes and is valid; defaults are spelled in one place each."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from metta_sweep.config import files, load_sweep_job, load_train_job, validate_file
from metta_sweep.config.hydra_files import composed_files
from metta_sweep.config.job import Budget, Settings
from metta_sweep.errors import ConfigError
from trainables.resources import Resources
from trainables.spec import RunSpec

CONFIGS = Path("configs")
SWEEPS = sorted((CONFIGS / "sweep").glob("*.yaml"))
HAS_ATARI = importlib.util.find_spec("ale_py") is not None  # GPL-2.0, so an extra: pip install metta_sweep[atari]
HARDWARE = ["auto", "macbook", "mac_parallel", "mac_serial", "aws", "pufferbox", "github"]


def playable(*names: str) -> list[str]:
    """Without Atari where the emulator is not installed: it is refused there, see below."""
    return [name for name in names if HAS_ATARI or "pong" not in name]


@pytest.mark.skipif(HAS_ATARI, reason="shows what is said without ale-py")
@pytest.mark.parametrize("words", [["sweep=pong"], ["sweep=quick", "env=atari/pong", "sim=pong"]])
def test_atari_without_its_emulator_is_refused_with_the_pip_command(words: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r'ale-py \(GPL-2.0\), which is not installed: pip install "metta_sweep\[atari\]"'
    ):
        load_sweep_job(["sweep_name=x", *words], {})


@pytest.mark.skipif(importlib.util.find_spec("Box2D") is not None, reason="shows what is said without Box2D")
def test_an_environment_without_its_engine_is_refused_with_the_pip_command() -> None:
    with pytest.raises(
        ConfigError, match=r'LunarLander-v3: cannot be made: .*Box2D is not installed.*pip install "gymnasium\[box2d\]"'
    ):
        load_train_job(["run=x", "trainer.curriculum=/env/gymnasium/LunarLander-v3"], {})


def test_an_environment_of_a_package_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"no_such_package:Own-v0: cannot be made: .*No module named 'no_such_package'"
    ):
        load_train_job(["run=x", "trainer.curriculum=/env/gymnasium/no_such_package:Own-v0"], {})


@pytest.mark.parametrize("file", [file for file in SWEEPS if playable(file.stem)], ids=lambda file: file.stem)
def test_every_sweep_file_is_valid(file: Path) -> None:
    job = validate_file(file, [], {})
    assert job.sweep.phases[0].space.dimension >= 1


@pytest.mark.parametrize("option", HARDWARE)
def test_every_hardware_is_valid(option: str) -> None:
    job = load_sweep_job(["sweep_name=demo", "sweep=quick", f"+hardware={option}"], {"NUM_GPUS": "2", "NUM_CPUS": "8"})
    assert job.device == ("cuda" if option in ("auto", "aws", "pufferbox") else "cpu")


@pytest.mark.parametrize("option", playable(*files.options([CONFIGS], "sim")))
def test_every_suite_is_valid_for_training(option: str) -> None:
    curricula = {
        "cartpole": "env=gymnasium/cartpole",
        "pong": "env=atari/pong",
        "navigation": "env=mettagrid/navigation",
    }
    choice = [curricula[option], *(["model=cnn"] if option == "pong" else [])] if option in curricula else []
    RunSpec.from_mapping(load_train_job(["run=x", f"sim={option}", *choice], {}).config)


@pytest.mark.parametrize("option", ["auto", "metta_research", "external_user", "offline", "off"])
def test_every_wandb_choice_is_valid(option: str) -> None:
    wandb = load_train_job(["run=x", f"wandb={option}"], {}).wandb
    assert wandb.mode == (option if option in ("offline", "off") else "auto")


@pytest.mark.parametrize("option", ["mlp", "lstm", "cnn"])
def test_every_model_is_valid(option: str) -> None:
    assert load_train_job(["run=x", f"model={option}"], {}).config["model"]["type"] == option


@pytest.mark.parametrize("option", playable(*sorted({*files.options([CONFIGS], "env")} - {"default"})))
def test_every_task_is_chosen_by_env(option: str) -> None:
    sims = {"gymnasium/cartpole": "cartpole", "atari/pong": "pong", "mettagrid/navigation": "navigation"}
    words = [f"sim={sims[option]}"] if option in sims else []
    curriculum = load_train_job(["run=x", f"env={option}", *words], {}).config["trainer"]["curriculum"]
    assert curriculum.lower().split("-")[0] == f"/env/{option}"


def test_trainer_and_model_files_spell_the_dataclasses_defaults() -> None:
    written = RunSpec.from_mapping(load_train_job(["run=x"], {}).config)
    default = RunSpec.from_mapping({"run": "x"})
    assert (written.trainer, written.model) == (default.trainer, default.model)


def test_the_job_file_spells_the_dataclasses_defaults() -> None:
    job = load_sweep_job(
        ["sweep_name=demo", "sweep=quick", "hardware=macbook", "resources.max_concurrent_runs=null"], {}
    )
    assert (job.settings, job.budget) == (Settings(), Budget())
    assert asdict(job.resources) == asdict(Resources())


def test_numbers_of_files_are_read_as_hydra_reads_them(tmp_path: Path) -> None:
    text = "small: 1e-4\nplain: 0.5\nclock: 12:30\nword: no\nsplit: 1_000\n"
    file = tmp_path / "numbers.yaml"
    file.write_text(text)
    assert files.read_yaml(file) == OmegaConf.to_container(OmegaConf.create(text))


@pytest.mark.parametrize(
    ("primary", "words"),
    [("sweep_job", ["sweep=phased"]), ("train_job", ["env=mettagrid/arena/advanced", "model=lstm"])],
)
def test_files_are_composed_as_hydras_own_compose_does(primary: str, words: list[str]) -> None:
    ours = composed_files(primary, words, [files.packaged_configs()])
    with initialize_config_dir(str(files.packaged_configs()), version_base="1.3"):
        hydras = OmegaConf.to_container(compose(primary, words, return_hydra_config=True), resolve=False)
    assert isinstance(hydras, dict)
    choices = hydras.pop("hydra")["runtime"]["choices"]
    assert ours.tree == hydras
    assert ours.choices == {group: option for group, option in choices.items() if not group.startswith("hydra/")}


def test_what_configures_hydra_itself_changes_nothing(tmp_path: Path) -> None:
    own = "defaults: [common, {override hydra/job_logging: none}, _self_]\nhydra: {run: {dir: x}}\nseed: 3\n"
    (tmp_path / "sweep_job.yaml").write_text(own)
    assert load_sweep_job(["sweep_name=demo", "sweep=quick"], {}, [tmp_path]).seed == 3
