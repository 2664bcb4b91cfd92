"""Reading a sweep: incremental equals anew, nothing is ever written, silence is no work."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from metta_sweep.analysis.ending import DRIVER_ENDED, DRIVER_STARTED
from metta_sweep.config.job import Budget
from metta_sweep.dashboard.snapshot import SILENT_SECONDS, Feed, FeedOptions, Snapshot
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.errors import RegistryUnavailable, UnknownSweep
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.records import RunRecord
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.dashboard.conftest import OPTIONS
from tests.metta_sweep.dashboard.simulated import OWNER, Clock, Plan, Simulator
from tests.metta_sweep.registry.registry_backends import served


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A sweep that has only begun."""
    return Simulator(SqlRegistry(sqlite_url(tmp_path), clock := Clock()), clock, Plan(name="live", num_runs=0))


def test_reading_on_gives_the_same_as_reading_anew(simulator: Simulator, tmp_path: Path) -> None:
    reader = SqliteReader(tmp_path / "registry.db")
    feed = Feed(reader, "live", OPTIONS)
    for _ in range(12):
        simulator.finish_one()
        feed.refresh()
    simulator.start_one()
    on, anew = feed.refresh(), Feed(reader, "live", OPTIONS).refresh()
    pd.testing.assert_frame_equal(on.runs, anew.runs)
    pd.testing.assert_frame_equal(on.curves, anew.curves)
    assert on.version == anew.version
    assert (on.records, on.attempts) == (anew.records, anew.attempts)


def test_a_run_that_ends_between_two_reads_has_its_state_with_its_score(simulator: Simulator, tmp_path: Path) -> None:
    class Late(SqliteReader):
        """A run ends just after the runs were read."""

        def runs(self, sweep: str, **filters: Any) -> list[RunRecord]:
            before = super().runs(sweep, **filters)
            simulator.finish_one()
            return before

    runs = Feed(Late(tmp_path / "registry.db"), "live", OPTIONS).refresh().runs
    assert runs[["state", "sequence"]].to_numpy().tolist() == [["completed", 1]]


def test_nothing_new_gives_the_very_same_snapshot(simulator: Simulator, tmp_path: Path) -> None:
    simulator.finish_one()
    feed = Feed(SqliteReader(tmp_path / "registry.db"), "live", OPTIONS)
    assert feed.refresh() is feed.refresh()


def test_a_running_run_grows_its_curve_without_an_event(simulator: Simulator, tmp_path: Path) -> None:
    run_id, fence, _ = simulator.start_one()
    feed = Feed(SqliteReader(tmp_path / "registry.db"), "live", OPTIONS)
    before = feed.refresh()
    simulator.registry.record_progress(run_id, fence, [{"env_steps": 10**9, "seconds": 1.0, "score": 9.0}])
    after = feed.refresh()
    assert after.version != before.version
    assert len(after.curves) == len(before.curves) + 1


def test_a_sweep_has_not_ended_while_a_second_driver_runs(simulator: Simulator, tmp_path: Path) -> None:
    run_id, fence, _ = simulator.start_one()
    simulator.registry.add_event("live", DRIVER_ENDED, run_id=None, by="run", detail={"reason": "interrupted"})
    feed = Feed(SqliteReader(tmp_path / "registry.db"), "live", OPTIONS)
    assert feed.refresh().ending is None
    simulator.registry.interrupt(run_id, fence, reason="interrupted", costs={}, key="i")
    over = feed.refresh().ending
    assert over is not None
    assert (over.word, over.reason) == ("ended", "interrupted")


def test_a_retried_run_loses_its_result(tmp_path: Path) -> None:
    clock = Clock()
    simulator = Simulator(SqlRegistry(sqlite_url(tmp_path), clock), clock, Plan(name="live", failing=1))
    run_id = simulator.finish_one()
    feed = Feed(SqliteReader(tmp_path / "registry.db"), "live", OPTIONS)
    assert feed.refresh().runs["sequence"].tolist() == [1]
    simulator.registry.retry(run_id, by="test", key="again")
    after = feed.refresh()
    assert after.runs[["state", "sequence"]].to_numpy().tolist() == [["interrupted", 0]]


def test_the_newest_results_are_shown_and_all_are_paid_for(data_dir: Path) -> None:
    options = dataclasses.replace(OPTIONS, max_observations=10)
    snapshot = Feed(SqliteReader(data_dir / "registry.db"), "sim", options).refresh()
    assert sorted(snapshot.runs.loc[snapshot.runs["sequence"] > 0, "sequence"]) == list(range(31, 41))
    assert (snapshot.runs["sequence"] == 0).sum() == 3
    assert len(snapshot.all_runs) == 43


