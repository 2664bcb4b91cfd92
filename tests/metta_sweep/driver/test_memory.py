"""`sweep.memory`: which earlier sweeps a sweep learns from, and that this is decided once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metta_sweep.cli.main import main
from metta_sweep.config.job import SweepJob
from metta_sweep.config.registered import read_spec
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.panels import memory_note
from metta_sweep.dashboard.snapshot import Feed, FeedOptions
from metta_sweep.dashboard.view import View
from metta_sweep.driver.memory import decided, program_of, read_past, register
from metta_sweep.driver.suggestions import SweepOptimiser
from metta_sweep.errors import ConfigError, InvalidRequest, SpecChanged
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import Reservation
from metta_sweep.registry.specs import check_spec
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.driver.past_sweeps import add_runs, job_of, score_of

COMMAND = ("trainable=command", "sweep.metric=score")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqlRegistry]:
    with closing(SqlRegistry(f"sqlite:///{tmp_path}/registry.db")) as opened:
        yield opened


def names(job: SweepJob) -> list[str]:
    return [one.sweep for one in job.sweep.remembered]


def optimiser(job: SweepJob, registry: SqlRegistry) -> SweepOptimiser:
    return SweepOptimiser(job.sweep, job.seed, read_past(registry, job.sweep, job.spec_yaml))


# What auto takes


def test_the_most_alike_come_first_and_five_at_most(registry: SqlRegistry) -> None:
    add_runs(registry, job_of("elsewhere", "sim=navigation"), 4)
    for number in range(6):
        add_runs(registry, job_of(f"a{number}"), 4)
    found = names(decided(job_of("new"), registry))
    assert found == ["a5", "a4", "a3", "a2", "a1"]


OTHER_SEARCHES = {
    "goal": ("sweep.goal=minimize",),
    "trainable": (*COMMAND, "trainable.command='python a.py {overrides}'"),
    "parameters": tuple(f"~sweep.parameters.trainer.{name}" for name in ("optimizer", "total_timesteps", "ppo")),
}


def test_what_is_another_search_is_not_taken_and_the_specification_says_nothing(registry: SqlRegistry) -> None:
    for name, other in OTHER_SEARCHES.items():
        add_runs(registry, job_of(name, *other), 4, lambda _: 1.0)
    job = decided(job_of("new"), registry)
    assert names(job) == []
    assert job.spec_yaml == job_of("new").spec_yaml


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"command": "python train.py --env walk {overrides}"}, {"command": "uv run train.py {overrides}"}, True),
        ({"command": "python train.py {overrides}"}, {"command": "python other.py {overrides}"}, False),
        ({"command": "python -m a.b {overrides}"}, {"command": "python -m a.c {overrides}"}, False),
        ({"command": "train 'unclosed"}, {"command": "train {overrides}"}, True),
        ({"kind": "function", "function": "json:loads"}, {"kind": "function", "function": "json:dumps"}, False),
        ({"kind": "ppo"}, {}, True),
        ({"kind": "ppo"}, {"kind": "function", "function": "json:dumps"}, False),
    ],
)
def test_programs_are_the_same_by_their_script_and_functions_by_their_name(
    one: dict[str, str], other: dict[str, str], is_same: bool
) -> None:
    assert (program_of({"trainable": one}) == program_of({"trainable": other})) is is_same


def test_sweeps_without_scores_are_passed_over(registry: SqlRegistry) -> None:
    add_runs(registry, job_of("full"), 4)
    add_runs(registry, job_of("failed"), 6, lambda _: None)
    registry.create_sweep("empty", job_of("empty").spec_yaml)
    assert names(decided(job_of("new"), registry)) == ["full"]


def test_results_are_read_of_the_chosen_only(registry: SqlRegistry) -> None:
    for number in range(12):
        add_runs(registry, job_of(f"a{number}"), 4)
    add_runs(registry, job_of("other", "sweep.goal=minimize"), 4)
    read: list[str] = []
    observations = registry.observations

    def counted(sweep: str, **cursor: Any) -> Any:
        read.append(sweep)
        return observations(sweep, **cursor)

    registry.observations = counted  # type: ignore[method-assign]
    decided(job_of("new"), registry)
    assert read == ["a11", "a10", "a9", "a8", "a7"]


# Decided once


def test_what_is_taken_stands_in_the_specification_and_later_results_change_no_suggestion(
    registry: SqlRegistry,
) -> None:
    old, wish = job_of("old"), job_of("new")
    add_runs(registry, old, 6)
    job = register(wish, registry, update=False)
    told = read_spec(registry.get_sweep("new").spec_yaml).sweep.remembered
    assert [(one.sweep, one.observations) for one in told] == [("old", 6)]
    first = [dict(optimiser(job, registry).suggest(number, []).params) for number in range(3)]
    add_runs(registry, old, 6, lambda params: -score_of(params))
    add_runs(registry, job_of("newer"), 6)
    again = register(wish, registry, update=False)
    assert again.spec_yaml == job.spec_yaml
    assert [dict(optimiser(again, registry).suggest(number, []).params) for number in range(3)] == first
    plain = SweepOptimiser(job.sweep, job.seed)
    assert [dict(plain.suggest(number, []).params) for number in range(3)] != first, "the earlier sweep does something"


def test_a_sweep_from_before_goes_on_without_memory(registry: SqlRegistry) -> None:
    job = job_of("new")
    registry.create_sweep("new", job.spec_yaml)
    add_runs(registry, job_of("old"), 6)
    assert register(job, registry, update=False).sweep.remembered == ()


def test_of_two_drivers_that_begin_at_once_the_second_takes_what_the_first_decided(registry: SqlRegistry) -> None:
    old, job = job_of("old"), job_of("new")
    add_runs(registry, old, 5)
    create = registry.create_sweep

    def after_another(name: str, spec_yaml: str, **rest: Any) -> Any:
        registry.create_sweep = create  # type: ignore[method-assign]
        register(job, registry, update=False)
        return create(name, spec_yaml, **rest)

    stale = decided(job, registry)
    add_runs(registry, old, 1)
    registry.create_sweep = after_another  # type: ignore[method-assign]
    assert register(replace(job, spec_yaml=job.spec_yaml), registry, update=False).spec_yaml != stale.spec_yaml
    assert register(job, registry, update=False).sweep.remembered[0].observations == 6


def test_another_list_changes_the_specification_and_needs_update(registry: SqlRegistry) -> None:
    for name in ("a", "b"):
        add_runs(registry, job_of(name), 4)
    register(job_of("new", memory=("a",)), registry, update=False)
    assert names(register(job_of("new"), registry, update=False)) == ["a"], "auto keeps what was decided"
    with pytest.raises(SpecChanged):
        register(job_of("new", memory=()), registry, update=False)
    assert names(register(job_of("new", memory=("b",)), registry, update=True)) == ["b"]


def test_a_sweep_that_was_removed_teaches_nothing_any_more_and_plan_says_so(
    tmp_path: Path, registry: SqlRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(registry, job_of("old"), 4)
    job = register(job_of("new"), registry, update=False)
    registry.delete_sweep("old", force=True)
    add_runs(registry, job_of("old"), 4)
    assert read_past(registry, job.sweep, job.spec_yaml).sweeps == ()
    assert main(["plan", "sweep_name=new", "sweep=quick", f"data_dir={tmp_path}"]) == 0
    assert "note: nothing is learned from sweep old any more" in capsys.readouterr().out


# Lists


REFUSED = {
    "arena_bb": "sweep.memory: 'arena_bb': no such sweep here; did you mean arena_b?",
    "zzz": "sweep.memory: 'zzz': no such sweep here; known: arena_b, empty, other",
    "new": "sweep.memory: 'new': a sweep does not learn from itself",
    "empty": "sweep.memory: 'empty': need at least 4 runs with a score, it has 0",
    "other": "sweep.memory: 'other': its goal is minimize, this one's maximize",
}


def test_what_cannot_be_learned_from_is_refused_with_what_is_there(registry: SqlRegistry) -> None:
    add_runs(registry, job_of("arena_b"), 4)
    registry.create_sweep("empty", job_of("empty").spec_yaml)
    add_runs(registry, job_of("other", "sweep.goal=minimize"), 4)
    for wish, said in REFUSED.items():
        with pytest.raises(ConfigError) as caught:
            decided(job_of("new", memory=(wish,)), registry)
        assert said in str(caught.value)


def test_a_name_alone_is_no_list() -> None:
    with pytest.raises(ConfigError, match=r"sweep.memory: need auto, or a list of names of earlier sweeps.*'arena_b'"):
        job_of("new", "sweep.memory=arena_b")


@pytest.mark.parametrize(
    "entry",
    ["x", {"sweep": "a"}, {"sweep": "../a", "id": "", "observations": 1, "until": 1}]
    + [{"sweep": "a", "id": "", "observations": count, "until": 2} for count in (-1, 3, True, 1e9)],
)
def test_a_specification_says_nothing_of_memory_that_no_driver_would_write(entry: Any) -> None:
    with pytest.raises(InvalidRequest):
        check_spec(json.dumps({"memory": [entry]}))


# What the earlier runs were


def test_bounds_lengths_and_fixed_values_of_the_earlier_sweep_count(registry: SqlRegistry) -> None:
    """The earlier one held gae_lambda, searched gamma besides, in other bounds, and trained a quarter as long."""
    old = (
        "~sweep.parameters.trainer.ppo.gae_lambda",
        "trainer.ppo.gae_lambda=0.77",
        "+sweep.parameters.trainer.ppo.gamma={distribution: logit_normal, min: 0.9, max: 0.999}",
        "sweep.parameters.trainer.optimizer.learning_rate={distribution: log_normal, min: 1e-5, max: 0.001}",
        "~sweep.parameters.trainer.total_timesteps",
        "trainer.total_timesteps=16384",
    )
    add_runs(registry, job_of("old", *old), 8, lambda params: None if params["trainer.ppo.gamma"] > 0.998 else 1)
    job = register(job_of("new", memory=("old",)), registry, update=False)
    (earlier,) = read_past(registry, job.sweep, job.spec_yaml).towards(job.sweep.phases[0].space)
    params = earlier.observations[0].params
    assert params["trainer.ppo.gae_lambda"] == 0.77
    assert params["trainer.total_timesteps"] == 16384
    assert [one.name for one in earlier.further] == ["trainer.ppo.gamma"]
    assert earlier.held["trainer.ppo.gamma"] == 0.99, "what runs of the new sweep have"
    assert optimiser(job, registry).suggest(0, []).params


def test_every_phase_learns_from_them(registry: SqlRegistry) -> None:
    add_runs(registry, job_of("old"), 6)
    schedule = (
        "+sweep.schedule={phases: [{name: a, num_runs: 2}, {name: b, sweep: {parameters: {trainer.total_timesteps: "
        "{max: 98000}}}}]}"
    )
    learner = optimiser(register(job_of("new", schedule), registry, update=False), registry)
    assert [list(learner.memory(number)) for number in (0, 2)] == [["old"], ["old"]]


@pytest.mark.parametrize("words", [("sweep.method=random",), ("sweep.searcher=package.Own",)])
def test_a_search_that_cannot_learn_takes_nothing_and_a_list_is_told_to_be_idle(
    words: tuple[str, ...], registry: SqlRegistry
) -> None:
    add_runs(registry, job_of("old"), 4)
    job = decided(job_of("new", *words, "sweep.memory=[old]"), registry)
    assert names(job) == []
    assert any("sweep.memory: no effect" in note for note in job.notes)


# What people see


@pytest.mark.parametrize("weight", [0.41, 1.24, -0.3])  # scores may vary more than the earlier ones, or the other way
def test_plan_status_and_dashboard_say_what_is_learned_from(
    tmp_path: Path, registry: SqlRegistry, capsys: pytest.CaptureFixture[str], weight: float
) -> None:
    for name, count in (("arena_b", 5), ("arena_a", 6)):
        add_runs(registry, job_of(name), count)
    words = ["sweep_name=new", "sweep=quick", f"data_dir={tmp_path}"]
    assert main(["plan", *words]) == 0
    assert "\nlearns from: arena_a (6 runs), arena_b (5 runs)\n" in capsys.readouterr().out
    register(job_of("new"), registry, update=False)
    weights = {"arena_a": weight, "arena_b": float("inf")}
    reserved = Reservation(0, {}, explanation={"memory": weights})
    registry.reserve("new", reserved, current_owner(), lease_seconds=60, key="r")
    assert main(["status", *words]) == 0
    assert f"  learns from: arena_a (6 runs, weight {weight:.2f}), arena_b (5 runs)\n" in capsys.readouterr().out
    assert main(["status", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["learns_from"] == [
        {"sweep": "arena_a", "observations": 6, "weight": weight},
        {"sweep": "arena_b", "observations": 5, "weight": None},
    ]
    snapshot = Feed(registry, "new", FeedOptions()).refresh()
    told = memory_note(FigureInput(snapshot, View(sweep="new"), None))
    assert f"The search learns from: arena_a (6 runs, weight {weight:.2f}), arena_b (5 runs)." in str(told)


def test_nothing_is_said_where_nothing_is_learned_from(
    tmp_path: Path, registry: SqlRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs(registry, job_of("arena_a"), 5)
    register(job_of("new", memory=()), registry, update=False)
    words = ["sweep_name=new", "sweep=quick", f"data_dir={tmp_path}"]
    assert main(["plan", *words, "sweep.memory=[]"]) == 0
    assert main(["status", *words]) == 0
    assert "learns from" not in capsys.readouterr().out
