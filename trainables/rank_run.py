"""What a rank has at hand while it trains one run, whatever kind of training that is."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from trainables.distributed import DistributedContext
from trainables.environments.workers import EnvironmentWorkers
from trainables.messages import RunRequest, Trained
from trainables.metering import Meter
from trainables.ppo.policy import Policy
from trainables.pulse import Pulse
from trainables.result import Progress
from trainables.spec import RunSpec


@dataclass(frozen=True, slots=True)
class RankRun:
    """One run on one rank; `TrainableKind.trainer` gets it.

    Attributes:
        request: the run.
        context: this rank.
        meter: measures what it costs.
        stop: set when the run should end, with a checkpoint if that is possible.
        tell: hears of progress; of rank 0 alone.
        pulse: says that the rank comes forward.
        keep: takes the policy at the end of training, so that it need not be read from disk to be played.
        environments: processes that step the environments, as many as the run asks for.
    """

    request: RunRequest
    context: DistributedContext
    meter: Meter
    stop: threading.Event
    tell: Callable[[Progress], None]
    pulse: Pulse = field(default_factory=Pulse)
    keep: Callable[[Policy], None] = lambda policy: None
    environments: EnvironmentWorkers = field(default_factory=EnvironmentWorkers)

    @property
    def spec(self) -> RunSpec:
        return self.request.spec

    def train(self) -> Trained:
        """The whole training, by whatever does it for this kind."""
        module, _, name = self.spec.kind.trainer.partition(":")
        trained: Trained = getattr(importlib.import_module(module), name)(self)
        return trained
