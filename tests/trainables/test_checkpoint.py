"""Checkpoints: whole or not at all, newest first, data only."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainables import checkpoint as checkpoints
from trainables import faults
from trainables.checkpoint import Checkpoint
from trainables.failures import classify
from trainables.result import Costs, Point, Span


def checkpoint_at(env_steps: int) -> Checkpoint:
    return Checkpoint(
        env_steps=env_steps,
        updates=env_steps // 10,
        policy={"weight": torch.full((3,), float(env_steps))},
        optimizer={"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        curriculum={"scores": [1.0, 2.0]},
        costs=Costs(train=Span(1.0, 2.0, 3.0)),
        curve=(Point(5, Span(0.5, 0.6), 0.7),),
    )


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, checkpoint_at(10), keep=2)
    loaded, saved = checkpoints.load(path), checkpoint_at(10)
    assert torch.equal(loaded.policy["weight"], saved.policy["weight"])
    assert (loaded.updates, loaded.costs, loaded.curve, loaded.curriculum) == (
        1,
        saved.costs,
        saved.curve,
        saved.curriculum,
    )


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    for steps in (10, 200, 3000):
        checkpoints.save(tmp_path, checkpoint_at(steps), keep=2)
    assert [checkpoints.load(path).env_steps for path in checkpoints.list_checkpoints(tmp_path)] == [3000, 200]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint_at(10), keep=2)
    faults.activate("run.checkpoint:disk_full@1")
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            checkpoints.save(tmp_path, checkpoint_at(20), keep=2)
    finally:
        faults.activate("")
    assert classify(caught.value).kind == "infrastructure"
    assert [path.name for path in tmp_path.iterdir()] == [f"step_{10:015d}.pt"]


def test_a_broken_file_is_passed_over(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint_at(10), keep=2)
    (tmp_path / f"step_{20:015d}.pt").write_bytes(b"PK\x03\x04 torn")
    found = checkpoints.load_newest(tmp_path)
    assert found is not None
    assert found.env_steps == 10
    assert checkpoints.load_newest(tmp_path / "nowhere") is None


def test_a_checkpoint_of_another_run_is_passed_over(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, replace(checkpoint_at(10), belongs_to="mine"), keep=3)
    checkpoints.save(tmp_path, replace(checkpoint_at(20), belongs_to="another's"), keep=3)
    found = checkpoints.load_newest(tmp_path, "mine")
    assert found is not None
    assert found.env_steps == 10
    assert checkpoints.load_newest(tmp_path, "nobody's") is None


def test_a_checkpoint_of_the_version_before_is_taken_where_its_directory_is_the_runs(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint_at(10), keep=3)
    assert checkpoints.load_newest(tmp_path, "mine") is not None


@pytest.mark.parametrize(("at", "newest"), [("run.checkpoint", 10), ("run.checkpointed", 200)])
def test_a_kill_while_saving_leaves_the_one_before_or_the_new_one(tmp_path: Path, at: str, newest: int) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.trainables.test_checkpoint import *\n"
        "for steps in (10, 200): checkpoints.save(Path(sys.argv[1]), checkpoint_at(steps), keep=2)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(
        command, env={**os.environ, "METTA_SWEEP_FAULTS": f"{at}:crash@2"}, cwd=Path(__file__).parents[2]
    )
    assert result.returncode == -9
    loaded = checkpoints.load_newest(tmp_path)
    assert loaded is not None
    assert loaded.env_steps == newest
