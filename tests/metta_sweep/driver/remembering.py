"""A training function that goes on from its checkpoint, as real ones do: what an earlier run left there is its
score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.function import FunctionContext


def train(config: Mapping[str, Any], context: FunctionContext) -> float:
    if context.resume_from is not None:
        return float((context.resume_from / "score").read_text())
    (context.directory / "checkpoints" / "score").write_text(str(config["bonus"]))
    return float(config["bonus"])
