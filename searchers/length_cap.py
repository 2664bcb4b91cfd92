"""How long a run of an `auto` phase may be: longer only while it is still open which configurations are best.

Short runs are cheap, and where they rank configurations as long runs do, long ones buy nothing. The cap begins at the
search centre and doubles while the ranks of the leaders change between half their length and the whole: the idea of
PASHA, with rungs read from learning curves instead of from stopped runs. Pure functions of the history.

Source: Bohdal et al. 2023, PASHA: Efficient HPO and NAS with progressive resource allocation, ICLR, arXiv 2207.06940.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from searchers.distributions import NumericParameter
from searchers.observation import Observation, Outcome
from searchers.schedule import merge
from searchers.space import Space

NUM_LEADERS = 5  # whose order is watched; a round number, not tuned
MIN_LEADERS = 3  # with fewer an order that stays is chance; not tuned
# Leaders trained for more than this share of the cap: what a raise was decided from does not decide the next one.
LONG_SHARE = 1 / math.sqrt(2)
# Two leaders have changed places only when they were further apart than this share of the leaders' spread, before and
# After.
TIE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LengthCap:
    """Longest training length that may be suggested, in env steps, and why it is not longer."""

    steps: float
    reason: str


def length_parameter(space: Space, name: str) -> NumericParameter | None:
    """The searched training length, or None when it is not searched."""
    return next(
        (one for one in space.parameters if one.name == name and isinstance(one, NumericParameter) and one.low > 0),
        None,
    )


def length_cap(length: NumericParameter, observations: Sequence[Observation], *, maximize: bool) -> LengthCap:
    """The cap that a history asks for.

    Args:
        length: the training length; the cap runs from its `mean` (twice its `min` at least) to its `max`.
        observations: of all phases, in order.
        maximize: direction of the score.
    """
    cap = min(max(length.mean, 2.0 * length.low), length.high)
    while cap < length.high:
        leaders = pick_leaders(length.name, observations, cap, maximize=maximize)
        if len(leaders) < MIN_LEADERS:
            return LengthCap(
                cap,
                f"{len(leaders)} of {MIN_LEADERS} needed runs trained for more than {LONG_SHARE * cap:,.0f} steps",
            )
        longer = min(run_length(one, length.name) for one in leaders)
        before, after = ([score_at(one, length.name, steps) for one in leaders] for steps in (longer / 2, longer))
        if ranks_agree(before, after):
            return LengthCap(cap, f"the best {len(leaders)} rank alike at {longer / 2:,.0f} and {longer:,.0f} steps")
        cap = min(2.0 * cap, length.high)
    return LengthCap(length.high, "max of the phase")


def pick_leaders(name: str, observations: Sequence[Observation], cap: float, *, maximize: bool) -> list[Observation]:
    """The best completed runs of lengths just below the cap whose curves begin before half of that; one per point, the
    latest.
    """
    points = {tuple(sorted(one.params.items())): one for one in observations if is_comparable(one, name, cap)}
    return sorted(points.values(), key=lambda one: -_score(one) if maximize else _score(one))[:NUM_LEADERS]


def is_comparable(observation: Observation, name: str, cap: float) -> bool:
    """Whether a run can tell ranks at this cap: completed, of about that length, with a curve that reaches back to its
    half.
    """
    if observation.outcome is not Outcome.COMPLETED or name not in observation.params:
        return False
    is_long = LONG_SHARE * cap < run_length(observation, name) <= cap
    return is_long and any(point.env_steps <= LONG_SHARE * cap / 2 for point in observation.curve)


def run_length(observation: Observation, name: str) -> float:
    """Training length that the run was given."""
    return float(observation.params[name])


def score_at(observation: Observation, name: str, env_steps: float) -> float:
    """Score after so many steps: between points of the curve linear in log steps, the final score at the end."""
    end = run_length(observation, name)
    points = {float(point.env_steps): point.score for point in observation.curve if 0 < point.env_steps < end} | {
        end: _score(observation)
    }
    steps = sorted(points)
    return float(np.interp(math.log(env_steps), np.log(steps), [points[one] for one in steps]))


def ranks_agree(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether no two leaders changed places; near-ties (`TIE_SHARE`) may."""
    tie_before, tie_after = (TIE_SHARE * (max(scores) - min(scores)) for scores in (before, after))
    return not any(
        (before[i] - before[j]) * (after[i] - after[j]) < 0
        and abs(before[i] - before[j]) > tie_before
        and abs(after[i] - after[j]) > tie_after
        for i, j in combinations(range(len(before)), 2)
    )


def capped(space: Space, name: str, steps: float) -> Space:
    """The space with training lengths up to the cap.

    A centre beyond the cap moves to it. In an `auto` phase it says where the cap begins, and is no belief.
    """
    length = length_parameter(space, name)
    assert length is not None, "only a searched length has a cap"
    config = space.to_config()
    whole = int(steps) if isinstance(config[name]["max"], int) else steps
    lower = {"max": whole, "mean": min(length.native(length.mean), whole)}
    constraints = [constraint.text for constraint in space.constraints]
    read = Space.from_config(merge(config, {name: lower}), constraints, warn=False)
    parameters = (replace(one, is_believed=one.is_believed and one.name != name) for one in read.parameters)
    return replace(read, parameters=tuple(parameters))


def _score(observation: Observation) -> float:
    assert observation.score is not None, "a completed run has a score"
    return observation.score
