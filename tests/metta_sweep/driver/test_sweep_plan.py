"""What `plan` says, one promise a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from metta_sweep.analysis.duration import duration
from metta_sweep.cli.main import main
from metta_sweep.config import load_sweep_job
from metta_sweep.config.job import SweepJob
from metta_sweep.driver.plan import History, Pace, make_plan, past_pace, plan_from
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.reader import open_reader
from metta_sweep.registry.records import NewObservation, Reservation

PHASES = (
    "+sweep.schedule={phases: [{name: cheap, num_runs: 4, sweep: {protein: {max_suggestion_cost: 10}}},"
    "{name: dear, num_runs: 4, sweep: {protein: {max_suggestion_cost: 100}}}]}"
)


def job_of(data_dir: Path, *overrides: str) -> SweepJob:
    return load_sweep_job(
        ["sweep_name=s", "sweep=quick", f"data_dir={data_dir}", *overrides], {"NUM_CPUS": "2", "WANDB_MODE": "disabled"}
    )


def finish_runs(
    job: SweepJob,
    count: int,
    wall_seconds: float | Sequence[float],
    env_steps: int,
    points: Sequence[Mapping[str, float]] = (),
) -> None:
    """Put finished runs of this job into the registry; the score is what a run took."""
    lengths = [wall_seconds] * count if isinstance(wall_seconds, float) else wall_seconds
    registry = open_registry(job.data_dir, None)
    registry.create_sweep(job.sweep_name, job.spec_yaml)
    for number in range(count):
        point = Reservation(number, points[number] if points else {})
        run = registry.reserve(job.sweep_name, point, current_owner(), lease_seconds=60, key=f"reserve{number}")
        registry.start(run.id, run.fence, num_gpus=0, key=f"start{number}")
        took = lengths[number]
        costs = {"train": {"wall_seconds": took}}
        found = NewObservation("completed", took, took, took, costs=costs, attempt_costs=costs, env_steps=env_steps)
        registry.finish(run.id, run.fence, found, key=f"finish{number}")
    registry.close()


PROGRAM = """\
metric: score
goal: minimize
parameters: {{size: {{distribution: log_normal, min: 1.0, max: 100.0}}}}
sweep_job_overrides: {{trainable: {{kind: {kind}, {what}}}}}
"""
KINDS = {"command": "command: 'train {overrides}'", "function": "function: 'math:fsum'"}


def program_of(tmp_path: Path, kind: str, *overrides: str) -> SweepJob:
    (tmp_path / "sweep").mkdir(exist_ok=True)
    (tmp_path / "sweep" / "program.yaml").write_text(PROGRAM.format(kind=kind, what=KINDS[kind]))
    words = ["sweep_name=s", "sweep=program", f"data_dir={tmp_path}", *overrides]
    return load_sweep_job(words, {"NUM_CPUS": "2", "WANDB_MODE": "disabled"}, [tmp_path])


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_a_program_are_expected_to_take_what_its_runs_took_whatever_steps_it_counts(
    kind: str, tmp_path: Path
) -> None:
    job = program_of(tmp_path, kind, "budget.dollars=1.2", "budget.hourly_cost=3600", "sweep.num_samples=100")
    before = program_of(tmp_path, kind, "sweep_name=before")
    finish_runs(before, count=3, wall_seconds=0.4, env_steps=7)
    plan = plan_from(open_reader(tmp_path, None), job, slots=1)
    assert plan.phases[0].run_seconds == pytest.approx(0.4)
    assert (plan.runs, plan.seconds) == (3, pytest.approx(1.2))  # $1.20 are 1.2 s
    assert len(plan.suggestions) == 2


def test_a_run_of_a_program_is_expected_to_take_what_the_model_says_of_its_point(tmp_path: Path) -> None:
    """Run time = size / 10: the next points lie near the best of them, the small ones."""
    job = program_of(tmp_path, "command", "sweep.num_samples=30", "sweep.protein.num_random_samples=4")
    sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0]
    finish_runs(
        job, count=8, wall_seconds=[size / 10 for size in sizes], env_steps=7, points=[{"size": size} for size in sizes]
    )
    plan = plan_from(open_reader(tmp_path, None), job, slots=2)
    takes = sum(float(one.params["size"]) / 10 for one in plan.suggestions) / len(plan.suggestions)
    assert plan.phases[0].run_seconds == pytest.approx(takes, rel=0.3)
    assert sum(sizes) / 80 - takes > 1.0  # the mean of all runs would be another answer


def test_without_past_runs_time_is_the_most_that_a_run_may_take_and_the_plan_says_so(tmp_path: Path) -> None:
    job = job_of(tmp_path, "sweep.num_samples=6", "budget.hourly_cost=3.6", PHASES)
    plan = make_plan(job, 2, History(), None)
    assert [phase.run_seconds for phase in plan.phases] == [10.0, 100.0]
    assert plan.runs == 6
    assert plan.slot_hours == pytest.approx((4 * 10 + 2 * 100) / 3600)
    assert plan.seconds == pytest.approx((4 * 10 + 2 * 100) / 2)
    assert plan.dollars == pytest.approx(0.24)
    assert "max_suggestion_cost" in plan.basis


def test_nothing_known_is_said_and_no_number_is_invented(tmp_path: Path) -> None:
    plan = make_plan(job_of(tmp_path), 2, History(), None)
    assert (plan.seconds, plan.slot_hours, plan.dollars) == (None, None, None)
    assert plan.basis.startswith("this is the first sweep")


def test_past_runs_of_the_same_task_give_the_pace_by_the_length_of_a_run(tmp_path: Path) -> None:
    finish_runs(job_of(tmp_path, "sweep_name=before"), count=2, wall_seconds=8.0, env_steps=32768)
    job = job_of(tmp_path)
    plan = plan_from(open_reader(tmp_path, None), job, slots=1)
    assert plan.phases[0].run_seconds == pytest.approx(16.0)  # the search centre of quick is 65,536 steps
    assert plan.seconds == pytest.approx(5 * 16.0)
    assert "2 past runs" in plan.basis
    assert "before" in plan.basis


def test_runs_of_another_task_tell_nothing(tmp_path: Path) -> None:
    finish_runs(job_of(tmp_path, "sweep_name=before", "sim=navigation"), count=1, wall_seconds=8.0, env_steps=32768)
    assert past_pace(open_reader(tmp_path, None), job_of(tmp_path).spec_yaml, has_gpus=False) is None


def test_a_run_is_not_expected_to_take_longer_than_it_may(tmp_path: Path) -> None:
    job = job_of(tmp_path, "sweep.protein.max_suggestion_cost=5")
    assert make_plan(job, 1, History(), Pace(60.0, 1.0, 1, ("x",))).phases[0].run_seconds == 5.0


def test_the_tightest_rule_comes_first_and_money_spent_leaves_less_room(tmp_path: Path) -> None:
    rules = (
        "sweep.num_samples=20",
        "budget.dollars=0.05",
        "budget.hourly_cost=3.6",
        "budget.wall_clock=1000",
        "sweep.target_score=9",
    )
    job = job_of(tmp_path, "sweep.protein.max_suggestion_cost=10", *rules)
    stops = make_plan(job, 2, History(spent_seconds=20.0, elapsed_seconds=940.0), None).stops
    assert [(stop.rule, stop.runs) for stop in stops] == [
        ("budget.dollars=0.05", 3),  # 50 slot-seconds, 20 of them spent, 10 a run
        ("budget.wall_clock=1000", 12),  # 60 s are left, on two slots
        ("sweep.num_samples=20", 20),
        ("sweep.target_score=9", None),
    ]


def test_a_sweep_that_goes_on_is_planned_from_where_it_stands(tmp_path: Path) -> None:
    job = job_of(tmp_path, "sweep.num_samples=5")
    finish_runs(job, count=3, wall_seconds=8.0, env_steps=65536)
    plan = plan_from(open_reader(tmp_path, None), job, slots=2)
    assert plan.runs == 2
    assert plan.seconds == pytest.approx(8.0)
    assert [one.number for one in plan.suggestions] == [3, 4]


@pytest.mark.parametrize(("is_dead", "first"), [(False, ()), (True, ("s.r.0",))])
def test_what_a_killed_driver_ran_comes_first(tmp_path: Path, is_dead: bool, first: tuple[str, ...]) -> None:
    job, registry = job_of(tmp_path, "sweep.num_samples=5"), open_registry(tmp_path, None)
    registry.create_sweep("s", job.spec_yaml)
    here = current_owner()
    owner = replace(here, pid=2**22 + 1) if is_dead else here  # no pid of Linux is larger than 2**22
    run = registry.reserve("s", Reservation(0, {}), owner, lease_seconds=60, key="reserve")
    registry.start(run.id, run.fence, num_gpus=0, key="start")
    registry.close()
    assert plan_from(open_reader(tmp_path, None), job, slots=2).waiting == first


def test_plan_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "sweep_name=s", "sweep=quick", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["runs"] == 5
    assert plan["suggestions"][0]["number"] == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["plan", "validate"])
def test_runs_that_no_machine_here_can_hold_are_refused(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main([command, "sweep_name=s", "sweep=quick", "resources.cpus_per_worker=640"]) == 2
    assert "resources.cpus_per_worker: 640" in capsys.readouterr().err


def test_durations_have_two_figures() -> None:
    assert [duration(seconds) for seconds in (1.26, 90, 600, 12_600, 400_000)] == [
        "1.3 s",
        "90 s",
        "10 min",
        "3.5 h",
        "4.63 d",
    ]
