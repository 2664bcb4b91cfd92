"""Which configuration to use, and why: the one answer that every command, page and report gives.

The rule: of the points that were run to their end, the one with the best posterior mean, by one model of all of the
sweep's scores. A single lucky score never decides. Where there is no model (no search space is known, or nothing is
searched) the best mean of a point's own runs does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from metta_sweep.analysis.best import POSTERIOR, BestRun, best, point_key, with_posterior
from metta_sweep.analysis.duration import duration, elapsed
from metta_sweep.analysis.frame import scored
from metta_sweep.analysis.pareto import direction
from metta_sweep.analysis.searched_space import searched_space
from metta_sweep.config.job import SweepSpec
from metta_sweep.registry.observations import error_of
from metta_sweep.registry.records import RunState
from metta_sweep.typed_commands import Address
from searchers import Interval, Observation
from searchers.membership import foreign
from searchers.score_belief import Lead, ScoreBelief

TELL_APART = 0.1  # chance of the second from which the first is no clear winner: outside of a one-sided 90 % interval
NO_MATTER = 0.02  # of a standard deviation of the scores: a repeat that is expected to win less is not offered; a guess
MAX_REPEATS = 5  # of each point at once: after so many a new look pays more than further ones; a round number
CONTENDERS = 20  # best points by posterior mean that the first is held against; a round number
DOUBT_SHARE = 0.25  # of the variance of the difference that repeats shall leave: half of its standard deviation


@dataclass(frozen=True, slots=True)
class Luckiest:
    """The best single score, where it is of another point than the recommended one.

    Attributes:
        id: of the run.
        score: its own.
        posterior: of its point; None without a model.
    """

    id: str
    score: float
    posterior: Interval | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A repeat that pays: the first point and a second cannot be told apart.

    Attributes:
        ids: a run of each of the two.
        num_more: further points that cannot be told apart from the first either.
        chance: that the second is better.
        repeats: further runs of each.
        cost_seconds: of all of them, in the sweep's cost unit.
    """

    ids: tuple[str, str]
    num_more: int
    chance: float
    repeats: int
    cost_seconds: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer.

    Attributes:
        winner: the configuration to use.
        ranking: points, the winner first.
        luckiest: the best single score when it is another point's.
        repeat: what would settle a close race; None when it is none.
        num_points: distinct points that have a score.
        goal: direction of the score.
    """

    winner: BestRun
    ranking: tuple[BestRun, ...]
    luckiest: Luckiest | None
    repeat: Repeat | None
    num_points: int
    goal: str


def recommend(runs: pd.DataFrame, spec: SweepSpec | None, *, top_n: int = 1) -> Recommendation | None:
    """The configuration to use; None before any run has a score.

    Args:
        runs: all runs of the sweep, as `frame` gives them; not a part of them.
        spec: what was searched; None when it is not known.
        top_n: points to rank, at least 1.
    """
    goal = spec.goal if spec is not None else "maximize"
    own = of_sweep(runs, spec)
    belief = believed(own, spec)
    if belief is not None:
        distinct = {point_key(params): params for params in scored(own)["params"]}
        told = dict(zip(distinct, belief.intervals(list(distinct.values())), strict=True))
        own = with_posterior(own, lambda params: told[point_key(params)])
    points = best(own, len(own), goal)
    if not points:
        return None
    return Recommendation(
        winner=points[0],
        ranking=tuple(points[:top_n]),
        luckiest=luckiest(own, points[0], goal),
        repeat=close_race(points[:CONTENDERS], belief) if belief is not None else None,
        num_points=len(points),
        goal=goal,
    )


def of_sweep(runs: pd.DataFrame, spec: SweepSpec | None) -> pd.DataFrame:
    """The runs whose parameters the sweep has searched; what else a registry holds is left out."""
    if spec is None or runs.empty:
        return runs
    known = [(phase.space.parameters, {**spec.fixed, **phase.space.fixed}) for phase in spec.phases]
    return runs[[any(not foreign(*one, params, is_strict=False) for one in known) for params in runs["params"]]]


def believed(runs: pd.DataFrame, spec: SweepSpec | None) -> ScoreBelief | None:
    """The model of all scores; None without a search space or a completed run."""
    space = searched_space(spec)
    if spec is None or space is None:
        return None
    done = runs[(runs["state"] == RunState.COMPLETED) & runs["score"].notna()].sort_values("sequence")
    told = zip(done["params"], done["score"], done["standard_error"].map(error_of), strict=True)
    # Costs are not looked at.
    observations = [Observation(params, score, cost_seconds=1.0, score_se=error) for params, score, error in told]
    fidelity = spec.phases[-1].protein.fidelity
    return ScoreBelief.of(space, "minimize" if spec.goal == "minimize" else "maximize", observations, fidelity)


def luckiest(runs: pd.DataFrame, winner: BestRun, goal: str) -> Luckiest | None:
    """The best single score, unless the winner's own point has it or nothing beats that."""
    done = scored(runs)
    utility = (direction(goal) * done["score"]).to_numpy()
    row = done.iloc[int(utility.argmax())]
    if utility[done["id"].isin(winner.run_ids).to_numpy()].max() >= utility.max():
        return None
    numbers = [row.get(name, math.nan) for name in POSTERIOR]
    return Luckiest(row["id"], float(row["score"]), None if math.isnan(numbers[0]) else Interval(*numbers))


