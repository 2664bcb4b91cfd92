"""A rank as Ray sees it.

Training runs in one thread, control in another; torch is only imported in the rank's own process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from trainables.failures import Failure
from trainables.messages import EvaluatedShare, RankAssignment, RankPlace, Rendezvous, RunRequest, Trained
from trainables.pulse import Beat
from trainables.result import Progress
from trainables.simulation.aggregate import PlayedEpisode

if TYPE_CHECKING:
    from trainables.worker import RankWorker


class RankActor:
    """Hands every call to a `RankWorker` that lives as long as the process."""

    def __init__(self) -> None:
        from trainables.worker import RankWorker

        self._worker: RankWorker = RankWorker()

    def place(self) -> RankPlace:
        return self._worker.place(ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address())

    def open_rendezvous(self, rendezvous: Rendezvous, world_size: int) -> int:
        return self._worker.open_rendezvous(rendezvous, world_size)

    def free_port(self) -> int:
        return self._worker.free_port()

    def join(self, assignment: RankAssignment, rendezvous: Rendezvous) -> None:
        self._worker.join(assignment, rendezvous)

    def train(self, request: RunRequest) -> Trained | Failure:
        return self._worker.train(request)

    def evaluate(self, request: RunRequest) -> EvaluatedShare | Failure:
        return self._worker.evaluate(request)

    def measure(self, request: RunRequest, episodes: list[PlayedEpisode]) -> dict[str, float] | Failure:
        return self._worker.measure(request, episodes)

    def memory_bytes(self) -> int:
        return self._worker.memory_bytes()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def stop_soon(self) -> None:
        self._worker.request_stop()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def beat(self) -> Beat:
        return self._worker.beat()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def progress(self) -> list[Progress]:
        return self._worker.poll()
