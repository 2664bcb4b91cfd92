"""A kind of training that a plugin brings: it throws a die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainables.errors import Problem
from trainables.kinds import register_kind
from trainables.messages import Trained
from trainables.programs import TrainableConfig
from trainables.rank_run import RankRun
from trainables.result import Costs


@dataclass(frozen=True, slots=True)
class DiceKind:
    """Its parameter is the number of sides."""

    name: str = "dice"
    settings: tuple[str, ...] = ("parameters",)
    plays_suite: bool = False
    trainer: str = "tests.trainables.programs.dice:throw"

    def problems(self, config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
        del config
        return [] if parameters.get("sides", 0) > 0 else [Problem("trainable.parameters.sides", "need more than 0")]

    def processes(self, config: TrainableConfig, environment: str, device: str) -> tuple[str, str]:
        del config, environment
        return "dice", device


def throw(run: RankRun) -> Trained:
    """The highest number."""
    return Trained(True, 1, Costs(), Costs(), (), {"score": float(run.spec.parameters["sides"])})


register_kind(DiceKind())
