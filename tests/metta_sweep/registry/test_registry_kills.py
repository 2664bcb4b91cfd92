"""Drivers, outbox, registry and service killed at seeded points: nothing is lost, nothing doubled, and the search goes
on as if nothing had been.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from metta_sweep.registry.records import RunState
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import ClosingAll, served
from tests.metta_sweep.registry.registry_postgres import Postgres, free_port
from tests.metta_sweep.registry.registry_zygote import Job, suggest

HERE = Path(__file__).parent
DRIVER_POINTS = (
    "registry.commit",
    "registry.committed",
    "outbox.put",
    "outbox.kept",
    "outbox.delivered",
    "driver.train",
    "driver.told",
)
REMOTE_POINTS = (
    "client.send",
    "client.received",
    "outbox.put",
    "outbox.kept",
    "outbox.delivered",
    "driver.train",
    "driver.told",
)
SERVICE_POINTS = ("registry.commit", "registry.committed")
KILLED = signal.SIGKILL.value


class Zygote:
    """Runs jobs in forks of one process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert self._read() == "ready"

    def run(self, *jobs: Job) -> list[int]:
        """Wait statuses of the jobs, which run at the same time; none when the process was ended meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([asdict(job) for job in jobs]) + "\n")
        self._process.stdin.flush()
        statuses: list[int] = json.loads(self._read() or "[]")
        return statuses

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def zygote() -> Iterator[Zygote]:
    command = [sys.executable, str(HERE / "registry_zygote.py")]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            yield Zygote(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own, its children with it


@pytest.fixture(scope="module")
def nursery() -> Iterator[Zygote]:
    """Where drivers and clients come from."""
    with zygote() as nursery:
        yield nursery


def plan(rng: random.Random, points: tuple[str, ...], reach: int) -> str:
    return f"{rng.choice(points)}:crash@{rng.randint(1, reach)}"


def check(store: SqlRegistry, directory: Path, count: int) -> None:
    """Nothing lost, no id used twice, nothing trained twice by accident, the suggestions those of an unbroken run."""
    runs, observations = store.runs("s"), store.observations("s")
    assert [run.number for run in runs] == list(range(len(runs)))
    finished = [seen.run_id for seen in observations]
    assert len(finished) == len(set(finished)) == count
    trained: set[str] = set()
    kept: set[str] = set()
    for line in (directory / "ledger").read_text().splitlines():
        word, run_id = line.split()
        assert word != "train" or run_id not in kept, f"{run_id} is trained again though its result was kept"
        (trained if word == "train" else kept).add(run_id)
    assert kept <= set(finished) <= trained
    scores = [seen.observation.score or 0.0 for seen in observations]
    assert [seen.run_number for seen in observations] == list(range(count))
    assert [seen.params["x"] for seen in observations] == [suggest(scores[:number], number) for number in range(count)]
    assert all(run.state == RunState.COMPLETED for run in runs[:count])


def kill_drivers(
    nursery: Zygote, tmp_path: Path, url: str, store: SqlRegistry, kills: int, points: tuple[str, ...]
) -> None:
    """One driver after the other, each killed at its point; the last one is left alone."""
    rng = random.Random(f"drivers-{kills}")
    for _ in range(kills):
        assert nursery.run(Job("driver", url, str(tmp_path), count=10**6, plan=plan(rng, points, reach=4))) == [KILLED]
    count = len(store.observations("s")) + 3
    assert nursery.run(Job("driver", url, str(tmp_path), count=count)) == [0]
    check(store, tmp_path, count)


@pytest.mark.parametrize("kills", [15, pytest.param(80, marks=pytest.mark.long)])
def test_drivers_killed_at_any_point_lose_and_double_nothing(
    nursery: Zygote, tmp_path: Path, kills: int, opened: ClosingAll
) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    store = opened(SqlRegistry(url))
    store.create_sweep("s", "")
    kill_drivers(nursery, tmp_path, url, store, kills, DRIVER_POINTS)


@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.long)])
def test_drivers_of_a_service_killed_at_any_point_lose_and_double_nothing(
    nursery: Zygote, tmp_path: Path, kills: int, opened: ClosingAll
) -> None:
    store = opened(SqlRegistry(f"sqlite:///{tmp_path}/registry.db"))
    store.create_sweep("s", "")
    with served(store) as url:
        kill_drivers(nursery, tmp_path, url, store, kills, REMOTE_POINTS)


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.long)])
def test_a_service_killed_at_any_point_loses_and_doubles_nothing(
    nursery: Zygote, tmp_path: Path, kills: int, opened: ClosingAll
) -> None:
    """The driver lives, its service dies in the middle of writes and comes back on the same port."""
    database, port = f"sqlite:///{tmp_path}/registry.db", free_port()
    store = opened(SqlRegistry(database))
    store.create_sweep("s", "")
    rng = random.Random(f"service-{kills}")
    count = 2 * kills
    with zygote() as services:
        keeper = threading.Thread(
            target=keep_service,
            args=(services, database, port, [plan(rng, SERVICE_POINTS, reach=6) for _ in range(kills)]),
            daemon=True,
        )
        keeper.start()
        assert nursery.run(Job("driver", f"http://127.0.0.1:{port}", str(tmp_path), count=count)) == [0]
        check(store, tmp_path, count)


def keep_service(services: Zygote, database: str, port: int, plans: list[str]) -> None:
    """Start the service again each time it dies; the last one lives."""
    for faults in [*plans, ""]:
        services.run(Job("service", database, name=str(port), plan=faults))


# 100 clients x 50 runs/next


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("clients", "calls", "kills"),
    [(6, 10, 1), pytest.param(100, 50, 3, marks=[pytest.mark.long, pytest.mark.timeout(1200)])],
)
def test_ids_of_many_clients_are_unique_and_gapless_while_the_service_is_killed(
    nursery: Zygote,
    kind: str,
    clients: int,
    calls: int,
    kills: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    opened: ClosingAll,
) -> None:
    database = (
        f"sqlite:///{tmp_path}/registry.db" if kind == "sqlite" else request.getfixturevalue("fresh_postgres").url
    )
    store, port = opened(SqlRegistry(database)), free_port()
    store.create_sweep("s", "")
    total = clients * calls
    # Each write of a life of the service counts, so that the kills are spread over the whole race.
    plans = [f"registry.committed:crash@{total // (kills + 1)}"] * kills
    with zygote() as services:
        threading.Thread(target=keep_service, args=(services, database, port, plans), daemon=True).start()
        wait_for(f"http://127.0.0.1:{port}/health")
        jobs = [
            Job("client", f"http://127.0.0.1:{port}", str(tmp_path), count=calls, name=str(number))
            for number in range(clients)
        ]
        began = time.monotonic()
        assert nursery.run(*jobs) == [0] * clients
        seconds = time.monotonic() - began
    told = [
        line.split() for number in range(clients) for line in (tmp_path / f"client-{number}").read_text().splitlines()
    ]
    assert sorted(int(run_id.removeprefix("s.r.")) for run_id, _ in told) == list(range(total))
    assert store.next_number("s") == total
    latencies = sorted(float(latency) for _, latency in told)
    with capsys.disabled():
        print(f"\n{kind}: {clients} clients x {calls} runs/next, {kills} kills: {total / seconds:.0f}/s,", end=" ")
        print(
            f"p50 {1e3 * latencies[total // 2]:.0f} ms, p99 {1e3 * latencies[total * 99 // 100]:.0f} ms, max "
            f"{1e3 * latencies[-1]:.0f} ms"
        )


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(url)


# PostgreSQL under load


@pytest.mark.parametrize("restarts", [1, pytest.param(5, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL], ids=["fast shutdown", "crash", "kill -9"]
)
def test_postgresql_restarted_under_load_loses_and_doubles_nothing(
    nursery: Zygote, fresh_postgres: Postgres, how: signal.Signals, restarts: int, tmp_path: Path, opened: ClosingAll
) -> None:
    store = opened(SqlRegistry(fresh_postgres.url))
    store.create_sweep("s", "")
    with served(store) as url:
        jobs = [Job("client", url, str(tmp_path), count=40 * restarts, name=str(number)) for number in range(4)]
        statuses: list[int] = []
        race = threading.Thread(target=lambda: statuses.extend(nursery.run(*jobs)))
        race.start()
        for _ in range(restarts):
            time.sleep(0.5)
            fresh_postgres.stop(how)
            fresh_postgres.start()
        race.join(200)
    assert statuses == [0] * 4
    told = [line.split()[0] for number in range(4) for line in (tmp_path / f"client-{number}").read_text().splitlines()]
    assert sorted(int(run_id.removeprefix("s.r.")) for run_id in told) == list(range(160 * restarts))
