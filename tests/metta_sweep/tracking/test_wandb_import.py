"""Sweeps that only WandB holds come into the registry, from a loopback server that answers as WandB does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metta_sweep.cli import dashboard
from metta_sweep.config.registered import read_spec
from metta_sweep.dashboard.run_panel import wandb_address
from metta_sweep.dashboard.snapshot import Feed
from metta_sweep.driver.summary import rank
from metta_sweep.errors import ConfigError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.reader import open_reader
from metta_sweep.tracking import presentation
from metta_sweep.tracking.past_runs import number, read
from metta_sweep.tracking.wandb_import import NothingToImport, WandbUnavailable, import_wandb, inferred_parameter
from tests.metta_sweep.tracking.mirrored_sweep import SweepOnDisk, completed, failed
from tests.metta_sweep.tracking.wandb_server import KEY, StoredRun, WandbServer, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    with serving(server) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        yield server


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return open_registry(tmp_path, None)


def metta_run(
    server: WandbServer, index: int, *, learning_rate: float = 1e-3, score: float = 1.0, **summary: Any
) -> None:
    """A run as Metta's sweeps left it, the later the larger its index."""
    suggestion = {"trainer": {"optimizer": {"learning_rate": learning_rate}, "batch_size": 1024}}
    values = {
        "protein_observation": {"suggestion": suggestion, "objective": score, "cost": 60.0 + index, "is_failure": False}
    } | summary
    server.runs[f"old.{index}"] = StoredRun(
        f"old.{index}", "old", f"2026-01-01T00:{index // 60:02d}:{index % 60:02d}Z", summary=values
    )


def load(registry: Registry, limit: int = 250, **options: Any) -> Any:
    return import_wandb("me", "metta", "old", registry, limit, **options)


def test_runs_are_imported_oldest_first_with_their_score_cost_and_point(
    server: WandbServer, registry: Registry
) -> None:
    metta_run(server, 0, learning_rate=1e-3, score=1.0)
    metta_run(server, 1, learning_rate=1e-4, score=2.0)
    assert load(registry).imported == {"old.0": "old.r.0", "old.1": "old.r.1"}
    first, second = registry.observations("old")
    assert first.params == {"trainer.optimizer.learning_rate": 1e-3, "trainer.batch_size": 1024}
    assert (second.observation.score, second.observation.cost_seconds, second.observation.outcome) == (
        2.0,
        61.0,
        "completed",
    )
    assert registry.get_run("old.r.0").explanation["wandb_path"] == "me/metta/old.0"


def test_the_dashboard_imports_a_sweep_that_only_wandb_knows_and_links_to_its_runs(
    server: WandbServer, tmp_path: Path
) -> None:
    metta_run(server, 0)
    parser = argparse.ArgumentParser()
    dashboard.add_arguments(parser)
    args = parser.parse_args([f"data_dir={tmp_path}", "--sweep-name", "old", "--entity", "me", "--project", "metta"])
    location = dashboard.located(args, {}, need_sweep=False)
    reader = open_reader(location.data_dir, location.sweep_server_uri)
    dashboard.import_first(args, location, reader)
    snapshot = Feed(reader, "old", dashboard.feed_options(args, location)).refresh()
    assert snapshot.runs[["id", "score"]].to_numpy().tolist() == [["old.r.0", 1.0]]
    assert wandb_address(snapshot, snapshot.records["old.r.0"]) == "https://wandb.ai/me/metta/runs/old.0"
    dashboard.import_first(args, location, reader)  # known by now: WandB is not asked again
    assert len(reader.runs("old")) == 1


def test_only_the_newest_are_loaded_page_by_page(server: WandbServer, registry: Registry) -> None:
    for index in range(120):
        metta_run(server, index, score=float(index))
    report = load(registry, limit=60)
    assert list(report.imported) == [f"old.{index}" for index in range(60, 120)]
    assert len(server.requested_run_pages) == 2
    assert server.requested_run_pages[0]["order"] == "-created_at"


def test_doing_it_again_imports_only_what_is_new(server: WandbServer, registry: Registry) -> None:
    metta_run(server, 0)
    load(registry)
    metta_run(server, 1)
    report = load(registry)
    assert (report.imported, report.known) == ({"old.1": "old.r.1"}, 1)


