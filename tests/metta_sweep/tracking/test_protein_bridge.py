"""Old scripts go on working: suggestions reach a real offline WandB run's config, observations its summary."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wandb
from omegaconf import OmegaConf

import metta_sweep
from metta_sweep.errors import ConfigError
from metta_sweep.tracking.protein_bridge import MettaProtein, WandbProtein
from searchers import Observation, ObservationError
from tests.metta_sweep.tracking.wandb_files import OfflineRun, read_offline_runs
from tests.metta_sweep.tracking.wandb_server import KEY, StoredRun, WandbServer, serving

CONFIG = {
    "method": "bayes",
    "metric": {"name": "reward", "goal": "maximize"},
    "sweep": {
        "metric": "reward",
        "num_random_samples": 3,
        "parameters": {
            "trainer.learning_rate": {"min": 1e-5, "max": 1e-2, "distribution": "log_normal"},
            "trainer.batch_size": {"min": 32, "max": 128, "distribution": "int_uniform"},
        },
    },
}
NAMES = {"trainer.learning_rate", "trainer.batch_size"}  # as they were asked for


@pytest.fixture
def open_run(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    runs = []

    def start(**options: Any) -> Any:
        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True)
        fields = {
            "id": "script",
            "project": "metta",
            "mode": "offline",
            "dir": str(tmp_path),
            "reinit": "create_new",
            "settings": settings,
        }
        runs.append(wandb.init(**{**fields, **options}))
        return runs[-1]

    yield start
    for run in runs:
        run.finish()


def read_back(run: Any, directory: Path) -> OfflineRun:
    """The finished run, once its file is whole: `finish` does not wait for that."""
    run.finish()
    deadline = time.monotonic() + 30.0
    while (copy := read_offline_runs(directory)[0]).exit_code is None:
        assert time.monotonic() < deadline, "the offline file was never closed"
        time.sleep(0.01)
    return copy


def test_a_suggestion_overrides_what_the_runs_config_held(open_run: Callable[..., Any], tmp_path: Path) -> None:
    run = open_run(config={"trainer.batch_size": 7})
    suggestion, info = MettaProtein(CONFIG, run).suggest()
    assert set(suggestion) == NAMES
    assert info["number"] == 0
    config = read_back(run, tmp_path).config
    assert {name: config[name] for name in NAMES} == suggestion


def test_every_spelling_in_the_runs_config_gets_the_suggestion(open_run: Callable[..., Any], tmp_path: Path) -> None:
    run = open_run(config={"trainer.learning_rate": 0.5, "trainer": {"learning_rate": 0.5, "gamma": 0.9}})
    suggestion, _ = MettaProtein(CONFIG, run).suggest()
    rate = suggestion["trainer.learning_rate"]
    config = read_back(run, tmp_path).config
    assert rate <= 1e-2
    assert config["trainer.learning_rate"] == config["trainer.optimizer.learning_rate"] == rate
    assert config["trainer"] == {
        "learning_rate": rate,
        "gamma": 0.9,
        "optimizer": {"learning_rate": rate},
        "batch_size": suggestion["trainer.batch_size"],
    }


def test_what_wandbs_own_sweep_has_locked_is_overridden(open_run: Callable[..., Any], tmp_path: Path) -> None:
    run = open_run()
    run.config.update_locked({"trainer.learning_rate": 0.5, "trainer.optimizer.learning_rate": 0.6}, user="sweep")
    suggestion, _ = MettaProtein(CONFIG, run).suggest()
    config = read_back(run, tmp_path).config
    rate = suggestion["trainer.learning_rate"]
    assert config["trainer.learning_rate"] == config["trainer.optimizer.learning_rate"] == rate != 0.5


@pytest.mark.parametrize("name", ["trainer.clip_param", "trainer.ppo.clip_coef"])
def test_the_suggestion_has_the_name_that_was_asked_for(open_run: Callable[..., Any], name: str) -> None:
    ranges = {"min": 0.1, "max": 0.3}
    head, _, tail = name.partition(".")
    for number, sweep in enumerate([{"parameters": {name: ranges}}, {"sweep": {"parameters": {head: {tail: ranges}}}}]):
        suggestion, _ = MettaProtein(sweep, open_run(id=f"{name}.{number}")).suggest()
        assert list(suggestion) == [name]


def test_an_observation_is_in_the_runs_summary(open_run: Callable[..., Any], tmp_path: Path) -> None:
    run = open_run()
    protein = MettaProtein(CONFIG, run)
    suggestion, info = protein.suggest()
    protein.observe(info["suggestion_uuid"], 0.75, {"cost_seconds": 120.0})
    summary = read_back(run, tmp_path).summary
    assert (summary["score"], summary["cost_seconds"], summary["outcome"]) == (0.75, 120.0, "completed")
    assert summary["protein_observation"] == {
        "suggestion": suggestion,
        "objective": 0.75,
        "cost": 120.0,
        "is_failure": False,
    }


def test_the_optimiser_learns_and_goes_on_to_other_points(open_run: Callable[..., Any]) -> None:
    protein = MettaProtein(CONFIG, open_run())
    seen = []
    for step in range(5):
        suggestion, info = protein.suggest()
        protein.observe(info["suggestion_uuid"], float(step), {"cost_seconds": 10.0})
        seen.append(tuple(suggestion.items()))
    assert len(set(seen)) == 5
    assert info["predicted_score"] is not None


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_run_without_a_finite_score_has_failed(
    open_run: Callable[..., Any], tmp_path: Path, score: float | None
) -> None:
    run = open_run()
    protein = MettaProtein(CONFIG, run)
    protein.observe(protein.suggest()[1]["suggestion_uuid"], score, {"cost_seconds": 10.0, "failure": "infrastructure"})
    summary = read_back(run, tmp_path).summary
    assert (summary["outcome"], summary["failure"]) == ("failed", "infrastructure")
    assert summary["protein_observation"]["is_failure"] is True


def test_the_cost_is_the_time_since_the_suggestion_when_none_is_given(
    open_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = open_run()
    protein = MettaProtein(CONFIG, run)
    protein.observe(protein.suggest()[1]["suggestion_uuid"], 1.0)
    assert 0.0 < read_back(run, tmp_path).summary["cost_seconds"] < 60.0


def test_two_open_suggestions_differ_and_are_told_apart(open_run: Callable[..., Any]) -> None:
    protein = MettaProtein(CONFIG, open_run())
    (first, one), (second, two) = protein.suggest(), protein.suggest()
    assert first != second
    protein.observe(two["suggestion_uuid"], 1.0, {"cost_seconds": 1.0})
    protein.observe(one["suggestion_uuid"], 2.0, {"cost_seconds": 1.0})


def test_an_unknown_or_used_suggestion_is_refused(open_run: Callable[..., Any]) -> None:
    protein = MettaProtein(CONFIG, open_run())
    _, info = protein.suggest()
    with pytest.raises(KeyError, match=r"suggestion_uuid='nobody': no open suggestion; open ones: script\.0"):
        protein.observe("nobody", 1.0)
    protein.observe(info["suggestion_uuid"], 1.0, {"cost_seconds": 1.0})
    with pytest.raises(KeyError, match="open ones: none"):
        protein.observe(info["suggestion_uuid"], 1.0)


def test_a_refused_observation_leaves_the_suggestion_open(open_run: Callable[..., Any]) -> None:
    protein = MettaProtein(CONFIG, open_run())
    _, info = protein.suggest()
    with pytest.raises(ObservationError):
        protein.observe(info["suggestion_uuid"], 1.0, {"cost_seconds": -1.0})
    protein.observe(info["suggestion_uuid"], 1.0, {"cost_seconds": 1.0})


def test_subclasses_see_and_may_change_what_goes_into_the_config(open_run: Callable[..., Any], tmp_path: Path) -> None:
    class Prefixed(MettaProtein):
        def update_wandb_config(self, wandb_config: Mapping[str, Any]) -> None:
            super().update_wandb_config({f"tried.{name}": value for name, value in wandb_config.items()})

    run = open_run()
    suggestion, _ = Prefixed(CONFIG, run).suggest()
    assert read_back(run, tmp_path).config["tried.trainer.batch_size"] == suggestion["trainer.batch_size"]


def test_the_first_pages_spelling_and_omegaconf_give_the_same_suggestions(open_run: Callable[..., Any]) -> None:
    inner = CONFIG["sweep"]
    first_page = {
        "protein": {"num_random_samples": 3},
        "goal": "maximize",
        "metric": "reward",
        "parameters": inner["parameters"],  # type: ignore[index]
    }
    expected = MettaProtein(CONFIG, open_run()).suggest()[0]
    assert MettaProtein(first_page, open_run(id="other")).suggest()[0] == expected
    assert MettaProtein(OmegaConf.create(CONFIG), open_run(id="third")).suggest()[0] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {}}, "sweep.parameters: need at least one parameter to search, got none"),
        ({"goal": "best"}, "sweep.goal: need maximize or minimize, got 'best'"),
    ],
)
def test_a_config_that_means_nothing_is_refused(
    open_run: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        MettaProtein({**CONFIG, "sweep": {**CONFIG["sweep"], **change}}, open_run())  # type: ignore[dict-item]


def test_earlier_observations_are_learnt_before_the_first_suggestion(open_run: Callable[..., Any]) -> None:
    names = {3: "trainer.optimizer.learning_rate", 4: "trainer.learning_rate", 5: "trainer.learning_rate"}
    earlier = [Observation({name: 10.0**-k, "trainer.batch_size": 64}, float(k), 10.0) for k, name in names.items()]
    protein = MettaProtein(CONFIG, open_run(), observations=earlier)
    assert protein.suggest()[1]["origin"] != "search_center"
    learnt = {name for observation in protein.protein.observations for name in observation.params}
    assert learnt == {names[3], "trainer.batch_size"}
    assert isinstance(protein, WandbProtein)


def test_an_online_run_learns_from_its_group(open_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    server = WandbServer()
    for k in (3, 4, 5):
        record = {
            "suggestion": {"trainer": {"learning_rate": 10.0**-k, "batch_size": 64}},
            "objective": k,
            "cost": 10.0,
            "is_failure": False,
        }
        server.runs[f"old.{k}"] = StoredRun(
            f"old.{k}", "old", f"2026-01-0{k}T00:00:00Z", summary={"protein_observation": record}
        )
    with serving(server) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        run = open_run(
            mode="online",
            group="old",
            entity="me",
            settings=wandb.Settings(silent=True, console="off", base_url=url, api_key=KEY),
        )
        protein = MettaProtein(CONFIG, run)
        run.finish()
    assert [observation.score for observation in protein.protein.observations] == [3.0, 4.0, 5.0]


def test_old_scripts_need_one_line_and_training_programs_do_not_pay_for_it() -> None:
    assert metta_sweep.MettaProtein is MettaProtein
    assert metta_sweep.WandbProtein is WandbProtein
    heavy = "{'wandb', 'scipy', 'torch', 'ray'}"
    program = f"import sys; from metta_sweep import report; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], timeout=120, check=True)


def test_an_unknown_name_of_the_package_is_refused_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'metta_sweep' has no attribute 'Protein'"):
        _ = metta_sweep.Protein
