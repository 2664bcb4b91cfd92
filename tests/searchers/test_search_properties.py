"""Property tests: whatever the space and the history, a suggestion is legal; what must not matter, does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchers import FailureKind, Observation, ObservationError, Origin, Protein, ProteinConfig, Space

SETTINGS = settings(deadline=None, max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
FEW = settings(deadline=None, max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(
        st.sampled_from(
            ["uniform", "log_normal", "logit_normal", "int_uniform", "int_log_normal", "uniform_pow2", "categorical"]
        )
    )
    if kind == "categorical":
        return {"choices": draw(st.sampled_from([["a", "b"], [True, False], [1, 2.5, "x"], [0, 1, 2, 3]]))}
    if kind == "uniform_pow2":
        power = draw(st.integers(0, 6))
        return {"distribution": kind, "min": 2**power, "max": 2 ** (power + draw(st.integers(1, 8)))}
    if kind in ("int_uniform", "int_log_normal"):
        whole = draw(st.integers(1, 50))
        return {"distribution": kind, "min": whole, "max": whole + draw(st.integers(1, 1000))}
    if kind == "logit_normal":
        low = draw(st.floats(1e-4, 0.9))
        return {"distribution": kind, "min": low, "max": draw(st.floats(low + 0.01, 0.9999))}
    low = draw(st.floats(1e-6, 1e3))
    return {
        "distribution": kind,
        "min": low,
        "max": low * draw(st.floats(1.5, 1e4)),
        "scale": draw(st.sampled_from(["auto", 0.1, "time"])),
    }


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    config = {f"p{i}": draw(leaves()) for i in range(draw(st.integers(1, 5)))}
    if draw(st.booleans()):
        config["trainer.total_timesteps"] = {"distribution": "int_log_normal", "min": 1000, "max": 30_000}
    choices = config["p0"].get("choices")
    if choices and isinstance(choices[0], str) and "p1" in config:
        config["p1"] = {**config["p1"], "when": f"p0 == {choices[0]}"}
    numeric = [name for name, leaf in config.items() if "min" in leaf]
    constraints = [f"{numeric[0]} <= {numeric[0]} + 0 * {numeric[-1]}"] if numeric else []
    if len(numeric) >= 2 and draw(st.booleans()):
        middle = [math.sqrt(config[name]["min"] * config[name]["max"]) for name in (numeric[0], numeric[-1])]
        constraints.append(f"{numeric[0]} / {middle[0]!r} <= 1.5 * {numeric[-1]} / {middle[1]!r}")
    return Space.from_config(config, constraints)


SCORES = st.sampled_from([0.0, 1.0, -3.5, 1e-300, 1e12, -1e12, math.nan, math.inf, -math.inf, 0.1, 0.2, 0.3, 7.0])
COSTS = st.sampled_from([1e-9, 1.0, 1.0, 10.0, 300.0, 1e9, 0.0, math.nan, math.inf])


def observation(params: Any, score: float, cost: float, kind: int) -> Observation | None:
    """A run as a careless caller would report it; what cannot be true is refused at construction."""
    try:
        if kind == 0:
            return Observation.failed(params, cost, FailureKind.HYPERPARAMETERS)
        if kind == 1:
            return Observation.failed(params, cost, FailureKind.INFRASTRUCTURE)
        return Observation(params, score, cost)
    except ObservationError:
        return None


@SETTINGS
@given(
    space=spaces(),
    objective=st.sampled_from(["pareto", "best", "target", "naive", "logei"]),
    goal=st.sampled_from(["maximize", "minimize"]),
    reports=st.lists(st.tuples(SCORES, COSTS, st.integers(0, 5), st.booleans()), max_size=14),
    cap=st.sampled_from([None, 5.0]),
    seed=st.integers(0, 2**31),
)
def test_any_history_over_any_space_yields_a_legal_new_point(
    space: Space, objective: str, goal: Any, reports: list[tuple[float, float, int, bool]], cap: float | None, seed: int
) -> None:
    chosen = {"acquisition": objective} if objective in ("naive", "logei") else {"objective": objective}
    target = {"target_score": 0.5} if objective == "target" else {}
    config = ProteinConfig(num_random_samples=3, max_suggestion_cost=cap, random_suggestions=32, **chosen, **target)
    protein = Protein(space, config, goal, rng=np.random.default_rng(seed))
    seen: set[bytes] = set()
    for score, cost, kind, repeat in reports:
        suggestion = protein.suggest()
        assert_legal(space, suggestion, seen)
        report = observation(suggestion.params, score, cost, kind)
        for _ in range(2 if repeat else 1):
            if report is not None:
                protein.observe(report)
                if report.failure is not FailureKind.INFRASTRUCTURE:
                    seen.add(space.to_unit(suggestion.params).tobytes())
    assert_legal(space, protein.suggest(), seen)


def assert_legal(space: Space, suggestion: Any, seen: set[bytes]) -> None:
    assert space.contains(suggestion.params), suggestion.params
    is_repeat = space.to_unit(suggestion.params).tobytes() in seen
    if is_repeat:
        # A fallback may stand on the cheapest point again when nothing at all is affordable.
        assert suggestion.explanation.origin in (Origin.REPLICATE, Origin.FALLBACK)


def bowl(point: np.ndarray) -> float:
    return float(1.0 - ((point - 0.2) ** 2).sum())


@FEW
@given(
    seed=st.integers(0, 1000),
    factor=st.sampled_from([1e-3, 0.3, 7.0, 1e4]),
    shift=st.sampled_from([-10.0, 0.0, 55.0]),
    unit=st.sampled_from([1e-3, 60.0]),
)
def test_units_of_scores_costs_and_parameters_change_no_suggestion(
    seed: int, factor: float, shift: float, unit: float
) -> None:
    def config(scale: float) -> dict[str, Any]:
        return {
            "rate": {"distribution": "log_normal", "min": 1e-5 * scale, "max": 1e-2 * scale},
            "width": {"min": 1.0 * scale, "max": 5.0 * scale},
            "kind": {"choices": ["a", "b"]},
        }

    spaces_ = Space.from_config(config(1.0)), Space.from_config(config(unit))
    proteins = [Protein(s, ProteinConfig(num_random_samples=4), rng=np.random.default_rng(seed)) for s in spaces_]
    for _ in range(11):
        points = [s.to_unit(p.suggest().params) for s, p in zip(spaces_, proteins, strict=True)]
        np.testing.assert_allclose(points[0], points[1], atol=1e-6)
        score, cost = bowl(points[0]), 10.0 + float(points[0].sum())
        proteins[0].observe(Observation(spaces_[0].from_unit(points[0]), score, cost))
        proteins[1].observe(Observation(spaces_[1].from_unit(points[1]), factor * score + shift, unit * cost))


@FEW
@given(seed=st.integers(0, 1000))
def test_the_order_of_parameters_in_the_file_changes_nothing(seed: int) -> None:
    config = {
        "b": {"min": 0.0, "max": 1.0},
        "a": {"choices": ["x", "y"]},
        "c": {"distribution": "int_uniform", "min": 1, "max": 9},
    }
    histories = []
    for names in (["a", "b", "c"], ["c", "a", "b"]):
        space = Space.from_config({name: config[name] for name in names})
        protein = Protein(space, ProteinConfig(num_random_samples=4), rng=np.random.default_rng(seed))
        params = []
        for _ in range(9):
            params.append(protein.suggest().params)
            protein.observe(Observation(params[-1], bowl(space.to_unit(params[-1])), 3.0))
        histories.append(params)
    assert histories[0] == histories[1]


@FEW
@given(seed=st.integers(0, 1000))
def test_minimise_mirrors_maximise_exactly(seed: int) -> None:
    space = Space.from_config(
        {"x": {"min": 0.0, "max": 1.0}, "y": {"distribution": "log_normal", "min": 1.0, "max": 50.0}}
    )
    up, down = (
        Protein(space, ProteinConfig(num_random_samples=3), goal, rng=np.random.default_rng(seed))
        for goal in ("maximize", "minimize")
    )
    for _ in range(10):
        suggestion = up.suggest()
        assert suggestion == down.suggest()
        score = bowl(space.to_unit(suggestion.params))
        up.observe(Observation(suggestion.params, score, 5.0))
        down.observe(Observation(suggestion.params, -score, 5.0))


@settings(deadline=None, max_examples=50, derandomize=True, suppress_health_check=list(HealthCheck))
@given(space=spaces(), seed=st.integers(0, 2**31))
def test_points_survive_the_way_to_natural_values_and_back(space: Space, seed: int) -> None:
    points = space.sample(20, lambda count: np.random.default_rng(seed).uniform(-1, 1, (count, space.dimension)))
    for point in points:
        assert space.to_unit(space.from_unit(point)).tobytes() == point.tobytes()
