"""What takes seconds to work out, in a thread of its own: surrogate, importance, findings.

Keyed by the number of results.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from metta_sweep.analysis.fanova import importance_of, marginal
from metta_sweep.analysis.health import Finding, check_model, front_hits, with_effect
from metta_sweep.analysis.recommend import Recommendation, recommend
from metta_sweep.analysis.searched_space import searched_space
from metta_sweep.analysis.surrogate import Surrogate, fit_surrogate, predicted_front
from metta_sweep.dashboard.snapshot import Snapshot

logger = logging.getLogger(__name__)

SEED = 0
# With many results a few new ones change nothing that one can see.
REDO_SHARE = 0.02
MAX_MARGINALS = 6


@dataclass(frozen=True, slots=True)
class Fit:
    """What was worked out about one sweep.

    Attributes:
        num_results: results behind it.
        surrogate: None when there are too few completed runs, or no search space is known.
        importance: of each parameter for "score" and for "cost", as `analysis.fanova.fanova` gives it.
        marginals: effect of the most important parameters on the score, by dotted path.
        front: predicted front, as `analysis.surrogate.predicted_front` gives it.
        hits: bounds that the best runs crowd at, as `analysis.surrogate.bounds_hit` gives them.
        findings: about the model.
        recommendation: the configuration to use, of all runs whatever the view keeps; None before there is a score.
    """

    num_results: int
    surrogate: Surrogate | None
    importance: Mapping[str, pd.DataFrame]
    marginals: Mapping[str, pd.DataFrame]
    front: pd.DataFrame
    hits: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    recommendation: Recommendation | None = None

    @classmethod
    def without_model(cls, snapshot: Snapshot) -> Fit:
        """All that there is without a surrogate."""
        found = recommend(snapshot.all_runs, snapshot.spec)
        return cls(count_results(snapshot), None, {}, {}, pd.DataFrame(), (), (), found)


def fit(snapshot: Snapshot) -> Fit:
    """Work everything out; the same snapshot gives the same fit."""
    num_results = count_results(snapshot)
    space = searched_space(snapshot.spec)
    surrogate = fit_surrogate(snapshot.runs, space, snapshot.goal) if space is not None else None
    if surrogate is None:
        return Fit.without_model(snapshot)
    rng = np.random.default_rng(SEED)
    importance = {
        "score": importance_of(surrogate, surrogate.score, rng),
        "cost": importance_of(surrogate, surrogate.log_cost, rng),
    }
    leading = [name for name in importance["score"]["parameter"] if not surrogate.is_unknown(name)][:MAX_MARGINALS]
    marginals = {name: marginal(surrogate.space, surrogate.score, name, rng) for name in leading}
    front = predicted_front(surrogate, rng)
    hits = with_effect(front_hits(snapshot.runs, surrogate), importance["score"])
    found = recommend(snapshot.all_runs, snapshot.spec)
    findings = check_model(surrogate, importance["score"], hits, found)
    return Fit(num_results, surrogate, importance, marginals, front, hits, tuple(findings), found)


def count_results(snapshot: Snapshot) -> int:
    return int((snapshot.runs["sequence"] > 0).sum())


class BackgroundFits:
    """BackgroundFits by sweep, made in the background one after the other.

    Safe to use from any thread; `close` ends its own.
    """

    def __init__(self) -> None:
        self._done: dict[str, Fit] = {}
        self._asked: set[str] = set()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Snapshot | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="dashboard-fits", daemon=True)
        self._thread.start()

    def get(self, snapshot: Snapshot) -> Fit | None:
        """The newest fit of this sweep, which may be a few results old; None while the first is being made."""
        name = snapshot.sweep.name
        with self._lock:
            known = self._done.get(name)
            is_old = known is None or count_results(snapshot) - known.num_results > REDO_SHARE * known.num_results
            if is_old and name not in self._asked and (known is None or count_results(snapshot) != known.num_results):
                self._asked.add(name)
                self._queue.put(snapshot)
        return known

    def version(self, sweep: str) -> int:
        """Results behind the newest fit of this sweep, -1 before there is one."""
        with self._lock:
            return self._done[sweep].num_results if sweep in self._done else -1

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (snapshot := self._queue.get()) is not None:
            name = snapshot.sweep.name
            try:
                result = fit(snapshot)
            except (np.linalg.LinAlgError, ValueError) as error:
                logger.warning("%s: no surrogate: %s", name, error)
                result = Fit.without_model(snapshot)
            with self._lock:
                self._done[name] = result
                self._asked.discard(name)
