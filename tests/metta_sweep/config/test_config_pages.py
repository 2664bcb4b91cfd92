"""The YAML of the two Metta pages, verbatim."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from metta_sweep.config import load_sweep_job, validate_file
from searchers.space import Space

PAGES = Path(__file__).parent / "pages"


def test_the_first_pages_job_file_is_valid_as_it_stands() -> None:
    job = validate_file(PAGES / "metta_sweep_1.yaml", ["sweep_name=page"], {})
    assert job.settings.max_consecutive_failures == 0
    assert job.settings.sweep_server_uri == "https://api.observatory.softmax-research.net"
    assert (job.wandb.entity, job.wandb.project) == ("metta-research", "metta")
    assert "curriculum: /env/mettagrid/arena/advanced" in job.train.tree_yaml


def test_the_first_pages_schedule_is_the_phased_sweep() -> None:
    page = yaml.safe_load((PAGES / "metta_sweep_2.yaml").read_text())
    ours = yaml.safe_load(Path("configs/sweep/phased.yaml").read_text())
    assert ours["schedule"] == page["schedule"]
    phases = load_sweep_job(["sweep_name=page", "sweep=phased"], {}).sweep.phases
    assert [(phase.name, phase.first_number, phase.num_runs) for phase in phases] == [
        ("explore_cheap", 0, 100),
        ("exploit_medium", 100, 70),
        ("peak_expensive", 170, None),
    ]
    assert [phase.protein.max_suggestion_cost for phase in phases] == [1800, 3600, 7200]
    assert [phase.space.center()["trainer.total_timesteps"] for phase in phases] == [
        300_000_000,
        750_000_000,
        1_000_000_000,
    ]


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7])
def test_each_distribution_of_the_first_page_is_a_space(number: int) -> None:
    assert Space.from_config(yaml.safe_load((PAGES / f"metta_sweep_{number}.yaml").read_text())).dimension == 1


@pytest.mark.parametrize(
    ("file", "searched"),
    [
        ("metta_sweep_8.yaml", {"trainer.total_timesteps", "trainer.batch_size", "trainer.optimizer.learning_rate"}),
        ("protein_opt_1.yaml", {"trainer.optimizer.learning_rate", "trainer.batch_size", "trainer.ppo.gamma"}),
        (
            "protein_opt_2.yaml",
            {"trainer.optimizer.learning_rate", "trainer.batch_size", "model.hidden_size", "env.difficulty"},
        ),
    ],
)
def test_each_sweep_file_of_the_pages_is_valid_as_it_stands(file: str, searched: set[str]) -> None:
    job = validate_file(PAGES / file, [], {})
    assert set(job.sweep.phases[0].space.names) == searched
    assert (job.sweep.metric, job.sweep.goal, job.sweep.method) == ("reward", "maximize", "bayes")


def test_settings_directly_under_sweep_are_the_optimisers() -> None:
    assert validate_file(PAGES / "protein_opt_1.yaml", [], {}).sweep.phases[0].protein.num_random_samples == 3


@pytest.mark.parametrize("number", [3, 4, 5])
def test_each_parameter_block_of_the_second_page_is_searched(number: int, tmp_path: Path) -> None:
    file = tmp_path / "block.yaml"
    block = (PAGES / f"protein_opt_{number}.yaml").read_text()
    file.write_text("sweep:\n  parameters:\n" + "".join(f"    {line}\n" for line in block.splitlines()))
    assert len(validate_file(file, [], {}).sweep.phases[0].space.names) == len(yaml.safe_load(block))
