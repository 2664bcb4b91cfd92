"""Trains by calling a function of the user's own, in the process of each rank."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import CodeFailure


@dataclass(frozen=True, slots=True)
class FunctionContext:
    """What a training function is given besides its configuration.

    Attributes:
        directory: of the run; whatever is written there stays with it.
        resume_from: directory `checkpoints` below it, when an earlier attempt left something there; else None.
        rank: this process among the ranks of the run; `torch.distributed` is set up when there are several.
        local_rank: the same on this node.
        world_size: ranks of the run.
        device: torch device of this rank, as text.
        seed: of the run.
        attempt: from 1.
        should_stop: asks whether to save a checkpoint and return; call it every few seconds.
        listener: takes what `report` is told.
    """

    directory: Path
    resume_from: Path | None
    rank: int
    local_rank: int
    world_size: int
    device: str
    seed: int
    attempt: int
    should_stop: Callable[[], bool]
    listener: Callable[[Mapping[str, Any]], None]

    def report(
        self, score: float | None = None, step: int | None = None, score_se: float | None = None, **metrics: float
    ) -> None:
        """How good the policy is now, its standard error by its own evaluation if known, and how far training is.

        What rank 0 reports counts; the last score is the result.
        """
        if self.rank == 0:
            self.listener({"score": score, "step": step, "score_se": score_se, **metrics})


def load_function(path: str) -> Callable[[Mapping[str, Any], FunctionContext], Any]:
    """The function behind `package.module:function`.

    Raises:
        CodeFailure: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        function: Callable[[Mapping[str, Any], FunctionContext], Any] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise CodeFailure(
            f"trainable.function: {path} cannot be imported: {error}", f"ImportError of {path}"
        ) from error
    except AttributeError as error:
        raise CodeFailure(f"trainable.function: module {module} has no {name}", f"AttributeError of {path}") from error
    return function


def call(path: str, config: Mapping[str, Any], context: FunctionContext) -> None:
    """Calls the function; a number or a mapping that it returns is its last report."""
    try:
        answer = load_function(path)(config, context)
    except SystemExit as end:  # a script's main() may end in it, as programs do: status 0 says that all is well
        if end.code not in (None, 0):
            raise
        answer = None
    if isinstance(answer, Mapping):
        context.report(**answer)
    elif answer is not None:
        context.report(score=float(answer))
