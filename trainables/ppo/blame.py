"""Whether numbers that are none came from the environments or from the policy."""

from __future__ import annotations

import numpy as np
import torch

from trainables.ppo.rollout import Rollout


def fault_of_environment(rollout: Rollout, after: np.ndarray) -> str | None:
    """What the environments returned that is no finite number, if they began it; None when the policy did, or nobody.

    A policy that diverged may act with NaN, and environments then answer with NaN: whoever was first is to blame.
    Within a step the observation comes first, then what the policy makes of it, then the reward.

    Args:
        rollout: that something was not finite in.
        after: raw observations after its last step, which it values but does not keep.
    """
    acted = [rollout.values[:-1], rollout.log_probs, rollout.actions]
    seen, said, paid = _first(rollout.observations), min(map(_first, acted)), _first(rollout.rewards)
    broken = seen < len(rollout.rewards) or not np.isfinite(after).all()
    if broken and seen <= said and seen <= paid:
        return "observations"
    return "rewards" if paid < said else None


def _first(numbers: torch.Tensor) -> int:
    """Number of the first step with one that is not finite, or of steps if all are."""
    finite = torch.isfinite(numbers).flatten(1).all(1)
    return len(finite) if bool(finite.all()) else int(torch.argmin(finite.int()))