def test_an_imported_sweep_can_be_ranked(server: WandbServer, registry: Registry) -> None:
    for index, score in enumerate([1.0, 3.0, 2.0]):
        metta_run(server, index, learning_rate=10.0 ** -(index + 2), score=score)
    load(registry, goal="minimize")
    assert read_spec(registry.get_sweep("old").spec_yaml).sweep.goal == "minimize"
    assert rank(registry, "old", by="score").best[0].id == "old.r.0"
    assert rank(registry, "old").best[0].posterior is not None


def test_runs_without_an_observation_are_skipped_with_the_reason(server: WandbServer, registry: Registry) -> None:
    metta_run(server, 0)
    server.runs["live"] = StoredRun("live", "old", summary={"protein_suggestion": {"trainer": {"batch_size": 1}}})
    server.runs["other"] = StoredRun("other", "old", summary={"loss": 1.0})
    assert load(registry).skipped == {
        "live": "has no observation in its summary",
        "other": "has no suggestion in its summary",
    }


def test_what_the_mirror_wrote_comes_back_as_it_was(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path)
    for number_, result in enumerate((completed(1.5), failed())):
        run = sweep.start(number_)
        record = sweep.finish(run, result)
        past = read(run.id, f"me/metta/{run.id}", presentation.summary(sweep.registry.get_run(run.id), record))
        assert past.params == run.params
        assert past.observation is not None
        for name in (
            "outcome",
            "score",
            "cost_seconds",
            "wall_seconds",
            "costs",
            "standard_error",
            "curve",
            "env_steps",
            "failure",
            "metrics",
        ):
            assert getattr(past.observation, name) == getattr(result, name), name


def test_runs_that_the_registry_mirrored_itself_are_not_imported_again(server: WandbServer, tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, "old")
    run = sweep.complete(0)
    metta_run(server, 0)
    server.runs[run.id] = StoredRun(
        run.id, "old", summary=presentation.summary(run, sweep.registry.observations("old")[0])
    )
    report = load(sweep.registry)
    assert (report.imported, report.known) == ({"old.0": "old.r.1"}, 1)


@pytest.mark.parametrize(
    "summary",
    [
        {
            "protein.suggestion": {"trainer": {"gamma": 0.9}},
            "protein.objective": 2.0,
            "protein.cost": 50.0,
            "protein.state": "success",
        },
        {"protein_suggestion": {"trainer.gamma": 0.9}, "score": 2.0, "cost_seconds": 50.0, "outcome": "completed"},
        {
            "protein_observation": {
                "suggestion": {"trainer.gamma": 0.9},
                "objective": 2.0,
                "cost": 50.0,
                "is_failure": False,
            }
        },
    ],
)
def test_every_generation_of_keys_is_understood_and_old_names_become_todays(summary: dict[str, Any]) -> None:
    past = read("x", "me/p/x", summary)
    assert past.params == {"trainer.ppo.gamma": 0.9}
    assert past.observation is not None
    assert (past.observation.score, past.observation.cost_seconds, past.observation.wall_seconds) == (2.0, 50.0, 50.0)


def test_a_failure_of_unknown_kind_is_not_held_against_the_point() -> None:
    past = read(
        "x", "p", {"protein_observation": {"suggestion": {"a": 1}, "objective": 0.0, "cost": 5.0, "is_failure": True}}
    )
    assert past.observation is not None
    assert (past.observation.score, past.observation.failure) == (None, "infrastructure")