def close_race(ranking: Sequence[BestRun], belief: ScoreBelief) -> Repeat | None:
    """The repeats that would tell the first from the second; None when it leads clearly, or when it does not matter.

    Repeats of both points, n each, with a noise variance of s2 per run leave 1 / (1 / v + n / 2 s2) of the variance v
    of their difference.
    """
    first, others = ranking[0], [one for one in ranking[1:] if one.posterior is not None]
    if not others:
        return None
    lead = belief.lead(first.params, [one.params for one in others])
    close = [index for index in range(len(others)) if is_close(lead, index)]
    if not close:
        return None
    second = close[0]
    wanted = 2.0 * belief.noise_variance * (1.0 / DOUBT_SHARE - 1.0) / float(lead.variance[second])
    repeats = min(max(math.ceil(wanted), 1), MAX_REPEATS)
    cost = repeats * (first.cost_seconds + others[second].cost_seconds)
    return Repeat((first.id, others[second].id), len(close) - 1, float(lead.chance[second]), repeats, cost)


def is_close(lead: Lead, index: int) -> bool:
    return bool(lead.chance[index] > TELL_APART and lead.gain[index] > NO_MATTER)


def sentences(found: Recommendation) -> list[str]:
    """Why this one, what was luck, and what a repeat would cost: a sentence each, the same wherever it is read."""
    told = [why(found)]
    if (lucky := found.luckiest) is not None:
        belief = "" if lucky.posterior is None else f"; its estimated true score is {interval_text(lucky.posterior)}"
        told.append(f"The best single score is {lucky.score:.4g}, of {lucky.id}{belief}.")
    return told if found.repeat is None else [*told, repeat_text(found.repeat)]


def repeat_text(repeat: Repeat) -> str:
    """Which two cannot be told apart, and what repeats of both would cost."""
    first, second = repeat.ids
    more = f" (nor can {repeat.num_more} more)" if repeat.num_more else ""
    again = "1 repeat" if repeat.repeats == 1 else f"{repeat.repeats} repeats"
    cost = duration(repeat.cost_seconds)
    return f"{first} and {second} cannot be told apart{more}; {again} of each would cost {cost}."


def why(found: Recommendation) -> str:
    """One sentence."""
    winner, count = found.winner, len(found.winner.run_ids)
    end = "lowest" if found.goal == "minimize" else "highest"
    error = "" if winner.standard_error is None else f" ± {winner.standard_error:.2g}"
    measured = f"measured {winner.score:.4g}{error} in {count} run{'s' * (count != 1)}"
    if found.num_points == 1:
        return f"Use {winner.id}, the only configuration with a score ({measured})."
    of = f"of {found.num_points} configurations it has the {end}"
    if winner.posterior is None:
        return f"Use {winner.id}: {of} mean score ({measured})."
    return f"Use {winner.id}: {of} estimated true score, {interval_text(winner.posterior)}; {measured}."


def interval_text(interval: Interval) -> str:
    return f"{interval.mean:.4g} (90 % interval {interval.low:.4g} to {interval.high:.4g})"


def head_lines(sweep_name: str, winner: BestRun) -> list[str]:
    """What stands at the head of its patch file."""
    measured = f"score {winner.score:.6g}, cost {elapsed(winner.cost_seconds)}"
    lines = [f"Best configuration of sweep {sweep_name}: run {winner.id}, {measured}."]
    if winner.posterior is not None:
        lines.append(f"Estimated true score {interval_text(winner.posterior)}.")
    return lines


def next_commands(sweep_name: str, at: Address) -> tuple[str, str]:
    """What to type to write the configuration as a patch file, and to train with it."""
    return (
        at.command("best", f"sweep_name={sweep_name}", "--output-dir", "configs/trainer/patch"),
        train_command(f"+trainer/patch={sweep_name}_best", at),
    )


def train_command(patch: str, at: Address) -> str:
    """Trains with a patch: a word such as `+trainer/patch=demo_best`, or the path of its file."""
    return at.command("train", "run=production", patch)


def report_of(found: Recommendation) -> dict[str, Any]:
    """The same for programs."""
    lucky, repeat = found.luckiest, found.repeat
    return {
        "run": found.winner.id,
        "params": dict(found.winner.params),
        "why": sentences(found),
        "luckiest": None if lucky is None else {"run": lucky.id, "score": lucky.score},
        "repeat": None if repeat is None else repeated(repeat),
    }


def repeated(repeat: Repeat) -> Mapping[str, Any]:
    return {"runs": list(repeat.ids), "repeats": repeat.repeats, "cost_seconds": repeat.cost_seconds}
