"""Every method keeps the contract, and every acquisition of Protein does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from searchers import ProteinConfig, make_searcher
from searchers.searcher import Baseline, grid_points
from tests.contract import CONTRACT, SPACE

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "pareto": ("bayes", {}),
    "best": ("bayes", {"objective": "best", "budget": 5000.0}),
    "target": ("bayes", {"objective": "target", "target_score": 0.5}),
    "front": ("bayes", {"acquisition": "front"}),
    "naive": ("bayes", {"acquisition": "naive"}),
    "random": ("random", {}),
    "sobol": ("sobol", {}),
    "grid": ("grid", {}),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_contract(promise: Callable[[Any], None], variant: str) -> None:
    method, settings = VARIANTS[variant]
    if (method in ("grid",) and promise.__name__ == "same_seed_same_suggestions") or (
        variant == "target" and promise.__name__ == "minimize_mirrors_maximize"
    ):
        pytest.skip("a grid has no seed; a mirrored target has the other sign, see test_protein")
    config = ProteinConfig(**{"num_random_samples": 6, **settings})
    promise(lambda goal, seed: make_searcher(method, SPACE, config, goal=goal, seed=seed))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method: need one of bayes, random, sobol, grid, got 'bays'"):
        make_searcher("bays", SPACE, ProteinConfig(), goal="maximize", seed=0)


def test_the_grid_has_every_choice_and_five_levels() -> None:
    from searchers import Space

    space = Space.from_config(
        {
            "a": {"min": 0.0, "max": 1.0},
            "b": {"choices": ["x", "y"]},
            "n": {"distribution": "int_uniform", "min": 1, "max": 3},
        }
    )
    points = [space.from_unit(point) for point in grid_points(space)]
    assert len(points) == 5 * 2 * 3
    assert {point["a"] for point in points} == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_grid_that_nobody_can_have_meant_is_refused() -> None:
    from searchers import Space, SpaceError

    space = Space.from_config({f"x{i}": {"min": 0.0, "max": 1.0} for i in range(9)})
    with pytest.raises(
        SpaceError, match=f"method: grid has {5**9} points over 9 parameters; fix some of them or use method: sobol"
    ):
        grid_points(space)


@pytest.mark.parametrize("method", ["random", "sobol", "grid"])
def test_a_phase_goes_on_with_what_the_one_before_has_seen(method: str) -> None:
    from searchers import Observation

    searcher = make_searcher(method, SPACE, ProteinConfig(), goal="maximize", seed=1)
    first = searcher.suggest()
    searcher.observe(Observation(first.params, 1.0, 5.0))
    later = searcher.with_phase(SPACE, ProteinConfig())
    assert later.observations == searcher.observations
    assert later.suggest() == searcher.suggest()


def test_a_baseline_suggests_no_point_twice() -> None:
    searcher = Baseline("random", SPACE, "maximize", seed=0)
    first = searcher.suggest()
    again = searcher.suggest(pending=[first.params], number=first.number)
    assert again.params != first.params
