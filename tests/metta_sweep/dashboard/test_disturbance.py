"""A real sweep whose dashboards are killed, frozen and reloaded a hundred times goes on as if nobody looked."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import urllib.error
import urllib.request
from collections import defaultdict
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from metta_sweep.dashboard.app import create_app, serve
from metta_sweep.dashboard.background_fits import BackgroundFits
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.registry.reader import SqliteReader
from tests.metta_sweep.dashboard.conftest import OPTIONS
from tests.metta_sweep.driver.drive import SWEEP, kill_everything, start_driver, wait_for

pytestmark = [pytest.mark.long, pytest.mark.ray, pytest.mark.timeout(1800)]
FORK = multiprocessing.get_context("fork")  # a dashboard is there in a moment
NUM_RUNS = 60
# Points that do not depend on when results came: a model's do, as its driver may be late by a result when the machine
# is busy.
WORDS = ("resources.max_concurrent_runs=1", f"sweep.num_samples={NUM_RUNS}", "sweep.method=random")
ENVIRON = {"NUM_CPUS": "2"}
# What a browser asks for when the page is opened or reloaded.
OPEN_PAGE = {
    "output": "page.children",
    "outputs": {"id": "page", "property": "children"},
    "inputs": [{"id": "url", "property": "search", "value": f"?sweep={SWEEP}"}],
    "changedPropIds": ["url.search"],
}


def show(data_dir: Path, port: int) -> None:
    """A dashboard as a process of its own."""
    reader = SqliteReader(data_dir / "registry.db")
    queries = Queries(Source(reader, OPTIONS), BackgroundFits(), SweepSummaries(reader), data_dir, SWEEP)
    serve(create_app(queries), "127.0.0.1", port)


def open_dashboard(data_dir: Path) -> tuple[BaseProcess, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = FORK.Process(target=show, args=(data_dir, port), daemon=True)
    process.start()
    return process, f"http://127.0.0.1:{port}/"


def answers(address: str) -> bool:
    """Load the page and read the sweep; False while the dashboard does not listen yet."""
    request = urllib.request.Request(
        f"{address}_dash-update-component", json.dumps(OPEN_PAGE).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(address, timeout=60), urllib.request.urlopen(request, timeout=60) as answer:
            return SWEEP in answer.read().decode()
    except (ConnectionError, urllib.error.URLError):
        return False


def disturb(data_dir: Path, times: int) -> None:
    """Open, reload, freeze and kill dashboards."""
    frozen: list[BaseProcess] = []
    for number in range(times):
        process, address = open_dashboard(data_dir)
        for _ in range(number % 3):  # some die before they answer, some after one look, some after a reload
            wait_for(partial(answers, address))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP if number % 4 == 0 else signal.SIGKILL)
        frozen += [process] if number % 4 == 0 else []
    for process in frozen:
        process.kill()


Events = dict[str, list[tuple[str, Any, Any]]]


def run_sweep(data_dir: Path, *, times: int) -> Events:
    """What happened to each run of a sweep in whose course dashboards were disturbed so many times."""
    data_dir.mkdir()
    (data_dir / "instant.json").write_text(json.dumps({"sleep_seconds": 1.0}))
    driver = start_driver(data_dir, *WORDS, environ=ENVIRON)
    try:
        reader = SqliteReader(data_dir / "registry.db")
        wait_for(lambda: bool(reader.list_sweeps()) and any(run.started_at for run in reader.runs(SWEEP)), 300)
        disturb(data_dir, times)
        assert driver.poll() is None, "the sweep was over before the last dashboard was"
        assert driver.wait(900) == 0
    finally:
        if driver.poll() is None:
            kill_everything(driver)
    return by_run(reader)


def by_run(reader: SqliteReader) -> Events:
    """Kind, score and cost of every event, and the run's point, by run, in order.

    Which of two threads of a driver comes first, and whether a waiting point is renewed in time, differs from sweep to
    sweep, with and without a dashboard: so events of different runs are not ordered here, and renewals are left out.
    """
    events: Events = defaultdict(list)
    for event in reader.events(SWEEP):
        if event.kind != "replaced":
            events[event.run_id or ""].append((event.kind, event.detail.get("score"), event.detail.get("cost_seconds")))
    for run in reader.runs(SWEEP):
        events[run.id].append(("point", dict(run.params), run.attempts))
    return dict(events)


def test_dashboards_killed_frozen_and_reloaded_a_hundred_times_change_no_event_of_a_sweep(tmp_path: Path) -> None:
    watched = run_sweep(tmp_path / "watched", times=100)
    assert [kind for kind, *_ in watched[f"{SWEEP}.r.{NUM_RUNS - 1}"]] == ["reserved", "started", "completed", "point"]
    assert watched == run_sweep(tmp_path / "alone", times=0)
