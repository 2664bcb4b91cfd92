"""The folders of docs/examples run: one short run of each, in this process.

Not here: `ray_tune`, which tests/searchers/test_ray_search.py runs on a Ray; `sb3`, whose library is not in the test
environment (tests/trainables/test_command_sweeps.py sweeps it where it is); two drivers at once, for which
tests/metta_sweep/driver/test_two_drivers.py has the Rays.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.config import resolve_run, validate_file
from searchers import ParamValue
from tests.docs.reference import ROOT
from trainables.messages import RunRequest, Trained
from trainables.spec import RunSpec
from trainables.worker import RankWorker

EXAMPLES = ROOT / "docs" / "examples"
SWEEPS = sorted(EXAMPLES.rglob("configs/sweep/*.yaml"))


@pytest.fixture
def in_example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory and Python's path are as the page says; what was imported from there is forgotten."""
    folder = EXAMPLES / request.param
    before = set(sys.modules)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield folder
    import gymnasium

    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    gymnasium.registry.pop("Target-v0", None)


def run(point: dict[str, ParamValue], directory: Path, **sections: object) -> Trained:
    """One run of the sweep file in the working directory, at this point."""
    job = validate_file(next(Path("configs/sweep").glob("*.yaml")), [], {"WANDB_MODE": "disabled"})
    mapping = resolve_run(job.train, "x.r.0", point, seed=1)
    trained = RankWorker().train(RunRequest(RunSpec.from_mapping({**mapping, **sections}), directory))
    assert isinstance(trained, Trained)
    return trained


def scores(trained: Trained) -> list[float]:
    return [point.score for point in trained.curve]


@pytest.mark.parametrize(
    ("in_example", "file"),
    [(path.parents[2].name, path) for path in SWEEPS],
    indirect=["in_example"],
    ids=lambda value: getattr(value, "stem", value),
)
def test_each_sweep_file_is_one(in_example: Path, file: Path) -> None:
    assert main(["validate", str(file)]) == 0


def test_each_folder_has_a_section_on_the_page() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in folders if f"\n## {name}\n" in page} == folders


@pytest.mark.parametrize("in_example", ["cleanrl"], indirect=True)
def test_a_script_in_cleanrls_style_learns(in_example: Path, tmp_path: Path) -> None:
    trained = run({"total-timesteps": 8192, "learning-rate": 0.0025, "gamma": 0.98, "update-epochs": 4}, tmp_path)
    assert trained.env_steps == 8192
    assert trained.reported["score"] > 35  # a random policy has 22
    assert len(trained.curve) >= 2


@pytest.mark.parametrize("in_example", ["function"], indirect=True)
def test_a_function_learns(in_example: Path, tmp_path: Path) -> None:
    trained = run({"steps": 2000, "learning_rate": 0.2, "baseline_rate": 0.05}, tmp_path)
    assert len(trained.curve) == 10
    assert scores(trained)[0] < 0.7 < scores(trained)[-1] <= 1.1


@pytest.mark.parametrize("in_example", ["gymnasium"], indirect=True)
def test_an_environment_of_ones_own_is_trained_on(in_example: Path, tmp_path: Path) -> None:
    point = {"trainer.total_timesteps": 8192, "trainer.optimizer.learning_rate": 0.003, "trainer.ppo.gamma": 0.9}
    assert run(point, tmp_path).env_steps == 8192


@pytest.mark.parametrize("in_example", ["two_drivers"], indirect=True)
def test_what_two_drivers_share_runs(in_example: Path, tmp_path: Path) -> None:
    assert run({"x": 0.3}, tmp_path).reported["score"] == 1.0
    subprocess.run(["sh", "-n", "start.sh"], check=True)
