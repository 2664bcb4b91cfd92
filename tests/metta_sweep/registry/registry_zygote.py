"""A process that forks drivers and services on request: imports are paid once, not per kill.

A line of JSON on the input starts a child (see `Job`); a line on the output tells its wait status. Run as a script.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from metta_sweep.errors import NumberTaken
from metta_sweep.registry.api import Registry
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.outbox import Outbox
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import NewObservation, Reservation, RunRecord
from metta_sweep.registry.serve import serve
from metta_sweep.registry.store import SqlRegistry
from trainables import faults


@dataclass(frozen=True)
class Job:
    """`role` is driver, client or service.

    Attributes:
        url: of the database, or of the service for a driver.
        directory: of a driver's outbox and ledger.
        count: observations at which a driver ends; reservations of a client.
        name: of a client, part of its keys; port of a service.
        plan: faults of the child.
    """

    role: str
    url: str
    directory: str = ""
    count: int = 0
    name: str = ""
    plan: str = ""


def suggest(scores: list[float], number: int) -> float:
    """A point that depends on every score before it, as a real optimiser's does."""
    return (sum((index + 1) * score for index, score in enumerate(scores)) * 0.618 + number * 0.414) % 1.0


def drive(job: Job) -> None:
    """One slot and virtual costs: take up what was left, then reserve, train and tell until there are enough
    observations.

    The ledger says when a run was trained and when its result was kept, as the run itself would remember.
    """
    registry: Registry = HttpRegistry(job.url) if job.url.startswith("http") else SqlRegistry(job.url)
    directory, owner = Path(job.directory), current_owner()
    outbox = Outbox(directory / "outbox")
    with (directory / "ledger").open("a", buffering=1) as ledger:
        outbox.deliver(registry)
        stock = registry.claim("s", owner, lease_seconds=300, key=f"claim-{owner.pid}-{owner.started}")
        while len(scores := [seen.observation.score or 0.0 for seen in registry.observations("s")]) < job.count:
            run = stock.pop(0) if stock else reserve(registry, scores)
            if run is None:
                continue
            outbox.put("start", {"run_id": run.id, "fence": run.fence, "num_gpus": 0})
            ledger.write(f"train {run.id}\n")
            faults.point("driver.train")
            score = (run.params["x"] * 7.3) % 1.0
            outbox.put(
                "finish",
                {"run_id": run.id, "fence": run.fence, "observation": NewObservation("completed", score, 1.0, 1.0)},
            )
            ledger.write(f"kept {run.id}\n")
            faults.point("driver.told")
            while outbox.pending():
                outbox.deliver(registry)


def reserve(registry: Registry, scores: list[float]) -> RunRecord | None:
    number, owner = registry.next_number("s"), current_owner()
    reservation = Reservation(number, {"x": suggest(scores, number)}, cursor=len(scores))
    try:
        return registry.reserve(
            "s", reservation, owner, lease_seconds=300, key=f"reserve-{owner.pid}-{owner.started}-{number}"
        )
    except NumberTaken:
        return None


def allocate(job: Job) -> None:
    """`runs/next`, again and again; prints each id with the seconds that it took."""
    registry = HttpRegistry(job.url, patience_seconds=120)
    with (Path(job.directory) / f"client-{job.name}").open("w") as told:
        for number in range(job.count):
            began = time.monotonic()
            answer = registry._call("POST", "/sweeps/s/runs/next", key=f"{job.name}-{number}")
            told.write(f"{answer['run_id']} {time.monotonic() - began}\n")


def work(job: Job) -> None:
    faults.activate(job.plan)
    if job.role == "service":
        serve(job.url, port=int(job.name))
    elif job.role == "client":
        allocate(job)
    else:
        drive(job)


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        jobs = [Job(**fields) for fields in json.loads(line)]
        children = []
        for job in jobs:
            child = os.fork()
            if child == 0:
                work(job)
                os._exit(0)
            children.append(child)
        print(json.dumps([os.waitpid(child, 0)[1] for child in children]), flush=True)


if __name__ == "__main__":
    main()
