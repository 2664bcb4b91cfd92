"""Search spaces of Ray Tune in the hands of ProteinSearch: searched in their own shape, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchers import SpaceError
from searchers.ray_search import ProteinSearch, ResultKeys


def space_of_tune() -> dict[str, Any]:
    tune = pytest.importorskip("ray.tune")
    return {
        "rate": tune.loguniform(1e-5, 1e-1),
        "trainer": {
            "gamma": tune.uniform(0.8, 0.999),
            "steps": tune.lograndint(10, 1001),
            "layers": tune.randint(1, 4),
            "clip": tune.quniform(0.1, 0.4, 0.1),
            "width": tune.qrandint(16, 64, 16),
            "decay": tune.qloguniform(1e-3, 1e-1, 1e-3),
            "constant": "kept",
        },
        "sizes": [32, tune.choice([32, 64]), {"deep": tune.choice([None, (1, 2), int])}],
        "flag": tune.choice([True, False]),
        "only": tune.choice(["one"]),
    }


def of_tune(**settings: Any) -> ProteinSearch:
    search = ProteinSearch(keys=ResultKeys(cost="cost"), **settings)
    assert search.set_search_properties("score", "max", space_of_tune())
    return search


def test_a_search_space_of_tune_is_searched_in_its_own_shape() -> None:
    search = of_tune(method="random")
    configs = []
    for number in range(200):
        configs.append(search.suggest(f"t{number}"))
        search._live.clear()  # random points need not keep away from each other
    trainers = [config["trainer"] for config in configs]
    assert all(set(config) == {"rate", "trainer", "sizes", "flag", "only"} for config in configs)
    assert all(1e-5 <= config["rate"] <= 1e-1 for config in configs)
    assert np.median([config["rate"] for config in configs]) < 1e-2  # of the logarithm
    assert {trainer["layers"] for trainer in trainers} == {1, 2, 3}  # the upper bound is excluded, as Tune says
    assert max(trainer["steps"] for trainer in trainers) <= 1000
    assert {trainer["clip"] for trainer in trainers} == {0.1, 0.2, 0.3, 0.4}
    assert {trainer["width"] for trainer in trainers} == {16, 32, 48, 64}  # multiples include it
    assert all(abs(trainer["decay"] * 1000 - round(trainer["decay"] * 1000)) < 1e-9 for trainer in trainers)
    assert {trainer["constant"] for trainer in trainers} == {"kept"}
    assert {config["only"] for config in configs} == {"one"}
    assert {config["sizes"][0] for config in configs} == {32}
    assert {config["sizes"][1] for config in configs} == {32, 64}
    assert {config["sizes"][2]["deep"] for config in configs} == {None, (1, 2), int}
    assert {config["flag"] for config in configs} == {True, False}
    whole = {name for name, value in trainers[0].items() if isinstance(value, int)}
    assert whole == {"steps", "layers", "width"}


def test_a_point_of_the_past_in_the_shape_of_the_space_is_one_of_ours() -> None:
    search = of_tune()
    config = search.suggest("t")
    search.add_evaluated_point(config, 1.0)
    search.add_evaluated_point({"trainer.width": 32, "flag": False}, 2.0)
    assert search._history[0].params == search._live["t"].params
    assert search._history[1].params == {"trainer.width": 2, "flag": False}


def test_the_space_may_be_given_to_the_constructor() -> None:
    search = ProteinSearch(space_of_tune())
    assert set(search.suggest("t")) == {"rate", "trainer", "sizes", "flag", "only"}
    assert search.set_search_properties("score", "max", {})


@pytest.mark.parametrize(
    ("make_value", "text"),
    [
        (lambda tune: tune.sample_from(lambda spec: 1), "tune.sample_from draws by a function"),
        (lambda tune: tune.grid_search([1, 2]), "goes through values one by one"),
        (lambda tune: tune.choice([{"a": 1}, {"a": 2}]), "has no hash"),
        (lambda tune: tune.choice([[1], [2]]), "has no hash"),
        (lambda tune: tune.choice([]), "nothing to choose from"),
        (lambda tune: tune.choice([tune.uniform(0, 1), 2]), "a choice among distributions"),
        (lambda tune: tune.choice([1, 1]), "a value stands twice"),
        (lambda tune: tune.randn(0, 1), "no bounds"),
        (lambda tune: tune.uniform(1, 0), "max"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_its_name(make_value: Any, text: str) -> None:
    tune = pytest.importorskip("ray.tune")
    with pytest.raises(SpaceError, match=text) as caught:
        ProteinSearch().set_search_properties("score", "max", {"deep": [{"x": make_value(tune)}]})
    assert "deep.0.x" in str(caught.value)


def test_two_places_of_one_name_and_no_space_at_all_are_refused() -> None:
    tune = pytest.importorskip("ray.tune")
    with pytest.raises(SpaceError, match=r"param_space.a.b: two places have this name"):
        ProteinSearch({"a": {"b": tune.uniform(0, 1)}, "a.b": tune.uniform(0, 1)})
    with pytest.raises(SpaceError, match="nothing in it is searched"):
        ProteinSearch().set_search_properties("score", "max", {"lr": 1e-3})
    with pytest.raises(SpaceError, match="needs a Tuner"):
        ProteinSearch().suggest("t")


def test_a_restored_search_waits_for_its_own_param_space(tmp_path: Path) -> None:
    search = of_tune()
    search.suggest("t")
    search.on_trial_complete("t", {"score": 1.0, "cost": 1.0})
    search.save(str(tmp_path / "state.json"))
    restored = ProteinSearch()
    restored.restore(str(tmp_path / "state.json"))
    with pytest.raises(SpaceError, match="needs a Tuner"):
        restored.suggest("u")
    with pytest.raises(SpaceError, match="another one"):
        restored.set_search_properties("score", "max", {"rate": space_of_tune()["rate"]})
    restored.set_search_properties("score", "max", space_of_tune())
    assert restored.suggest("u") == search.suggest("u")
