"""ProteinSearch in the hands of Tune: its contract call by call, and one real sweep."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchers import FailureKind, Observation, Space, SpaceError, StateError
from searchers.ray_search import ProteinSearch, ResultKeys
from searchers.tune_space import flatten, unflatten
from tests.ray_token import use_ray_token

CONFIG: dict[str, Any] = {
    "trainer": {
        "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1},
        "layers": {"distribution": "int_uniform", "min": 1, "max": 4},
    },
    "model.kind": {"choices": ["a", "b"]},
}


def make(**settings: Any) -> ProteinSearch:
    return ProteinSearch(
        CONFIG, {"num_random_samples": 4}, metric="score", mode="max", keys=ResultKeys(cost="cost"), **settings
    )


def score(config: dict[str, Any]) -> float:
    return float(-config["trainer"]["layers"] + (config["model"]["kind"] == "b"))


def play(search: ProteinSearch, first: int, count: int, sign: float = 1.0) -> list[dict[str, Any]]:
    configs = []
    for number in range(first, first + count):
        config = search.suggest(f"t{number}")
        search.on_trial_result(
            trial_id=f"t{number}", result={"score": sign * score(config), "cost": 1.0, "env_steps": 10}
        )
        search.on_trial_complete(
            trial_id=f"t{number}", result={"score": sign * score(config), "cost": 2.0, "env_steps": 20}, error=False
        )
        configs.append(config)
    return configs


def test_suggestions_are_nested_or_dotted() -> None:
    assert set(make().suggest("a")) == {"trainer", "model"}
    assert set(make(nested=False).suggest("a")) == {"trainer.rate", "trainer.layers", "model.kind"}


def test_nested_and_dotted_are_inverse() -> None:
    flat = {"a.b.c": 1, "a.d": "x", "e": True}
    assert flatten(unflatten(flat)) == flat


def test_a_result_becomes_an_observation_with_its_curve_and_cost() -> None:
    search = make()
    play(search, 0, 1)
    observation = search._history[0]
    assert observation.cost_seconds == 2.0
    assert [(point.env_steps, point.seconds) for point in observation.curve] == [(10, 1.0), (20, 2.0)]


def test_mode_min_mirrors_mode_max() -> None:
    low = ProteinSearch(CONFIG, {"num_random_samples": 4}, metric="score", mode="min", keys=ResultKeys(cost="cost"))
    assert play(make(), 0, 9) == play(low, 0, 9, sign=-1.0)


def test_save_and_restore_continue_identically(tmp_path: Path) -> None:
    search = make()
    play(search, 0, 7)
    search.suggest("pending")
    search.save(str(tmp_path / "state.pkl"))
    restored = ProteinSearch({"other": {"min": 0, "max": 1}})
    restored.restore(str(tmp_path / "state.pkl"))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pkl"]
    assert play(restored, 10, 5) == play(search, 10, 5)


def test_a_pickled_copy_continues_identically() -> None:
    search = make()
    play(search, 0, 6)
    copy = pickle.loads(pickle.dumps(search))
    assert play(copy, 10, 3) == play(search, 10, 3)


def test_a_failed_trial_is_a_failure_with_its_cost() -> None:
    search = make()
    search.suggest("t")
    search.on_trial_result("t", {"score": 1.0, "cost": 30.0})
    search.on_trial_complete("t", result=None, error=True)
    assert search._history[0].score is None
    assert search._history[0].failure is FailureKind.HYPERPARAMETERS
    assert search._history[0].cost_seconds == 30.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "text"])
def test_a_score_that_is_no_number_is_a_failure(value: Any) -> None:
    search = make()
    search.suggest("t")
    search.on_trial_complete("t", result={"score": value, "cost": 1.0, "failure": "infrastructure"})
    assert search._history[0].failure is FailureKind.INFRASTRUCTURE


def test_trials_of_another_session_are_ignored() -> None:
    search = make()
    search.on_trial_result("unknown", {"score": 1.0})
    search.on_trial_complete("unknown", result={"score": 1.0})
    assert search._history == []


def test_metric_and_mode_may_come_from_the_tune_config() -> None:
    search = ProteinSearch(CONFIG, keys=ResultKeys(cost="cost"))
    assert search.set_search_properties("score", "min", {})
    play(search, 0, 2)
    assert search._history[0].score is not None
    assert search._models().goal == "minimize"  # type: ignore[attr-defined]


def test_metric_and_mode_of_the_constructor_stay() -> None:
    search = make()
    assert search.set_search_properties("other", "min", {})
    play(search, 0, 1)
    assert search._history[0].score is not None
    assert search._models().goal == "maximize"  # type: ignore[attr-defined]


def test_a_second_search_space_is_refused() -> None:
    tune = pytest.importorskip("ray.tune")
    with pytest.raises(SpaceError, match="leave Tune's distributions out"):
        make().set_search_properties("score", "max", {"x": tune.uniform(0, 1)})


def test_distributions_of_tune_are_found_wherever_they_lie() -> None:
    tune = pytest.importorskip("ray.tune")
    config = {
        "model": {"lr": tune.loguniform(1e-5, 1e-1), "width": 64},
        "layers": [32, tune.choice([32, 64])],
        "pair": ({"deep": tune.grid_search([1, 2])},),
        "sampled": tune.sample_from(lambda spec: 1),
        "text": {"eval": "1 + 1"},
        "quantised": tune.quniform(0, 1, 0.1),
    }
    with pytest.raises(SpaceError) as caught:
        make().set_search_properties("score", "max", config)
    names = [problem.split(":")[0] for problem in caught.value.problems]
    assert names == [
        f"param_space.{name}" for name in ("model.lr", "layers.1", "pair.0.deep", "sampled", "text", "quantised")
    ]


def test_what_only_looks_like_a_distribution_is_a_constant() -> None:
    class Box:
        def sample(self) -> float:
            return 0.0

    assert make().set_search_properties(
        "score", "max", {"space": Box(), "grid": {"grid_search": [1], "more": 2}, "layers": [64, 64]}
    )


@pytest.mark.parametrize("value", [True, np.float16(0.5), np.bool_(True), np.array(1.0)])
def test_a_score_of_any_numeric_type_is_a_score(value: Any) -> None:
    search = make()
    search.suggest("t")
    search.on_trial_complete("t", result={"score": value, "cost": np.float32(2.0), "env_steps": np.int64(5)})
    assert search._history[0].score == float(value)


@pytest.mark.parametrize("value", [10**400, -1.8e307, [1.0], {"a": 1}, np.array([1.0, 2.0])])
def test_a_score_that_cannot_be_one_is_a_failure(value: Any) -> None:
    search = make()
    search.suggest("t")
    search.on_trial_complete("t", result={"score": value, "cost": 10**400})
    assert search._history[0].failure is FailureKind.HYPERPARAMETERS


def test_points_of_the_past_are_no_work_until_a_suggestion_is_asked_for() -> None:
    search = make()
    for number in range(300):
        search.add_evaluated_point({"trainer": {"rate": 1e-3, "layers": 1 + number % 4}}, float(number))
    assert search._searcher is None  # nothing was fitted
    search.suggest("t")
    assert len(search._models().observations) == 300  # type: ignore[attr-defined]


def test_a_pruned_point_is_stopped_early_and_keeps_its_curve() -> None:
    search = make()
    search.add_evaluated_point({"trainer.rate": 1e-3}, 3.0, pruned=True, intermediate_values=[1.0, 3.0])
    search.add_evaluated_point({"trainer.rate": 1e-3}, 4.0)
    search.add_evaluated_point({"trainer.rate": 1e-3}, 0.0, error=True)
    assert [observation.outcome for observation in search._history] == ["stopped_early", "completed", "failed"]
    assert [(point.env_steps, point.score) for point in search._history[0].curve] == [(1, 1.0), (2, 3.0)]


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_restoring_runs_nothing_that_stands_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 5):
        (tmp_path / "state").write_bytes(pickle.dumps({"_seed": Evil()}, protocol))
        with pytest.raises(StateError, match="state: "):
            make().restore("state")
    assert not (tmp_path / "ran").exists()


def test_a_file_of_an_earlier_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(make().__getstate__()))
    with pytest.raises(
        StateError, match=r"old\.pkl: a pickle, as earlier versions wrote it.*add_evaluated_point or observe"
    ):
        make().restore(str(tmp_path / "old.pkl"))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace("ProteinSearch 1", "ProteinSearch 9"),
        lambda text: text.replace('"history"', '"histories"'),
        lambda text: text.replace('"outcome": "completed"', '"outcome": "done"'),
        lambda text: text.replace('"cost": 1.0', '"cost": 1.0, "distribution": "made_up"').replace(
            '"log_normal"', '"made_up"'
        ),
    ],
)
def test_a_file_that_is_no_saved_search_is_refused_by_name(tmp_path: Path, change: Any) -> None:
    search = make()
    play(search, 0, 2)
    search.save(str(tmp_path / "state"))
    (tmp_path / "state").write_text(change((tmp_path / "state").read_text()))
    restored = make()
    with pytest.raises(StateError, match=r"state: not a search that ProteinSearch\.save wrote"):
        restored.restore(str(tmp_path / "state"))
    assert restored.suggest("a") == make().suggest("a")  # as it was


def test_everything_that_a_search_knows_is_saved(tmp_path: Path) -> None:
    space = Space.from_config(
        {
            "c": {"choices": [True, 1, 0.1, "x"], "mean": 1},
            "d": {"min": 0.0, "max": 1.0, "when": "c == x"},
            "e": {"value": "text"},
            "p": {"distribution": "uniform_pow2", "min": 2, "max": 64},
        },
        ["d < 0.9", "p <= 32"],
    )
    search = ProteinSearch(
        space, {"budget": 7.5}, metric="s", mode="min", seed=3, method="sobol", keys=ResultKeys(steps="n"), nested=False
    )
    for number in range(4):
        search.suggest(f"t{number}")
        search.on_trial_result(f"t{number}", {"s": 0.1, "n": 3, "time_total_s": 2.0})
    search.on_trial_complete("t0", {"s": 0.3, "n": 5, "time_total_s": 3.0})
    search.on_trial_complete("t1", {"failure": "code"}, error=True)
    search.observe(Observation({"c": "x", "d": float("nan"), "extra": None}, 0.5, 1.0, wall_seconds=3.0))  # type: ignore[dict-item]
    search.save(str(tmp_path / "state"))
    restored = ProteinSearch({"other": {"min": 0, "max": 1}})
    restored.restore(str(tmp_path / "state"))
    before, after = search.__getstate__(), restored.__getstate__()
    assert before.keys() == after.keys()
    assert repr(before.pop("_history")) == repr(after.pop("_history"))  # nan is not equal to itself
    assert before == after


def test_evaluated_points_teach() -> None:
    search = make()
    search.add_evaluated_point({"trainer": {"rate": 1e-3, "layers": 2}, "model": {"kind": "b"}}, 0.5)
    assert search._history[0].params == {"trainer.rate": 1e-3, "trainer.layers": 2, "model.kind": "b"}


@pytest.mark.ray
def test_the_plain_tune_script_of_the_examples_finds_the_best_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_ray_token(monkeypatch)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = Path(__file__).parents[2] / "docs/examples/ray_tune"
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{folder.parents[2]}")  # workers import the script for `objective`
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import ray

    script = importlib.import_module("tune_script")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        best = script.main(storage_path=str(tmp_path))
    finally:
        ray.shutdown()
        sys.modules.pop("tune_script")
    assert (best["kind"], best["layers"]) == ("b", 1)
