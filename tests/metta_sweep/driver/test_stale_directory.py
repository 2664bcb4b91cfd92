"""A new registry under an old data_dir: what lies in the sweep's directory is another sweep's; no old score comes
back.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from metta_sweep.config import SweepJob, load_sweep_job
from metta_sweep.driver.files import claim_sweep_directory
from metta_sweep.driver.single import evaluation_hash
from metta_sweep.driver.sweep import RunCommand
from metta_sweep.errors import ConfigError
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.outbox import Outbox
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.driver.drive import SWEEP, Environ, drive
from tests.metta_sweep.registry.registry_backends import served

pytestmark = pytest.mark.ray
FUNCTION = ("sweep=remembering", "resources.max_concurrent_runs=1")
SPACE = """\
num_samples: 1
metric: score
parameters:
  x: {min: 0.0, max: 1.0}
sweep_job_overrides:
  trainable: {kind: function, function: "tests.metta_sweep.driver.remembering:train", parameters: {bonus: 1.0}}
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    (tmp_path / "configs" / "sweep").mkdir(parents=True)
    (tmp_path / "configs" / "sweep" / "remembering.yaml").write_text(SPACE)
    return tmp_path / "configs"


def test_three_ways_to_a_stale_directory_give_the_right_score(
    tmp_path: Path, config_dir: Path, environ: Environ, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deleted registry, SQLite to a service, another service: each time another function in the same directory."""

    def score(bonus: float, uri: str | None = None) -> float | None:
        where = [f"settings.sweep_server_uri={uri}"] if uri else []
        words = [*FUNCTION, f"trainable.parameters.bonus={bonus}", *where]
        assert drive(tmp_path, *words, environ=environ, config_dirs=[config_dir], command=RunCommand()).exit_code == 0
        registry = open_registry(tmp_path, uri)
        [record] = registry.observations(SWEEP)
        registry.close()
        return record.observation.score

    directory = tmp_path / "sweep" / SWEEP
    assert score(1.0) == 1.0
    (directory / "outbox" / "left.outbox").write_text("")
    for path in tmp_path.glob("registry.db*"):
        path.unlink()
    assert score(2.0) == 2.0
    with ExitStack() as services:
        for bonus, name in ((3.0, "one"), (4.0, "other")):
            url = services.enter_context(served(SqlRegistry(f"sqlite:///{tmp_path}/{name}.db")))
            assert score(bonus, uri=url) == bonus
        said = capsys.readouterr().out
    assert (
        f"{directory}: another sweep was called {SWEEP} before, in another registry; what was there is now in" in said
    )
    assert [path.name for path in sorted(directory.glob("earlier-*/outbox/left.outbox"))] == ["left.outbox"]
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines][:2] == ["created", "moved_aside"]
    assert lines[0]["sequence"] == 1


@pytest.fixture
def job(tmp_path: Path) -> SweepJob:
    words = [f"sweep_name={SWEEP}", "sweep=quick", f"data_dir={tmp_path}"]
    return load_sweep_job(words, environ={"WANDB_MODE": "disabled"})


def claimed(job: SweepJob) -> list[str]:
    """What is said when a driver starts."""
    said: list[str] = []
    registry = open_registry(job.data_dir, None)
    registry.create_sweep(job.sweep_name, job.spec_yaml)
    claim_sweep_directory(job, registry, said.append)
    registry.close()
    return said


def test_a_sweep_goes_on_in_its_own_directory(job: SweepJob) -> None:
    assert claimed(job) == []
    (job.directory / "runs").mkdir()
    assert claimed(job) == []
    assert (job.directory / "runs").is_dir()


def test_a_directory_of_the_version_before_is_known_by_the_first_event_of_its_log(job: SweepJob) -> None:
    claimed(job)
    (job.directory / "belongs_to.json").unlink()
    registry = open_registry(job.data_dir, None)
    first = {"sequence": 1, "at": registry.events(SWEEP)[0].at, "kind": "created"}
    registry.close()
    (job.directory / "events.jsonl").write_text(json.dumps(first) + "\n")
    assert claimed(job) == []
    (job.directory / "belongs_to.json").unlink()
    (job.directory / "events.jsonl").write_text(json.dumps({**first, "at": first["at"] + 1.0}) + "\n")
    assert len(claimed(job)) == 1
    assert (job.directory / "earlier-1" / "events.jsonl").is_file()


def test_a_directory_in_which_another_sweep_is_running_is_refused(job: SweepJob, tmp_path: Path) -> None:
    claimed(job)
    outbox = Outbox(job.directory / "outbox")
    (tmp_path / "registry.db").unlink()
    with pytest.raises(ConfigError, match=f"a driver of another sweep '{SWEEP}', in another registry, is at work in"):
        claimed(job)
    outbox.close()
    assert len(claimed(job)) == 1


def test_sweeps_of_the_same_name_have_ids_of_their_own(tmp_path: Path) -> None:
    one, other = (open_registry(tmp_path / name, None).create_sweep("s", "") for name in ("one", "other"))
    assert one.id != other.id
    assert open_registry(tmp_path / "one", None).get_sweep("s").id == one.id


def test_a_random_score_of_another_evaluation_is_measured_again() -> None:
    config = {"trainer": {"curriculum": "/env/a", "total_timesteps": 5}, "sim": {"episodes": 4}, "metric": "reward"}
    same = {**config, "trainer": {"curriculum": "/env/a", "total_timesteps": 9}}
    assert evaluation_hash(same) == evaluation_hash(config) != evaluation_hash({**config, "sim": {"episodes": 5}})
