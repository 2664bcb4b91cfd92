"""The mirror shows in WandB what the registry knows, once, whatever interrupts it.

Real offline runs, read back from their files.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from metta_sweep.tracking.wandb_mirror import Mirror, offline_text
from tests.metta_sweep.tracking.mirrored_sweep import CURVE, SweepOnDisk, completed, failed
from tests.metta_sweep.tracking.wandb_files import OfflineRun, read_offline_runs


@pytest.fixture
def sweep(tmp_path: Path) -> SweepOnDisk:
    return SweepOnDisk(tmp_path)


def mirror(sweep: SweepOnDisk, **options: Any) -> Mirror:
    return Mirror(sweep.job(), sweep.registry, {}, **options)


def only_copy(sweep: SweepOnDisk, run: Any) -> OfflineRun:
    (copy,) = read_offline_runs(sweep.directory(run))
    return copy


def steps_of(copy: OfflineRun, key: str) -> list[int]:
    return [row[key] for row in copy.history if key in row]


def test_a_run_carries_its_ids_tags_and_phase(sweep: SweepOnDisk) -> None:
    run = sweep.complete(0)
    Mirror(sweep.job(tags=("nightly",)), sweep.registry, {}).sync()
    copy = only_copy(sweep, run)
    assert (copy.id, copy.name, copy.group, copy.job_type, copy.project) == (
        "demo.r.0",
        "demo.r.0",
        "demo",
        "explore",
        "metta",
    )
    spec_hash = sweep.registry.get_sweep("demo").spec_hash
    assert set(copy.tags) == {"sweep_name:demo", f"sweep_id:{spec_hash[:16]}", "nightly"}


def test_the_suggestion_is_in_the_config_under_its_own_paths(sweep: SweepOnDisk) -> None:
    run = sweep.complete(0)
    mirror(sweep).sync()
    config = only_copy(sweep, run).config
    assert config["trainer.ppo.gamma"] == 0.99
    assert config["trainer.batch_size"] == 8192
    assert config["run_number"] == 0


def test_score_cost_suggestion_outcome_and_curve_are_in_the_summary(sweep: SweepOnDisk) -> None:
    run = sweep.complete(0, score=1.5)
    mirror(sweep).sync()
    copy = only_copy(sweep, run)
    summary = copy.summary
    assert (summary["score"], summary["cost_seconds"], summary["outcome"], summary["standard_error"]) == (
        1.5,
        11.5,
        "completed",
        0.1,
    )
    assert summary["cost/train/cpu_seconds"] == 9.0
    assert summary["metric/arena/basic/reward"] == 1.5
    assert summary["curve"] == list(CURVE)
    assert summary["suggestion"] == {"trainer.ppo.gamma": 0.99, "trainer.batch_size": 8192}
    assert summary["protein_observation"] == {
        "suggestion": summary["suggestion"],
        "objective": 1.5,
        "cost": 11.5,
        "is_failure": False,
    }
    assert copy.exit_code == 0


def test_a_failed_run_shows_kind_and_message_and_no_score(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    (sweep.directory(run) / "metrics.jsonl").write_text(
        '{"env_steps": 100, "score": 2.0}\n'
    )  # a curve point before it failed
    sweep.finish(run, failed())
    mirror(sweep).sync()
    copy = only_copy(sweep, run)
    assert "score" not in copy.summary
    assert (copy.summary["outcome"], copy.summary["failure"], copy.summary["failure_message"]) == (
        "failed",
        "hyperparameters",
        "loss is NaN",
    )
    assert copy.exit_code == 1


def test_training_metrics_and_curve_points_are_the_history_over_env_steps(sweep: SweepOnDisk) -> None:
    run = sweep.complete(0)
    mirror(sweep).sync()
    copy = only_copy(sweep, run)
    assert [row["_step"] for row in copy.history] == [100, 150, 200, 300, 301]
    assert [row["losses/policy_loss"] for row in copy.history if "losses/policy_loss" in row] == [0.1, 0.2, 0.3]
    assert [(row["curve/env_steps"], row["curve/score"]) for row in copy.history if "curve/score" in row] == [
        (150, 0.5),
        (300, 1.25),
    ]


def test_rows_carry_the_times_at_which_they_happened_however_late_they_are_sent(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    began = time.time() - 3600.0
    rows = [{"time": began + steps / 10, "env_steps": steps, "loss": 0.1} for steps in (100, 200, 300)]
    rows[2]["score"] = 1.25  # the second point of the curve
    (sweep.directory(run) / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    point = {"time": began + 15.0, "env_steps": 150, "score": 0.5}
    (sweep.directory(run) / "curve.jsonl").write_text(json.dumps(point) + "\n")  # as programs and functions leave it
    sweep.finish(run)
    mirror(sweep).sync()
    history = only_copy(sweep, run).history
    assert [(row["_step"], row["_timestamp"]) for row in history] == [
        (100, began + 10.0),
        (150, began + 15.0),
        (200, began + 20.0),
        (300, began + 30.0),
        (301, began + 30.0),
    ]
    assert not any("time" in row for row in history)


def test_a_run_whose_files_are_elsewhere_has_its_curve_spread_over_its_own_time(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    time.sleep(0.2)
    sweep.finish(run)
    ended = sweep.registry.get_run(run.id)
    time.sleep(0.2)
    mirror(sweep).sync()
    assert ended.started_at is not None
    assert ended.ended_at is not None
    half_way = (ended.started_at + ended.ended_at) / 2
    times = [row["_timestamp"] for row in only_copy(sweep, run).history]
    assert times == pytest.approx([half_way, ended.ended_at], abs=1e-4)


def test_a_programs_own_number_called_time_is_a_value_as_any_other(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    (sweep.directory(run) / "metrics.jsonl").write_text('{"env_steps": 100, "time": 12.5}\n')
    sweep.finish(run, completed(curve=()))
    mirror(sweep).sync()
    assert [row["time"] for row in only_copy(sweep, run).history] == [12.5]


def test_a_live_run_gets_its_rows_as_they_come_and_each_once(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    live = mirror(sweep)
    sweep.train(run, 100)
    live.live_pass()
    sweep.train(run, 200)
    sweep.registry.record_progress(run.id, run.fence, CURVE[:1])
    live.live_pass()
    live.live_pass()
    sweep.finish(run)
    assert live.live_pass().mirrored == ("demo.r.0",)
    copy = only_copy(sweep, run)
    assert steps_of(copy, "env_steps") == [100, 200]
    assert steps_of(copy, "curve/env_steps") == [150, 300]


def test_work_redone_after_a_checkpoint_is_not_shown_twice(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    sweep.train(run, 100, 200, 300)
    sweep.train(run, 200, 300, 400)  # a second attempt from the checkpoint at 100
    sweep.finish(run, completed(curve=()))
    mirror(sweep).sync()
    assert steps_of(only_copy(sweep, run), "env_steps") == [100, 200, 300, 400]


def test_a_second_sync_changes_nothing(sweep: SweepOnDisk) -> None:
    run = sweep.complete(0)
    first = mirror(sweep).sync()
    second = mirror(sweep).sync()
    assert (first.mirrored, first.up_to_date) == (("demo.r.0",), 0)
    assert (second.mirrored, second.up_to_date) == ((), 1)
    assert len(read_offline_runs(sweep.directory(run))) == 1


def test_an_interrupted_run_goes_on_where_its_confirmed_copy_ends(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    sweep.train(run, 100, 200)
    first = mirror(sweep)
    first.live_pass()
    first.close()
    sweep.train(run, 300)
    sweep.finish(run, completed(curve=()))
    mirror(sweep).sync()
    before, after = read_offline_runs(sweep.directory(run))
    assert (steps_of(before, "env_steps"), before.exit_code) == ([100, 200], 1)
    assert (steps_of(after, "env_steps"), after.exit_code) == ([300], 0)


def test_a_retried_run_is_mirrored_again_with_its_new_outcome(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    sweep.finish(run, failed())
    mirror(sweep).sync()
    sweep.registry.retry(run.id, by="me", key="retry")
    (taken,) = sweep.registry.claim("demo", sweep.owner, lease_seconds=300.0, key="claim")
    sweep.registry.start(run.id, taken.fence, num_gpus=0.0, key="start-again")
    sweep.finish(run, completed(2.0))
    mirror(sweep).sync()
    assert read_offline_runs(sweep.directory(run))[-1].summary["score"] == 2.0


def test_replay_sends_everything_again(sweep: SweepOnDisk) -> None:
    run = sweep.complete(0)
    mirror(sweep).sync()
    assert mirror(sweep, replay=True).sync().mirrored == ("demo.r.0",)
    assert steps_of(only_copy(sweep, run), "env_steps") == [100, 200, 300]


def test_a_live_mirror_leaves_runs_of_other_machines_to_their_own(sweep: SweepOnDisk) -> None:
    elsewhere = sweep.start(0)
    sweep.finish(elsewhere)
    sweep.directory(elsewhere).rmdir()
    assert mirror(sweep).live_pass().mirrored == ()
    assert mirror(sweep).sync().mirrored == ("demo.r.0",)


def test_a_run_without_a_metrics_file_still_has_its_curve(sweep: SweepOnDisk) -> None:
    run = sweep.start(0)
    sweep.finish(run)
    mirror(sweep).sync()
    assert steps_of(only_copy(sweep, run), "curve/env_steps") == [150, 300]


def test_a_run_that_was_imported_from_wandb_is_not_sent_there_again(sweep: SweepOnDisk) -> None:
    run = sweep.start(0, explanation={"wandb_path": "me/metta/old.0"})
    sweep.finish(run)
    report = mirror(sweep).sync()
    assert (report.mirrored, report.up_to_date) == ((), 1)


def test_offline_text_is_read_across_the_blocks_of_the_log(tmp_path: Path) -> None:
    # A record that is split by a block's end: the next block opens with a 7-byte header of its own.
    (tmp_path / "run-x.wandb").write_bytes(b"h" * 7 + b"." * (32768 - 7 - 4) + b"mirr" + b"h" * 7 + b"ored:1.2")
    assert offline_text(tmp_path).endswith("mirrored:1.2")
