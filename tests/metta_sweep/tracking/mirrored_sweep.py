"""Sweeps in a real registry, as the driver would leave them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metta_sweep.registry.open import open_registry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import NewObservation, ObservationRecord, Reservation, RunRecord
from metta_sweep.tracking.job import MirrorJob
from trainables.result import Costs, Span

COSTS = Costs(
    setup=Span(2.0, 1.0, 0.0), train=Span(10.0, 9.0, 0.0), curve=Span(1.0, 0.5, 0.0), evaluate=Span(3.0, 2.5, 0.0)
)
CURVE = ({"env_steps": 150, "seconds": 4.0, "score": 0.5}, {"env_steps": 300, "seconds": 9.0, "score": 1.25})


def completed(score: float = 1.5, **changes: Any) -> NewObservation:
    fields: dict[str, Any] = {
        "outcome": "completed",
        "score": score,
        "cost_seconds": 11.5,
        "wall_seconds": 13.0,
        "costs": asdict(COSTS),
        "attempt_costs": asdict(COSTS),
        "metrics": {"reward": score, "arena/basic/reward": score},
        "standard_error": 0.1,
        "curve": CURVE,
        "env_steps": 300,
        "nodes": ("head",),
    }
    return NewObservation(**{**fields, **changes})


def failed(failure: str = "hyperparameters") -> NewObservation:
    return completed(
        outcome="failed",
        score=None,
        metrics={},
        curve=(),
        failure=failure,
        signature="NaN in loss.py:7",
        message="loss is NaN",
    )


class SweepOnDisk:
    """A sweep in `{data_dir}/registry.db` with run directories, driven by hand."""

    def __init__(self, data_dir: Path, name: str = "demo") -> None:
        self.name = name
        self.data_dir = data_dir
        self.registry = open_registry(data_dir, None)
        self.owner = current_owner()
        self.registry.create_sweep(name, "metric: reward\n")

    def job(self, **changes: Any) -> MirrorJob:
        fields: dict[str, Any] = {
            "sweep_name": self.name,
            "data_dir": self.data_dir,
            "sweep_server_uri": None,
            "mode": "offline",
            "project": "metta",
        }
        return MirrorJob(**{**fields, **changes})

    def directory(self, run: RunRecord) -> Path:
        return self.job().run_directory(run.id)

    def reserve(self, number: int, explanation: dict[str, Any] | None = None) -> RunRecord:
        params = {"trainer.ppo.gamma": 0.99, "trainer.batch_size": 8192}
        reservation = Reservation(number, params, explanation or {"origin": "initial"}, phase="explore")
        return self.registry.reserve(self.name, reservation, self.owner, lease_seconds=300.0, key=f"reserve:{number}")

    def start(self, number: int, explanation: dict[str, Any] | None = None) -> RunRecord:
        run = self.reserve(number, explanation)
        self.registry.start(run.id, run.fence, num_gpus=0.0, key=f"start:{run.id}")
        self.directory(run).mkdir(parents=True)
        return self.registry.get_run(run.id)

    def train(self, run: RunRecord, *env_steps: int, **values: float) -> None:
        """Append rows to the run's metrics.jsonl."""
        with (self.directory(run) / "metrics.jsonl").open("a") as file:
            for steps in env_steps:
                file.write(json.dumps({"env_steps": steps, "losses": {"policy_loss": steps / 1000, **values}}) + "\n")

    def finish(self, run: RunRecord, observation: NewObservation | None = None) -> ObservationRecord:
        fence = self.registry.get_run(run.id).fence
        record = self.registry.finish(run.id, fence, observation or completed(), key=f"finish:{run.id}:{fence}")
        assert record is not None
        return record

    def complete(self, number: int, score: float = 1.5) -> RunRecord:
        run = self.start(number)
        self.train(run, 100, 200, 300)
        self.finish(run, completed(score))
        return run
