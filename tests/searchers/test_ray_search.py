"""ProteinSearch in the hands of Tune: its contract call by call, and one real sweep."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from searchers import FailureKind, SpaceError
from searchers.ray_search import ProteinSearch, ResultKeys, flatten, unflatten
from tests.ray_token import use_ray_token

CONFIG: dict[str, Any] = {
    "trainer": {"rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1}, "layers": {"distribution": "int_uniform", "min": 1, "max": 4}},
    "model.kind": {"choices": ["a", "b"]},
}


def make(**settings: Any) -> ProteinSearch:
    return ProteinSearch(CONFIG, {"num_random_samples": 4}, metric="score", mode="max", keys=ResultKeys(cost="cost"), **settings)


def score(config: dict[str, Any]) -> float:
    return float(-config["trainer"]["layers"] + (config["model"]["kind"] == "b"))


def play(search: ProteinSearch, first: int, count: int, sign: float = 1.0) -> list[dict[str, Any]]:
    configs = []
    for number in range(first, first + count):
        config = search.suggest(f"t{number}")
        search.on_trial_result(trial_id=f"t{number}", result={"score": sign * score(config), "cost": 1.0, "env_steps": 10})
        search.on_trial_complete(trial_id=f"t{number}", result={"score": sign * score(config), "cost": 2.0, "env_steps": 20}, error=False)
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
    assert search._searcher.goal == "minimize"


def test_a_second_search_space_is_refused() -> None:
    tune = pytest.importorskip("ray.tune")
    with pytest.raises(SpaceError, match="leave Tune's distributions out"):
        make().set_search_properties("score", "max", {"x": tune.uniform(0, 1)})


def test_evaluated_points_teach() -> None:
    search = make()
    search.add_evaluated_point({"trainer": {"rate": 1e-3, "layers": 2}, "model": {"kind": "b"}}, 0.5)
    assert search._history[0].params == {"trainer.rate": 1e-3, "trainer.layers": 2, "model.kind": "b"}


def objective(config: dict[str, Any]) -> dict[str, Any]:
    return {"score": score(config), "cost": 1.0}


@pytest.mark.ray
def test_a_real_tune_run_finds_the_best_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_ray_token(monkeypatch)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parents[1]}")  # workers import this file for `objective`
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import ray
    from ray import tune

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        tuner = tune.Tuner(
            objective,
            tune_config=tune.TuneConfig(search_alg=make(), num_samples=14, max_concurrent_trials=2, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        )
        results = tuner.fit()
        best = results.get_best_result("score", "max")
        assert len(results) == 14
        assert best.metrics["score"] == 0.0
    finally:
        ray.shutdown()