@pytest.mark.parametrize(
    ("objective", "cost", "reason"),
    [
        ("NaN", 5.0, "has no finite score"),
        (float("inf"), 5.0, "has no finite score"),
        (1.0, 0.0, "has no cost above 0, got 0.0"),
        (1.0, None, "has no cost above 0, got None"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(objective: Any, cost: Any, reason: str) -> None:
    past = read(
        "x",
        "p",
        {"protein_observation": {"suggestion": {"a": 1}, "objective": objective, "cost": cost, "is_failure": False}},
    )
    assert (past.observation, past.reason) == (None, reason)


def test_true_is_no_number() -> None:
    assert number(True) is None


def test_an_empty_group_says_so(server: WandbServer, registry: Registry) -> None:
    with pytest.raises(
        NothingToImport, match=r"me/metta: no run of group 'old' can be imported \(the group is empty\)"
    ):
        load(registry)


def test_without_a_server_the_error_names_the_place(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(WandbUnavailable, match=r"WandB me/metta: .*; check entity, project and WANDB_API_KEY"):
        load(registry)


def test_an_unknown_goal_is_refused(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"sweep.goal: need maximize or minimize, got 'best'"):
        load(registry, goal="best")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 3], {"value": 3}),
        ([256, 1024], {"distribution": "uniform_pow2", "min": 256, "max": 1024}),
        ([3, 7], {"distribution": "int_uniform", "min": 3, "max": 7}),
        ([0.1, 0.9], {"distribution": "uniform", "min": 0.1, "max": 0.9}),
        ([1e-5, 1e-2], {"distribution": "log_normal", "min": 1e-5, "max": 1e-2}),
        (["adam", "muon", "adam"], {"distribution": "categorical", "choices": ["adam", "muon"]}),
        ([True, False], {"distribution": "categorical", "choices": [False, True]}),
    ],
)
def test_a_parameter_is_inferred_from_its_values(values: list[Any], expected: dict[str, Any]) -> None:
    assert inferred_parameter(values) == expected
    yaml.safe_dump(inferred_parameter(values))


# What somebody else wrote into a run of WandB


def planted(server: WandbServer, name: str, **suggestion: Any) -> None:
    record = {"suggestion": suggestion, "objective": 1.0, "cost": 1.0, "is_failure": False}
    server.runs[name] = StoredRun(name, "old", summary={"protein_observation": record})


def test_points_that_name_code_or_would_be_interpolated_are_left_out_and_the_others_come(
    server: WandbServer, registry: Registry
) -> None:
    metta_run(server, 0)
    planted(server, "shell", trainable={"kind": "command", "command": "sh -c 'touch planted'"})
    planted(server, "template", **{"${oc.env:HOME}": 1.0})
    planted(server, "module", env={"id": "planted.module:Env-v0"})
    report = load(registry)
    assert list(report.imported) == ["old.0"]
    assert {
        name: reason
        for name, reason in report.skipped.items()
        if "code to run" in reason or "is not a parameter name" in reason
    }.keys() == {
        "shell",
        "template",
        "module",
    }


def test_a_point_outside_the_space_of_a_sweep_that_a_driver_described_is_left_out(
    server: WandbServer, registry: Registry
) -> None:
    spec = {"metric": "reward", "train": {"trainer": {}}, "phases": [{"parameters": {"lr": {"min": 0.0, "max": 1.0}}}]}
    registry.create_sweep("old", yaml.safe_dump(spec))
    planted(server, "inside", lr=0.5)
    planted(server, "outside", lr=2.0)
    planted(server, "other", lr=0.5, momentum=0.9)
    report = load(registry)
    assert list(report.imported) == ["inside"]
    assert "lr: need a value from 0.0 to 1.0" in report.skipped["outside"]
    assert "'momentum': not a parameter" in report.skipped["other"]


def test_later_runs_of_a_sweep_that_only_wandb_knows_widen_its_space(server: WandbServer, registry: Registry) -> None:
    planted(server, "first", lr=0.1)
    load(registry)
    planted(server, "second", lr=0.2)
    planted(server, "third", lr=0.9)
    assert sorted(load(registry).imported) == ["second", "third"]
    (phase,) = read_spec(registry.get_sweep("old").spec_yaml).sweep.phases
    assert [phase.space.contains({"lr": lr}) for lr in (0.1, 0.2, 0.9)] == [True, True, True]
    assert load(registry).known == 3


def test_costs_and_failures_of_no_known_kind_do_not_stop_an_import(server: WandbServer, registry: Registry) -> None:
    metta_run(server, 0)
    server.runs["old.0"].summary.update(
        {"cost/moon/wall_seconds": 3.0, "cost/train/wall_seconds": "x", "cost/train/cpu_seconds": 2.0}
    )
    record = {"suggestion": {"lr": 0.1}, "objective": None, "cost": 1.0, "is_failure": True}
    server.runs["failed"] = StoredRun("failed", "old", summary={"protein_observation": record, "failure": "nonsense"})
    assert len(load(registry).imported) == 2
    found = {seen.params.get("lr"): seen.observation for seen in registry.observations("old")}
    assert (found[None].costs, found[0.1].failure) == ({"train": {"cpu_seconds": 2.0}}, "infrastructure")
