"""What a policy that knows nothing scores on a suite: the floor that every result is read against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from trainables.distributed import DistributedContext
from trainables.ppo.trainer import make_policy
from trainables.pulse import Pulse
from trainables.simulation.aggregate import metrics, score_of, standard_error
from trainables.simulation.play import Share, play
from trainables.spec import RunSpec


def random_policy_score(mapping: Mapping[str, Any]) -> tuple[float, float | None]:
    """Score and its standard error of uniformly random actions, on the episodes that runs are evaluated on.

    Args:
        mapping: resolved configuration of any run of the sweep.

    Raises:
        SpecError: the configuration is wrong.
        CodeFailure: an episode does not end.
    """
    torch.set_num_threads(1)
    spec = RunSpec.from_mapping(mapping, strict=False)
    policy = make_policy(spec, DistributedContext(), spec.suite.simulations[0].family.describe())
    with torch.no_grad():
        for parameter in policy.parameters():  # equal logits: every action is as likely as any other
            parameter.zero_()
    pulse = Pulse(spec.resources.stall_seconds)  # nobody watches this process from outside
    episodes = play(spec.suite, policy, Share(), pulse=pulse)
    return score_of(spec.metric, metrics(spec.suite, episodes)), standard_error(spec.suite, episodes, spec.metric)
