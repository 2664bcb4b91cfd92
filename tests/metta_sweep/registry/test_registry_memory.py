"""What a sweep learns from is found and read alike in every registry."""

from __future__ import annotations

from metta_sweep.driver.memory import read_past, register
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import NewObservation, Reservation
from tests.metta_sweep.driver.past_sweeps import job_of
from tests.metta_sweep.registry.registry_backends import HERE
from trainables.result import Outcome


def test_earlier_sweeps_are_remembered_with_their_runs(registry: Registry) -> None:
    old = job_of("old")
    registry.create_sweep("old", old.spec_yaml)
    for number in range(4):
        point = Reservation(number, old.sweep.phases[0].space.center())
        run = registry.reserve("old", point, HERE, lease_seconds=300, key=f"r{number}")
        registry.start(run.id, run.fence, num_gpus=0, key=f"s{number}")
        registry.finish(run.id, run.fence, NewObservation(Outcome.COMPLETED, float(number), 1.0, 1.0), key=f"f{number}")
    job = register(job_of("new"), registry, update=False)
    assert [(one.sweep, one.observations, one.until) for one in job.sweep.remembered] == [("old", 4, 4)]
    (past,) = read_past(registry, job.sweep, registry.get_sweep("new").spec_yaml).sweeps
    assert [one.score for one in past.observations] == [0.0, 1.0, 2.0, 3.0]
