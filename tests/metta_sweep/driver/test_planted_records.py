"""Records that somebody planted in the registry are data to a driver: nothing in them is run, interpolated or
imported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import update

from metta_sweep.config import SweepJob, load_sweep_job, resolve_run
from metta_sweep.config.tree import literal
from metta_sweep.driver.plan import plan_from
from metta_sweep.driver.suggestions import SweepOptimiser
from metta_sweep.driver.summary import rank
from metta_sweep.driver.tune import FINISHED
from metta_sweep.errors import ConfigError, InvalidRequest, UnreadableSweep
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import NewObservation, Reservation, RunState
from metta_sweep.registry.schema import attempts, curve_points, observations, runs, sweeps
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.driver.drive import SWEEP
from tests.metta_sweep.driver.without_ray import QUIET, driver_without_ray

RATE = "trainer.optimizer.learning_rate"
SHELL = {"trainable.kind": "command", "trainable.command": "sh -c 'touch planted'"}


@pytest.fixture
def job(tmp_path: Path) -> SweepJob:
    return load_sweep_job(
        [f"sweep_name={SWEEP}", "sweep=quick", f"data_dir={tmp_path}", "sweep.num_samples=2"], environ=QUIET
    )


@pytest.fixture
def store(registry: SqlRegistry, job: SweepJob) -> SqlRegistry:
    """A registry with the sweep, whose run 0 waits with a point of its own."""
    registry.create_sweep(SWEEP, job.spec_yaml)
    point = job.sweep.phases[0].space.center()
    run = registry.reserve(SWEEP, Reservation(0, point), current_owner(), lease_seconds=60, key="r")
    registry.release(run.id, run.fence, key="l")
    return registry


def plant(store: SqlRegistry, table: Any, where: Any, **values: Any) -> None:
    """Write past all checks, as an older service, or somebody with the database, could."""
    with store.engine.connect().execution_options(is_write=True) as connection, connection.begin():
        connection.execute(update(table).where(where).values(**values))


def finish(store: SqlRegistry, run_id: str, score: float = 1.0) -> None:
    (run,) = store.claim(SWEEP, current_owner(), lease_seconds=60, key=f"c{run_id}")
    store.start(run_id, run.fence, num_gpus=0, key=f"s{run_id}")
    store.finish(
        run_id, run.fence, NewObservation("completed", score, 1.0, 1.0, curve=({"env_steps": 1},)), key=f"f{run_id}"
    )


# One run's configuration


@pytest.mark.parametrize(
    "params",
    [SHELL, {"data_dir": "/"}, {RATE: "${oc.env:METTA_SWEEP_TOKEN}"}, {RATE: 1e9}, {RATE: {"a": 1}}, {"${a}": 1}],
)
def test_a_run_gets_nothing_that_the_sweep_does_not_search(job: SweepJob, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"s\.r\.0: outside the search space"):
        resolve_run(job.train, "s.r.0", params, seed=1)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "\\${a}", "a\\\\${b}", "${"])
def test_a_choice_that_looks_like_an_interpolation_arrives_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    content: dict[str, Any] = {
        "metric": "score",
        "parameters": {"word": {"choices": [literal(text), "other"]}, "lr": {"min": 0.0, "max": 1.0}},
    }
    # In Hydra's own form such texts are refused, for the program would resolve them.
    program = {"kind": "command", "command": "true {overrides}", "override": "--{key}={value}"}
    content["sweep_job_overrides"] = {"trainable": program}
    (tmp_path / "sweep" / "texts.yaml").write_text(yaml.safe_dump(content))
    job = load_sweep_job(["sweep_name=s", "sweep=texts"], {}, [tmp_path])
    choice = job.sweep.phases[0].space.center()["word"]
    assert choice == text
    config = resolve_run(job.train, "s.r.0", {"word": choice, "lr": 0.5}, seed=1)
    assert config["suggestion"]["word"] == text


# The driver


def one_turn(job: SweepJob, store: SqlRegistry, until: Callable[[], bool]) -> list[str]:
    """A driver without Ray; ids of the runs that it would have started until something holds."""
    given: list[str] = []
    deadline = time.monotonic() + 60.0
    with driver_without_ray(store, job.data_dir, "sweep.num_samples=2") as driver:
        while not (until() and given) and time.monotonic() < deadline:
            suggestion = driver.search.suggest(f"trial{len(given)}")
            assert suggestion != FINISHED
            given += [suggestion["run"]["id"]] if isinstance(suggestion, dict) else []
            time.sleep(0.02)
    return given


@pytest.mark.parametrize("state", [RunState.RESERVED, RunState.INTERRUPTED])
def test_a_planted_run_is_never_started_and_the_sweep_goes_on(
    store: SqlRegistry, job: SweepJob, state: RunState, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(store, runs, runs.c.id == f"{SWEEP}.r.0", params={RATE: 1e-3, **SHELL}, state=state)
    assert one_turn(job, store, lambda: store.get_run(f"{SWEEP}.r.0").state is RunState.FAILED) == [f"{SWEEP}.r.1"]
    refused = store.get_run(f"{SWEEP}.r.0")
    assert (refused.state, refused.failure) == (RunState.FAILED, "infrastructure")
    assert "'trainable.kind': not a parameter of the search space" in refused.message
    assert f"{SWEEP}.r.0: refused, outside the search space" in " ".join(capsys.readouterr().out.split())
    store.retry(refused.id, by="me", key="retry")
    assert f"{SWEEP}.r.0" not in one_turn(job, store, lambda: store.get_run(f"{SWEEP}.r.0").state is RunState.FAILED)


def test_a_result_that_makes_no_sense_teaches_nothing_and_stops_nothing(store: SqlRegistry, job: SweepJob) -> None:
    finish(store, f"{SWEEP}.r.0")
    plant(store, observations, observations.c.sweep == SWEEP, outcome="failed", score=None, failure="nonsense")
    proposer = SweepOptimiser(job.sweep, job.seed)
    proposer.observe(store.observations(SWEEP))
    assert proposer.cursor == 1
    assert proposer.suggest(1, []).params.keys() == job.sweep.phases[0].space.center().keys()


def test_a_curve_point_without_its_numbers_is_left_out(store: SqlRegistry, job: SweepJob) -> None:
    finish(store, f"{SWEEP}.r.0")
    plant(
        store,
        curve_points,
        curve_points.c.run_id == f"{SWEEP}.r.0",
        point={"env_steps": 1, "seconds": "x", "score": None},
    )
    proposer = SweepOptimiser(job.sweep, job.seed)
    proposer.observe(store.observations(SWEEP))
    assert proposer.cursor == 1


# Readers


def test_the_ranking_leaves_a_planted_run_out(store: SqlRegistry, job: SweepJob) -> None:
    finish(store, f"{SWEEP}.r.0")
    store.reserve(
        SWEEP, Reservation(1, job.sweep.phases[0].space.center()), current_owner(), lease_seconds=60, key="r1"
    )
    store.start(f"{SWEEP}.r.1", 1, num_gpus=0, key="s1")
    store.finish(f"{SWEEP}.r.1", 1, NewObservation("completed", 99.0, 1.0, 1.0), key="f1")
    plant(store, runs, runs.c.id == f"{SWEEP}.r.1", params={RATE: "${oc.env:HOME}", **SHELL})
    ranking = rank(store, SWEEP)
    assert [one.id for one in ranking.best] == [f"{SWEEP}.r.0"]
    assert ranking.front["id"].tolist() == [f"{SWEEP}.r.0"]
    assert ranking.num_foreign == 1


def test_a_searcher_that_a_registry_names_is_not_imported(
    store: SqlRegistry, job: SweepJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_searcher.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    finish(store, f"{SWEEP}.r.0")
    spec = {**yaml.safe_load(job.spec_yaml), "searcher": "planted_searcher.Searcher"}
    plant(store, sweeps, sweeps.c.name == SWEEP, spec_yaml=yaml.safe_dump(spec))
    assert [one.id for one in rank(store, SWEEP).best] == [f"{SWEEP}.r.0"]
    assert "planted_searcher" not in sys.modules


@pytest.mark.parametrize(
    "choices",
    [
        {"trainer": "../../etc/x"},
        {"hydra/launcher": "x"},
        {"trainer": "a b"},
        {"model": "x\ny: 1"},
        {"+trainable.command": "x"},
    ],
)
def test_choices_are_options_of_config_groups(store: SqlRegistry, job: SweepJob, choices: dict[str, str]) -> None:
    spec = {**yaml.safe_load(job.spec_yaml), "choices": choices}
    plant(store, sweeps, sweeps.c.name == SWEEP, spec_yaml=yaml.safe_dump(spec))
    with pytest.raises(UnreadableSweep, match="is not an option of"):
        rank(store, SWEEP)


@pytest.mark.parametrize(
    "text", ["just words", "- 1", "train: [", "a: &a [*a]", "train: 3", "phases: [{}]", "metric: reward", ""]
)
def test_another_sweep_that_cannot_be_read_is_told_and_stops_no_plan(
    store: SqlRegistry, job: SweepJob, text: str
) -> None:
    store.create_sweep("bad", "")
    plant(store, sweeps, sweeps.c.name == "bad", spec_yaml=text)
    plan = plan_from(store, job, 1)
    assert len(plan.suggestions) > 0
    assert all("sweep bad: cannot be read" in one and "delete sweep_name=bad" in one for one in plan.left_out)
    assert bool(plan.left_out) == (text in ("just words", "- 1", "train: [", "a: &a [*a]"))
    with pytest.raises(UnreadableSweep, match="delete sweep_name=bad"):
        rank(store, "bad")


def test_another_sweeps_costs_that_nobody_can_add_up_stop_no_plan(store: SqlRegistry, job: SweepJob) -> None:
    store.create_sweep("bad", job.spec_yaml)
    store.reserve("bad", Reservation(0, {}), current_owner(), lease_seconds=60, key="r")
    store.start("bad.r.0", 1, num_gpus=0, key="s")
    store.finish("bad.r.0", 1, NewObservation("completed", 1.0, 1.0, 1.0), key="f")
    plant(store, attempts, attempts.c.run_id == "bad.r.0", costs={"train": 7})
    assert ["sweep bad: cannot be read" in one for one in plan_from(store, job, 1).left_out] == [True]


def test_a_record_with_an_id_that_is_a_path_is_no_record(store: SqlRegistry) -> None:
    plant(store, runs, runs.c.id == f"{SWEEP}.r.0", id="../../x.r.0")
    with pytest.raises(InvalidRequest, match="not a run id"):
        store.runs(SWEEP)
