"""Run ids that a service on PostgreSQL gives to many clients at once: `python -m tests.benchmarks.registry`.

Each client is a process with its own `HttpRegistry`. `--before DIRECTORY` measures the service of another checkout,
too, in turns with this one: quote the ratio within one run, and the load that it prints.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import create_token
from tests.metta_sweep.registry.registry_postgres import free_port, running_postgres

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Race:
    """What one race of all clients measured; seconds."""

    wall: float
    latencies: tuple[float, ...]

    def __str__(self) -> str:
        ordered = sorted(self.latencies)
        at = {share: 1e3 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99, 1.0)}
        rate = len(ordered) / self.wall
        return f"{rate:.0f} ids/s, p50 {at[0.5]:.0f} ms, p99 {at[0.99]:.0f} ms, longest {at[1.0]:.0f} ms"


@contextlib.contextmanager
def serving(tree: Path, database: str) -> Iterator[str]:
    """The service of a checkout, in a process of its own; gives its URL."""
    port = free_port()
    command = [sys.executable, "-m", "metta_sweep", "serve", "--port", str(port), "--database-url", database]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("registry at "), "the service does not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def ask(url: str, token: str, client: int, calls: int, start: int, answers: int) -> None:
    """One client: waits for the start, takes ids, and writes each with its seconds."""
    registry = HttpRegistry(url, token, patience_seconds=120)
    registry.next_number("s")  # connects
    os.write(answers, b"ready\n")
    os.read(start, 1)
    told = []
    for number in range(calls):
        began = time.monotonic()
        run = registry._call("POST", "/sweeps/s/runs/next", key=f"{began}-{client}-{number}")
        told.append(f"{run['run_id']} {time.monotonic() - began}\n")
    for line in told:
        os.write(answers, line.encode())  # shorter than PIPE_BUF: never mixed


def race(url: str, token: str, clients: int, calls: int) -> Race:
    """All clients at once; every id is checked to be new."""
    (start, go), (answers, said) = os.pipe(), os.pipe()
    children = []
    for client in range(clients):
        child = os.fork()
        if not child:
            os.close(go)
            ask(url, token, client, calls, start, said)
            os._exit(0)
        children.append(child)
    os.close(said)
    with os.fdopen(answers) as lines:
        for _ in children:
            assert next(lines) == "ready\n"
        began = time.monotonic()
        os.close(go)
        told = [line.split() for line in lines]
        wall = time.monotonic() - began
    os.close(start)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * clients
    assert len({run_id for run_id, _ in told}) == clients * calls
    return Race(wall, tuple(float(seconds) for _, seconds in told))


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.registry", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--calls", type=int, default=50, help="of each client")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--before", type=Path, help="another checkout, measured in turns with this one")
    args = parser.parse_args()
    with running_postgres() as postgres:
        store = SqlRegistry(postgres.url)
        store.create_sweep("s", "")
        store.close()
        token = create_token(postgres.url, "benchmark")
        for tree in [tree for _ in range(args.repeats) for tree in (args.before, ROOT) if tree]:
            with serving(tree.resolve(), postgres.url) as url:
                measured = race(url, token, args.clients, args.calls)
            load = os.getloadavg()[0]
            print(f"{'here' if tree == ROOT else 'before'}: {measured}; load of the machine {load:.1f}", flush=True)


if __name__ == "__main__":
    main()
