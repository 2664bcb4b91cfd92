"""How much of a quantity's variation each parameter explains, alone and together with others, with bootstrap intervals.

Functional analysis of variance on the surrogate's posterior mean, points uniform in the search space's own scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metta_sweep.analysis.surrogate import Array, Response, Surrogate, axis_units, features, interval_frame
from searchers import CategoricalParameter, Space
from searchers.sobol import sobol_draws

METHOD = "fANOVA"
BACKGROUND = 128
LEVELS = 12
RESAMPLES = 20
COLUMNS = ("parameter", "main", "main_low", "main_high", "total", "total_low", "total_high")


def fanova(space: Space, response: Response, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Importance of every parameter, strongest total effect first.

    `main` is the share of the variance that the parameter explains alone (first-order Sobol index), `total` with all
    its interactions (total index); `*_low` and `*_high` are the 5 % and 95 % quantiles over bootstrap samples of the
    runs, hyperparameters held.

    Source: Hutter, Hoos and Leyton-Brown 2014, ICML (functional ANOVA of a model's prediction); Jansen 1999, Computer
    Physics Communications 117, 35-43 (estimator of total indices); Sobol 1993.
    """
    background = backdrop(space, rng)
    designs = [design(space, background, name) for name in space.names]
    rows = [features(space, points) for points in designs]
    runs = len(response.y)
    samples = [response, *(response.resampled(rng.integers(0, runs, runs)) for _ in range(resamples))]
    indices = np.array([shares(sample, rows) for sample in samples])  # (1 + resamples, d, 2)
    low, high = np.quantile(indices[1:], [0.05, 0.95], axis=0) if resamples else (indices[0], indices[0])
    table = np.hstack([np.column_stack([indices[0, :, kind], low[:, kind], high[:, kind]]) for kind in (0, 1)])
    frame = pd.DataFrame(table, columns=list(COLUMNS[1:])).assign(parameter=list(space.names))
    return frame[list(COLUMNS)].sort_values("total", ascending=False, kind="stable", ignore_index=True)


def importance_of(surrogate: Surrogate, response: Response, rng: np.random.Generator) -> pd.DataFrame:
    """`fanova` with a column `note`; a parameter that too few runs have comes last, its shares NaN: nobody knows."""
    table = fanova(surrogate.space, response, rng)
    unknown = table["parameter"].map(surrogate.is_unknown)
    table[list(COLUMNS[1:])] = table[list(COLUMNS[1:])].mask(unknown)
    table = table.assign(note=table["parameter"].map(surrogate.says_of))
    return table.sort_values("total", ascending=False, kind="stable", ignore_index=True)


def backdrop(space: Space, rng: np.random.Generator) -> Array:
    """(m, d) points that fill the space evenly: their averages settle far sooner than those of random ones."""
    return space.snap(2.0 * sobol_draws(space.dimension, rng)(BACKGROUND) - 1.0)


def levels(space: Space, name: str) -> tuple[Array, list[Any]]:
    """Unit coordinates and natural values of a parameter's levels: its choices, or the middles of equal cells."""
    parameter = next(one for one in space.parameters if one.name == name)
    if isinstance(parameter, CategoricalParameter):
        return axis_units(space, name, LEVELS)
    # Not by way of a point of the space: at most of them a conditional parameter does not exist.
    unit = (2.0 * np.arange(LEVELS) + 1.0) / LEVELS - 1.0
    natural = parameter.from_unit(unit)
    return parameter.to_unit(natural), [parameter.native(value) for value in natural]


def design(space: Space, background: Array, name: str) -> Array:
    """(levels * m, d): the background with one parameter set to each level in turn, level by level."""
    unit, _ = levels(space, name)
    points = np.tile(background, (len(unit), 1))
    points[:, space.names.index(name)] = np.repeat(unit, len(background))
    return points


def shares(response: Response, rows: Sequence[Array]) -> NDArray[np.float64]:
    """(d, 2) main and total shares of the variance.

    With f over (levels, background): main = Var over levels of the mean over the background; total = mean over the
    background of Var over levels.
    """
    tables = [response.gp.mean(one).reshape(-1, BACKGROUND) for one in rows]
    variance = float(np.mean([table.var() for table in tables]))
    if variance <= 1e-12:
        return np.zeros((len(rows), 2))
    return np.array([(table.mean(axis=1).var() / variance, table.var(axis=0).mean() / variance) for table in tables])


def marginal(space: Space, response: Response, name: str, rng: np.random.Generator) -> pd.DataFrame:
    """Effect of one parameter averaged over the others: columns value, mean, low, high (90 % of average spread).

    A conditional parameter is averaged over the points at which it exists.
    """
    background = backdrop(space, rng)
    _, values = levels(space, name)
    exists = space.active(background)[:, space.names.index(name)]
    background = background[exists] if exists.any() else background
    mean, std = response.predict(features(space, design(space, background, name)))
    means, spread = (one.reshape(-1, len(background)).mean(axis=1) for one in (mean, std))
    return interval_frame(means, spread).assign(value=values)
