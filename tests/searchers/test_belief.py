"""A written search centre weighs the search, fades with evidence, and counts afresh when a phase moves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from searchers import Observation, Params, Protein, ProteinConfig, Space
from searchers.belief import CentrePrior, since_of
from searchers.distributions import NumericParameter
from searchers.space_config import only_written, parameter_config
from tests.searchers.plain_task import LENGTH

OBJECTIVES: list[dict[str, Any]] = [
    {"objective": "pareto"},
    {"objective": "best", "budget": 20_000.0},
    {"objective": "target", "target_score": 0.5},
]
PHASE_MEANS = (300e6, 1000e6, 1900e6)
PHASE_RUNS = 12


def phase_space(mean: float) -> Space:
    return Space.from_config(
        {
            LENGTH: {"distribution": "int_uniform", "min": 50_000_000, "max": 2_000_000_000, "mean": mean},
            "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2, "mean": 3e-4},
            "gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999},
        }
    )


def long_run(params: Params) -> Observation:
    """A run that scores higher and costs more the longer it is."""
    quality = math.exp(
        -0.3 * (math.log10(float(params["rate"])) + 2.8) ** 2 - 20 * (float(params["gamma"]) - 0.97) ** 2
    )
    steps = float(params[LENGTH])
    return Observation(params, quality * (1.0 - math.exp(-((steps / 6e8) ** 0.7))), 40.0 + steps / 5e6)


def phased_lengths(settings: dict[str, Any], at_once: int) -> list[list[float]]:
    """Training lengths that each phase suggests for its first ten runs, in millions of steps."""
    config, pending = ProteinConfig(num_random_samples=4, **settings), list[Params]()
    phases = [(phase_space(mean), PHASE_RUNS * index) for index, mean in enumerate(PHASE_MEANS)]
    history: list[Observation] = []
    lengths = []
    for space, first in phases:
        protein = Protein(space, config, rng=np.random.default_rng(0), since=since_of(phases, first))
        for observation in history:
            protein.observe(observation)
        suggested = []
        for number in range(first, first + PHASE_RUNS):
            pending.append(protein.suggest(pending, number).params)
            suggested.append(float(pending[-1][LENGTH]) / 1e6)
            while len(pending) >= at_once:
                history.append(long_run(pending.pop(0)))
                protein.observe(history[-1])
        lengths.append(suggested[:10])
    return lengths


@pytest.mark.parametrize(
    ("settings", "at_once"), [*((settings, 1) for settings in OBJECTIVES), (OBJECTIVES[0], 6)], ids=str
)
def test_the_first_ten_runs_of_each_phase_follow_its_mean(settings: dict[str, Any], at_once: int) -> None:
    medians = [float(np.median(lengths)) for lengths in phased_lengths(settings, at_once)]
    assert np.abs(np.array(medians) - np.array(PHASE_MEANS) / 1e6).max() < 200


def space_around(mean: float | None, kind: str | None = None) -> Space:
    parameters: dict[str, dict[str, Any]] = {"x": {"min": 0.0, "max": 1.0}, "kind": {"choices": ["a", "b", "c"]}}
    parameters["x"] |= {} if mean is None else {"mean": mean}
    parameters["kind"] |= {} if kind is None else {"mean": kind}
    return Space.from_config(parameters)


def after_flat_runs(space: Space, runs: int) -> Protein:
    """A search that has seen scores that say nothing about where to look."""
    protein = Protein(space, ProteinConfig(num_random_samples=2, objective="best"), rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for _ in range(runs):
        protein.observe(Observation({"x": rng.random(), "kind": str(rng.choice(["a", "b", "c"]))}, rng.random(), 10.0))
    return protein


def spread(protein: Protein, mean: float) -> float:
    """Mean distance of the next suggestions from a centre."""
    first = len(protein.observations)
    return float(np.mean([abs(float(protein.suggest(number=first + k).params["x"]) - mean) for k in range(6)]))


def test_a_written_centre_draws_suggestions_and_fades_with_the_number_of_runs() -> None:
    space = space_around(0.9)
    strengths = [
        CentrePrior(space, since={"x": 5}).weights(after_flat_runs(space, runs)._models, runs).strength[1]
        for runs in (15, 20, 35, 60)
    ] + [CentrePrior(space).weights(after_flat_runs(space, 5)._models, 120).strength[1]]
    assert strengths[0] == 1.0
    assert all(later <= earlier for earlier, later in pairwise(strengths))
    assert 0 < strengths[3] < 0.1 < strengths[2] < strengths[1] < 1.0
    assert strengths[4] == 0.0


def test_runs_that_contradict_a_centre_take_its_weight_away_at_once() -> None:
    space = space_around(0.0)
    agreeing, contradicting = after_flat_runs(space, 0), after_flat_runs(space, 0)
    for x in (0.0, 0.3, 0.6, 1.0):
        agreeing.observe(Observation({"x": x, "kind": "a"}, -x, 10.0))
        contradicting.observe(Observation({"x": x, "kind": "a"}, x, 10.0))
    belief = CentrePrior(space)
    assert belief.weights(agreeing._models, 4).strength[1] == 1.0
    assert belief.weights(contradicting._models, 4).strength[1] < 0.1


def test_a_centre_that_nobody_wrote_weighs_nothing() -> None:
    assert not CentrePrior(space_around(None)).weights(after_flat_runs(space_around(None), 3)._models, 3)
    written: list[dict[str, Any]] = [
        {"mean": 0.5},
        {"scale": 0.5},
        {"scale": 0.2},
        {},
        {"mean": None},
        {"scale": "auto"},
    ]
    believed = [Space.from_config({"x": {"min": 0.0, "max": 1.0, **leaf}}).is_believed[0] for leaf in written]
    assert believed == [True, True, True, False, False, False]


@pytest.mark.parametrize("space", [space_around(None), space_around(0.5), space_around(0.2, "b")])
def test_what_is_believed_is_kept_where_a_space_is_written_and_read(space: Space) -> None:
    again = Space.from_config(space.to_config())
    assert again == space
    assert again.is_believed.tolist() == space.is_believed.tolist()


def test_a_phase_that_moves_a_centre_moves_it_afresh_and_leaves_the_others_faded() -> None:
    first, moved = space_around(0.1, "a"), space_around(0.9, "a")
    assert since_of([(first, 0), (moved, 40)], 40) == {"x": 40, "kind": 0}
    assert since_of([(first, 0), (moved, 40)], 0) == {"x": 0, "kind": 0}
    assert since_of([(first, 0)], 0) == {}
    assert since_of([(first, 0), (first, 20), (moved, 40), (moved, 50)], 50) == {"x": 40, "kind": 0}
    protein = after_flat_runs(first, 40).with_phase(moved, ProteinConfig())
    kind, x = protein._prior.weights(protein._models, 42).strength
    assert (x, kind < 0.1) == (1.0, True)


def test_a_phase_that_moves_a_centre_of_any_parameter_is_followed() -> None:
    protein = after_flat_runs(space_around(0.1), 30)
    followed = protein.with_phase(space_around(0.9), protein.config)
    assert spread(followed, 0.9) < 0.5 * spread(protein, 0.9)


NAMES = ("a", "b", "c", "d", "e")
BEST = np.array([0.6, -0.5, 0.7, -0.6, 0.5])


def runs_to_near_best(centre: Sequence[float] | None, seed: int) -> int:
    """How many runs a sweep needs until one is close to the best point of a bowl."""
    written: list[dict[str, float]] = [{}] * len(NAMES) if centre is None else [{"mean": value} for value in centre]
    space = Space.from_config(
        {name: {"min": -1.0, "max": 1.0, **leaf} for name, leaf in zip(NAMES, written, strict=True)}
    )
    protein = Protein(space, ProteinConfig(objective="best", random_suggestions=64), rng=np.random.default_rng(seed))
    rng = np.random.default_rng([seed, 1])
    for count in range(1, 60):
        params = protein.suggest().params
        distance = float(((np.array([float(params[name]) for name in NAMES]) - BEST) ** 2).sum())
        if distance < 0.1:
            return count
        protein.observe(Observation(params, -distance + 0.02 * rng.standard_normal(), 10.0))
    return 60


def test_a_good_centre_saves_a_fifth_and_one_at_a_corner_costs_little() -> None:
    seeds = range(4)
    without, good, corner = (
        [runs_to_near_best(centre, seed) for seed in seeds]
        for centre in (None, list(0.8 * BEST), [-1.0, 1.0, -1.0, 1.0, -1.0])
    )
    assert np.mean(good) < 0.8 * np.mean(without)
    assert np.mean(corner) < 1.35 * np.mean(without)  # 1.2 here; the start in the middle is a good one


@pytest.mark.parametrize(
    "written",
    [
        {"distribution": "log_normal", "min": 1e-4, "max": 1e-1},
        {"distribution": "uniform", "min": 0, "max": 1, "mean": 0.3},
        {"distribution": "int_uniform", "min": 1, "max": 8, "scale": 0.1},
        {"distribution": "uniform_pow2", "min": 16, "max": 1024},
        {"choices": ["a", "b"]},
        {"choices": [True, 1], "mean": 1},
    ],
)
def test_a_centre_that_an_earlier_version_stored_without_being_told_is_none(written: dict[str, Any]) -> None:
    (parameter,) = Space.from_config({"x": written}).parameters
    stored = parameter_config(parameter) | {"mean": parameter.mean}  # as it was: always with a centre
    if isinstance(parameter, NumericParameter):
        stored |= {"mean": parameter.native(parameter.mean), "scale": parameter.scale}
    assert only_written(stored) == only_written(parameter_config(parameter))
    assert ("mean" in only_written(stored)) is ("mean" in written)
