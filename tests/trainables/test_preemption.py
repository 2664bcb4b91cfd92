"""How long a run has before its node goes."""

from __future__ import annotations

import json
import threading

import pytest

from trainables.errors import InfrastructureFailure
from trainables.preemption import NO_DEADLINE_SECONDS, RESERVE_SECONDS, seconds_until
from trainables.result import Costs, Outcome, RunResult
from trainables.run_trainable import RunTrainable


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [(1_110_000, 110.0 - RESERVE_SECONDS), (1_001_000, 0.0), (990_000, 0.0), (0, NO_DEADLINE_SECONDS)],
)
def test_a_checkpoint_has_the_time_of_the_notice_less_what_the_result_needs_on_its_way(
    deadline: int, seconds: float
) -> None:
    assert seconds_until(deadline, now=1000.0) == seconds


class Leaving(RunTrainable):
    """Whose run has ended, on a node that will be taken away."""

    def __init__(self) -> None:
        self._run = {"id": "s.r.0"}
        self._thread, self._has_told = threading.Thread(), False
        self._result = RunResult(Outcome.INTERRUPTED, None, Costs(), Costs())
        self._leaving = "node a will be taken away"


def test_a_process_on_a_node_that_will_be_taken_away_ends_with_its_run() -> None:
    """Tune would start the next run in it; after an error it does not."""
    trial = Leaving()
    told = trial.step()
    assert not told["done"]
    assert RunResult.from_dict(json.loads(told["result_json"])).message == "node a will be taken away"
    with pytest.raises(InfrastructureFailure, match="node a"):
        trial.step()
