"""How strongly each parameter goes along with score or cost: rank correlation, blind to humps and interactions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from metta_sweep.analysis.frame import PARAM, is_number, varying_params

METHOD = "rank correlation"
MIN_RUNS = 3  # two points always lie on a line
MIN_ACTIVE = 6  # of a parameter that only some runs have; as many as a model needs, so that both say the same
COLUMNS = ("parameter", "importance", "correlation", "num_runs", "method")


def importance(runs: pd.DataFrame, target: str = "score") -> pd.DataFrame:
    """Importance of each varying parameter, strongest first.

    Numbers: absolute Spearman correlation, with its sign in `correlation`. Texts and booleans: correlation ratio eta of
    the target's ranks over the choices, which has no sign, so `correlation` is NaN. Both lie in [0, 1].

    Args:
        target: a numeric column, such as `score`, `cost_seconds` or `metric.<name>`.

    Returns:
        Columns `COLUMNS`. A parameter with fewer than `MIN_RUNS` runs, or whose runs all have the same target, is left
        out; one that only some runs have, fewer than `MIN_ACTIVE`, stands last with NaN.

    Source: Spearman 1904, American Journal of Psychology 15, 72-101; Fisher 1925, Statistical Methods for Research
    Workers (eta).
    """
    rows = []
    num_runs = int(runs[target].notna().sum())
    for name in varying_params(runs):
        pair = runs[[name, target]].dropna()
        if len(pair) < min(MIN_ACTIVE, num_runs):
            rows.append((name.removeprefix(PARAM), math.nan, math.nan, len(pair), METHOD))
            continue
        if len(pair) < MIN_RUNS or pair[target].nunique() < 2 or pair[name].nunique() < 2:
            continue
        ranks = pair[target].rank().to_numpy()
        if is_number(pair[name].infer_objects()):
            correlation = float(np.corrcoef(pair[name].rank().to_numpy(), ranks)[0, 1])
            strength = abs(correlation)
        else:
            correlation, strength = math.nan, correlation_ratio(pair[name].astype(str), ranks)
        rows.append((name.removeprefix(PARAM), strength, correlation, len(pair), METHOD))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def correlation_ratio(groups: pd.Series[str], values: np.ndarray) -> float:
    """eta = sqrt(variance between group means / total variance), in [0, 1]; `values` is (n,) and not constant."""
    centred = pd.Series(values - values.mean(), index=groups.index)
    sums = centred.groupby(groups).agg(["sum", "count"])
    between = float((sums["sum"] ** 2 / sums["count"]).sum())
    return math.sqrt(between / float((centred**2).sum()))
