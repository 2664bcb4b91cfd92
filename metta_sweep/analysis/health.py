"""What is wrong with a sweep, or right, in words, each with advice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from metta_sweep.analysis.pareto import pareto_front
from metta_sweep.analysis.recommend import Recommendation, repeat_text
from metta_sweep.analysis.surrogate import Surrogate, bounds_hit
from metta_sweep.registry.records import RunState

GOOD, NOTE, WARNING = "good", "note", "warning"
NO_EFFECT = 0.02
MIN_PREDICTED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about the sweep.

    Attributes:
        level: good, note or warning.
        title: what was looked at.
        text: what was found, with its numbers.
        advice: what to do about it; "" when nothing.
    """

    level: str
    title: str
    text: str
    advice: str = ""


def check_runs(runs: pd.DataFrame) -> list[Finding]:
    """What can be said without a model: failures, money on runs that were stopped, cost predictions, seed noise."""
    checks = (failure_share(runs), stopped_share(runs), cost_error(runs), calibration(runs))
    return [finding for finding in checks if finding is not None]


def check_model(
    surrogate: Surrogate, importance: pd.DataFrame, hits: Sequence[tuple[str, str]], found: Recommendation | None
) -> list[Finding]:
    """What the surrogate adds: can it be trusted, parameters without effect, bounds hit; and how surely one leads."""
    return [trust(surrogate), no_effect(importance), bounds(hits), *([leaders(found)] if found else [])]


def front_hits(runs: pd.DataFrame, surrogate: Surrogate) -> list[tuple[str, str]]:
    """Bounds that the completed runs of the front crowd at; see `bounds_hit`."""
    points = [surrogate.space.embed(params) for params in pareto_front(runs, surrogate.goal)["params"]]
    return bounds_hit(surrogate, np.array(points).reshape(-1, surrogate.space.dimension))


def with_effect(hits: Sequence[tuple[str, str]], importance: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """The hits of parameters that are known to matter: a bound of one without effect need not be widened."""
    matters = set(importance.loc[importance["total_high"] >= NO_EFFECT, "parameter"])
    return tuple(hit for hit in hits if hit[0] in matters)


def failure_share(runs: pd.DataFrame) -> Finding | None:
    ended = runs[runs["sequence"] > 0]
    if ended.empty:
        return None
    share = float((ended["state"] == RunState.FAILED).mean())
    paid = ended["paid_wall_seconds"].sum()
    lost = float(ended.loc[ended["state"] == RunState.FAILED, "paid_wall_seconds"].sum() / paid) if paid > 0 else 0.0
    text = f"{share:.0%} of the runs failed and took {lost:.0%} of the time."
    if share < 0.1:
        return Finding(GOOD, "Failures", text)
    return Finding(WARNING, "Failures", text, "See the Failures page: one cause usually explains most.")


def stopped_share(runs: pd.DataFrame) -> Finding | None:
    stopped = runs[runs["state"] == RunState.STOPPED_EARLY]
    if stopped.empty:
        return None
    share = float(stopped["paid_wall_seconds"].sum() / max(runs["paid_wall_seconds"].sum(), 1e-9))
    text = f"{len(stopped)} runs were stopped early; they took {share:.0%} of the time."
    return Finding(NOTE, "Early stopping", text)


def cost_error(runs: pd.DataFrame) -> Finding | None:
    """Typical factor between predicted and real cost of completed runs."""
    known = runs[(runs["state"] == RunState.COMPLETED) & (runs["predicted_cost"] > 0) & (runs["cost_seconds"] > 0)]
    if len(known) < MIN_PREDICTED:
        return None
    ratio = np.log((known["cost_seconds"] / known["predicted_cost"]).to_numpy())
    factor, bias = math.exp(float(np.median(np.abs(ratio)))), math.exp(float(np.median(ratio)))
    typical = f"Predicted costs are off by a factor of {factor:.2f} (median)"
    text = f"{typical}; runs cost {bias:.2f} times what was predicted."
    if factor < 1.3:
        return Finding(GOOD, "Cost model", text)
    advice = "Costs vary for a reason that no parameter shows: shared machines, or different kinds of GPU."
    return Finding(WARNING, "Cost model", text, advice)


def calibration(runs: pd.DataFrame) -> Finding | None:
    """Rank correlation of predicted and real scores of completed runs, as they were predicted before they ran."""
    known = runs[(runs["state"] == RunState.COMPLETED) & runs["predicted_score"].notna()]
    if len(known) < MIN_PREDICTED or known["score"].nunique() < 2 or known["predicted_score"].nunique() < 2:
        return None
    agreement = float(np.corrcoef(known["predicted_score"].rank(), known["score"].rank())[0, 1])
    scale = "(1 is perfect, 0 is chance)"
    text = f"Scores predicted before the runs and real ones agree in rank by {agreement:.2f} {scale}."
    if agreement >= 0.3:
        return Finding(GOOD, "Predictions", text)
    remedies = "more curve points, more episodes per evaluation, or a smaller space"
    return Finding(WARNING, "Predictions", text, f"The optimiser searches nearly blind. What helps: {remedies}.")


def trust(surrogate: Surrogate) -> Finding:
    r_squared = surrogate.score.r_squared()
    how = "well" if r_squared >= 0.8 else "in part" if r_squared >= 0.2 else "poorly"
    text = f"The model predicts unseen runs {how} (R2 {max(r_squared, 0.0):.2f}, {len(surrogate.score.y)} runs)."
    if r_squared >= 0.5:
        return Finding(GOOD, "Score model", text)
    advice = "Read slices and importance with care. Noisy scores need more evaluation episodes."
    return Finding(NOTE if r_squared >= 0.2 else WARNING, "Score model", text, advice)


def no_effect(importance: pd.DataFrame) -> Finding:
    weak = importance.loc[importance["total_high"] < NO_EFFECT, "parameter"].tolist()
    unknown = importance[importance["total_high"].isna()]
    rare = "".join(f" {row['parameter']}: {row['note']}." for row in unknown.to_dict("records"))
    if not weak:
        every = "Every other parameter" if rare else "Every parameter"
        return Finding(GOOD, "Effects", f"{every} has some effect on the score.{rare}")
    advice = "Fix them in the next sweep: a smaller space is searched faster."
    return Finding(NOTE, "Effects", f"{', '.join(weak)} had no measurable effect on the score.{rare}", advice)


def bounds(hits: Sequence[tuple[str, str]]) -> Finding:
    if not hits:
        return Finding(GOOD, "Bounds", "The best runs lie inside the search space.")
    text = "Half or more of the best runs lie at a bound: " + ", ".join(f"{name} ({side})" for name, side in hits) + "."
    return Finding(WARNING, "Bounds", text, "Widen these bounds: the optimum may lie beyond.")


def leaders(found: Recommendation) -> Finding:
    """Whether the recommended configuration can be told from the second."""
    if found.repeat is None:
        return Finding(GOOD, "Leaders", f"{found.winner.id} leads by enough to matter.")
    return Finding(NOTE, "Leaders", repeat_text(found.repeat), "Repeat both with other seeds before you choose.")
