"""Results and a running run that tests of the registry share."""

from __future__ import annotations

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import NewObservation
from tests.metta_sweep.registry.registry_backends import reserve

DONE = NewObservation(
    outcome="completed",
    score=1.25,
    cost_seconds=10.0,
    wall_seconds=12.0,
    costs={"train": {"wall_seconds": 9.0}},
    attempt_costs={"train": {"wall_seconds": 9.5}},
    metrics={"reward": 1.25},
    standard_error=0.1,
    curve=({"env_steps": 100, "score": 0.5}, {"env_steps": 200, "score": 1.0}),
    env_steps=200,
    nodes=("n0",),
)
BROKEN = NewObservation(
    outcome="failed",
    score=None,
    cost_seconds=3.0,
    wall_seconds=3.0,
    failure="hyperparameters",
    signature="NaN@ppo.py",
    message="loss is NaN",
    log_tail="...",
)


def running(registry: Registry) -> tuple[str, int]:
    """A started run: its id and fence."""
    run = reserve(registry)
    registry.start(run.id, run.fence, num_gpus=2, key=f"start-{run.id}")
    return run.id, run.fence


# Sweeps
