"""Writes `schemas/{version}.db` and what is in it: run once when a schema is released, and never again for that
version.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from pathlib import Path

from metta_sweep.registry.records import NewObservation, Owner, Reservation
from metta_sweep.registry.schema import SCHEMA_VERSION
from metta_sweep.registry.store import SqlRegistry

OWNER = Owner("host", "machine.boot.namespace", 1, 1.0)
CURVE = ({"env_steps": 100, "score": 0.25}, {"env_steps": 200, "score": 0.5})


def fill(registry: SqlRegistry) -> dict[str, object]:
    registry.create_sweep("s", "metric: reward\n", wandb_entity="e", wandb_project="p")
    for number in range(4):
        registry.reserve(
            "s",
            Reservation(number, {"x": number / 3, "kind": "adam"}, phase="cheap"),
            OWNER,
            lease_seconds=300,
            key=f"reserve-{number}",
        )
    for number in range(3):
        registry.start(f"s.r.{number}", 1, num_gpus=1, key=f"start-{number}")
    registry.finish(
        "s.r.0",
        1,
        NewObservation("completed", 0.5, 10.0, 12.0, metrics={"reward": 0.5}, curve=CURVE, env_steps=200),
        key="finish-0",
    )
    failed = NewObservation(
        "failed",
        None,
        1.0,
        1.0,
        failure="hyperparameters",
        signature="NaN@ppo.py:1",
        message="NaN",
        log_tail="loss nan",
    )
    registry.finish("s.r.1", 1, failed, key="finish-1")
    registry.interrupt("s.r.2", 1, reason="preempted", costs={}, key="interrupt-2")
    return {
        "runs": [[run.id, run.state, run.params, run.attempts] for run in registry.runs("s")],
        "observations": [[seen.sequence, seen.run_id, seen.observation.score] for seen in registry.observations("s")],
        "curve": registry.curve("s.r.0"),
        "events": [event.kind for event in registry.events("s")],
    }


def main() -> None:
    target = Path(__file__).parent / "schemas" / SCHEMA_VERSION
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "registry.db"
        registry = SqlRegistry(f"sqlite:///{path}", lambda: 1_700_000_000.0)
        content = fill(registry)
        registry.close()
        with contextlib.closing(sqlite3.connect(path)) as source:
            source.execute("PRAGMA journal_mode = DELETE")
            source.execute("VACUUM")
        target.with_suffix(".db").write_bytes(path.read_bytes())
    target.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