def test_the_file_cannot_be_written_through_the_reader(data_dir: Path) -> None:
    reader = SqliteReader(data_dir / "registry.db")
    with reader._reading() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM runs")


def test_an_open_reader_never_blocks_a_writer(simulator: Simulator, tmp_path: Path) -> None:
    reader = SqliteReader(tmp_path / "registry.db")
    with reader._reading() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SELECT count(*) FROM runs").scalar()
        simulator.finish_one()  # would wait for `BUSY_TIMEOUT_SECONDS` and fail
    assert sqlite3.connect(tmp_path / "registry.db").execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_registry_that_is_not_there_yet_has_no_sweeps(tmp_path: Path) -> None:
    assert SqliteReader(tmp_path / "registry.db").list_sweeps() == []
    assert not (tmp_path / "registry.db").exists()
    sqlite3.connect(tmp_path / "registry.db").execute("PRAGMA journal_mode = WAL")  # a driver is just making it
    assert SqliteReader(tmp_path / "registry.db").list_sweeps() == []


def test_what_the_user_says_about_money_goes_before_what_the_driver_wrote(simulator: Simulator, tmp_path: Path) -> None:
    told = {
        "rules": {"budget.dollars": 10.0, "budget.hourly_cost": 1.0, "budget.wall_clock": 60.0, "sweep.num_samples": 9}
    }
    simulator.registry.add_event("live", DRIVER_STARTED, run_id=None, by="driver", detail=told)
    options = FeedOptions(Budget(hourly_cost=3.0))
    snapshot = Feed(SqliteReader(tmp_path / "registry.db"), "live", options).refresh()
    assert (snapshot.budget, snapshot.num_runs_left) == (Budget(None, 10.0, 3.0, 60.0), 9)


def test_a_run_that_is_silent_for_long_ended_with_its_last_sign_of_life(snapshot: Snapshot) -> None:
    running = [attempt for attempt in snapshot.attempts if attempt.ended_at is None]
    seen_at = max(snapshot.records[attempt.run_id].seen_at for attempt in running)
    soon = snapshot.attempts_until(seen_at + SILENT_SECONDS / 2)
    late = snapshot.attempts_until(seen_at + 1e6)
    assert len([attempt for attempt in soon if attempt.ended_at is None]) >= 1
    assert all(attempt.ended_at is not None and attempt.ended_at <= seen_at for attempt in late)


def test_a_source_follows_a_sweep_by_itself(simulator: Simulator, tmp_path: Path) -> None:
    source = Source(SqliteReader(tmp_path / "registry.db"), OPTIONS)
    before = source.snapshot("live").version
    simulator.finish_one()
    deadline = time.monotonic() + 20
    while source.snapshot("live").version == before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(source.snapshot("live").runs) == 1
    with pytest.raises(UnknownSweep):
        source.snapshot("nobody")
    source.close()


def test_a_service_that_is_away_leaves_what_was_read_before(simulator: Simulator) -> None:
    with served(simulator.registry) as url:
        reader = HttpRegistry(url, None, patience_seconds=0.1)
        source, summaries = Source(reader, OPTIONS), SweepSummaries(reader)
        lines = summaries.read(source.sweeps())
        names = [sweep.name for sweep in source.sweeps()]
        version = source.snapshot("live").version
    assert [sweep.name for sweep in source.sweeps()] == names == ["live"]
    assert source.snapshot("live").version == version
    assert summaries.read(source.sweeps()) == lines
    source.close()
    never = Source(HttpRegistry(url, None, patience_seconds=0.1), OPTIONS)
    with pytest.raises(RegistryUnavailable):
        never.sweeps()
    never.close()


def test_a_digest_adds_up_the_events(data_dir: Path) -> None:
    reader = SqliteReader(data_dir / "registry.db")
    summaries = {one.sweep.name: one for one in SweepSummaries(reader).read(reader.list_sweeps())}
    sim, failed = summaries["sim"], summaries["allfailed"]
    assert (sim.num_runs, sim.num_ended, sim.num_failed) == (43, 40, 4)
    assert sim.best[-1] == pytest.approx(max(Feed(reader, "sim", OPTIONS).refresh().runs["score"].dropna()))
    assert list(sim.best) == sorted(sim.best)
    assert (failed.num_failed, failed.best, failed.owner) == (4, (), f"{OWNER.host}:{OWNER.pid}")
    assert summaries["empty"].num_runs == 0
    assert math.isclose(failed.cost_seconds, 80.0)
