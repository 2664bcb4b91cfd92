"""What somebody who may write, or who could, plants in the registry: every implementation refuses it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import yaml

from metta_sweep.config import load_sweep_job
from metta_sweep.errors import IllegalTransition, InvalidRequest, UnknownRun, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import Reservation
from metta_sweep.registry.specs import SPEC_KEYS
from tests.metta_sweep.registry.registry_backends import HERE, THERE, Backend, reserve
from tests.metta_sweep.registry.registry_examples import BROKEN, DONE, running

PARAMETERS = {
    "lr": {"distribution": "log_normal", "min": 1e-4, "max": 1e-1},
    "net.width": {"distribution": "int_uniform", "min": 16, "max": 256},
    "kind": {"choices": ["adam", "${oc.env:HOME}"]},
    "depth": {"value": 2},
}
SPEC = yaml.safe_dump(
    {
        "metric": "reward",
        "phases": [{"name": "one", "parameters": PARAMETERS}, {"name": "two", "parameters": {"lr": {"value": 9.0}}}],
    }
)
POINT = {"lr": 1e-3, "net.width": 32, "kind": "adam", "depth": 2}
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def planned(registry: Registry) -> Registry:
    """A registry with the sweep `p`, which has a search space."""
    registry.create_sweep("p", SPEC)
    return registry


def reserve_point(registry: Registry, params: dict[str, Any], phase: str = "one", sweep: str = "p") -> None:
    registry.reserve(sweep, Reservation(None, params, phase=phase), HERE, lease_seconds=300, key="plant")


# Points


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({**POINT, "trainable.kind": "command"}, "'trainable.kind': not a parameter"),
        ({**POINT, "${oc.env:HOME}": 1.0}, "is not a parameter name"),
        ({**POINT, "lr": "${oc.env:METTA_SWEEP_TOKEN}"}, "lr: need a finite number"),
        ({**POINT, "lr": True}, "lr: need a finite number"),
        ({**POINT, "lr": 0.2}, "lr: need a value from 0.0001 to 0.1, got 0.2"),
        ({**POINT, "lr": 10**400}, "lr: need a finite number"),
        ({**POINT, "lr": [1e-3]}, "lr: need a finite number, a text or a truth value"),
        ({**POINT, "lr": {"_target_": "os.system"}}, "lr: need a finite number, a text or a truth value"),
        ({**POINT, "lr": None}, "lr: need a finite number, a text or a truth value"),
        ({**POINT, "net.width": 32.5}, "net.width"),
        ({**POINT, "kind": "sgd"}, "kind: need one of"),
        ({**POINT, "kind": "a\0b"}, "kind: need a finite number, a text"),
        ({**POINT, "depth": 3}, "depth: fixed at 2, got 3"),
        ({f"p{index}": 0.5 for index in range(300)}, "at most 256"),
        ({**POINT, "a..b": 1.0}, "is not a parameter name"),
    ],
)
def test_a_point_outside_the_search_space_is_never_stored(
    planned: Registry, params: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match="params") as caught:
        reserve_point(planned, params)
    assert complaint in str(caught.value)
    run = planned.reserve("p", Reservation(None, POINT, phase="one"), HERE, lease_seconds=300, key="k")
    with pytest.raises(InvalidRequest, match="params"):
        planned.replace_suggestion(run.id, run.fence, Reservation(None, params, phase="one"), key="k2")
    assert [stored.params for stored in planned.runs("p")] == [POINT]


def test_a_point_belongs_to_its_own_phase_and_a_text_of_the_space_stays_as_it_is(planned: Registry) -> None:
    with pytest.raises(InvalidRequest, match="lr: need a value from"):
        reserve_point(planned, {"lr": 9.0}, "one")
    reserve_point(planned, {"lr": 9.0}, "two")
    text = planned.reserve(
        "p", Reservation(None, {**POINT, "kind": "${oc.env:HOME}"}, phase="one"), HERE, lease_seconds=300, key="k"
    )
    assert text.params["kind"] == "${oc.env:HOME}"


def test_a_sweep_without_a_space_takes_plain_values_only(registry: Registry) -> None:
    for params in ({"x": {"a": 1}}, {"x": [1]}, {"x": None}, {"": 1.0}, {"x\n": 1.0}, {"x": "\0"}):
        with pytest.raises(InvalidRequest, match="params"):
            reserve_point(registry, params, sweep="s")
    assert registry.runs("s") == []


# Specifications


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("just words", "need a mapping"),
        ("- 1", "need a mapping"),
        (" ", "need a mapping"),
        ("metric: [", "not YAML"),
        ("metric: a\0b", "not YAML"),
        ("!!python/object/apply:os.system ['id']", "not YAML"),
        ("code: .", "spec_yaml.code: unknown key"),
        ("plugins: [os]", "spec_yaml.plugins: unknown key"),
        ("metric: 3", "spec_yaml.metric: need str, got int"),
        ("goal: best", "spec_yaml.goal: need maximize or minimize"),
        ("seed: true", "spec_yaml.seed: need int, got bool"),
        ("seed: " + ":".join(["59"] * 5000), "a number of 14999 characters"),
        ("metric: " + "x" * 2_000_000, "at most 1000000"),
        ("train: " + "[" * 5000, "32 levels"),
        (BOMB, "aliases followed"),
        (
            BOMB.replace("[*", "{<<: [*").replace("]\n", "]}\n").replace("[1,1,1,1,1,1,1,1,1,1]}", "{k: 1}"),
            "aliases followed",
        ),
        ("train: &a [*a]", "alias \\*a"),
        ("phases: [1]", "spec_yaml.phases.0: need a mapping"),
        ("phases: [{parameters: {x: {min: 2, max: 1}}}]", "spec_yaml.phases.0: x.min"),
        ("phases: [{parameters: {x: {min: 0, max: 1}}, constraints: [__import__('os')]}]", "spec_yaml.phases.0"),
        ("phases: [{parameters: {'${oc.env:HOME}': {min: 0, max: 1}}}]", "is not a parameter name"),
        ("choices: {trainer: [x]}", "spec_yaml.choices.trainer"),
    ],
)
def test_what_is_no_specification_is_never_stored(registry: Registry, text: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        registry.create_sweep("bad", text)
    with pytest.raises(InvalidRequest, match=complaint):
        registry.create_sweep("s", text, update=True)
    assert [(sweep.name, sweep.spec_yaml) for sweep in registry.list_sweeps()] == [("s", "metric: reward")]


def test_what_a_driver_registers_has_the_keys_that_the_registry_knows(registry: Registry) -> None:
    spec = load_sweep_job(["sweep_name=phased", "sweep=phased"], {}).spec_yaml
    assert set(yaml.safe_load(spec)) == set(SPEC_KEYS) - {"memory"}  # which stands where something is learned from
    assert registry.create_sweep("phased", spec).spec_yaml == spec


# Events and results


def test_an_event_names_a_run_of_its_own_sweep_or_none(planned: Registry) -> None:
    reserve(planned)
    before = planned.events("p")
    for run_id in ("s.r.0", "p.r.0", "nosuch.r.0"):
        with pytest.raises(UnknownRun):
            planned.add_event("p", "note", run_id=run_id, by="me", detail={}, key="k")
    assert planned.events("p") == before


@pytest.mark.parametrize(
    "kind", ["completed", "failed", "retry", "reserved", "sweep_stopped", "created", "", "A", "a b", "a" * 65]
)
def test_nobody_tells_what_the_registry_tells_itself(registry: Registry, kind: str) -> None:
    with pytest.raises(InvalidRequest, match="kind"):
        registry.add_event("s", kind, run_id=None, by="me", detail={"score": 1e9})
    assert [event.kind for event in registry.events("s")] == ["created"]


@pytest.mark.parametrize(
    "changes",
    [
        {"costs": {"train": 3.0}},
        {"costs": {"train": {"wall_seconds": "1"}}},
        {"attempt_costs": {"train": {"wall_seconds": -1.0}}},
        {"costs": {"__class__": {"wall_seconds": 1.0}}},
        {"costs": {"train": {"moon_seconds": 1.0}}},
        {"curve": ({"env_steps": 1, "score": "high"},)},
        {"curve": ({"env_steps": True, "score": 1.0},)},
        {"curve": ({"env_steps": 2**70, "score": 1.0},)},
    ],
)
def test_results_that_nobody_could_add_up_are_refused(registry: Registry, changes: dict[str, Any]) -> None:
    run_id, fence = running(registry)
    with pytest.raises(InvalidRequest):
        registry.finish(run_id, fence, replace(DONE, **changes), key="f")
    assert registry.observations("s") == []
    assert registry.finish(run_id, fence, DONE, key="f2") is not None


def test_a_failure_has_a_kind_that_is_known(registry: Registry) -> None:
    run_id, fence = running(registry)
    with pytest.raises(InvalidRequest, match="failure: need"):
        registry.finish(run_id, fence, replace(BROKEN, failure="nonsense"), key="f")


def test_json_that_is_nested_deep_is_refused(registry: Registry) -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(InvalidRequest):
        registry.add_event("s", "note", run_id=None, by="me", detail=deep)
    with pytest.raises(InvalidRequest):
        registry.reserve("s", Reservation(None, {}, deep), HERE, lease_seconds=300, key="k")
    assert [event.kind for event in registry.events("s")] == ["created"]


# Deleting


def test_a_deleted_sweep_is_gone_with_all_that_it_had_and_its_name_is_free(registry: Registry) -> None:
    registry.create_sweep("other", "")
    reserve(registry, sweep="other")
    kept = (registry.runs("other"), registry.events("other"))
    run_id, fence = running(registry)
    registry.record_progress(run_id, fence, [{"env_steps": 1, "score": 0.1}])
    registry.finish(run_id, fence, DONE, key="f")
    registry.delete_sweep("s")
    for ask in (
        registry.get_sweep,
        registry.runs,
        registry.events,
        registry.observations,
        registry.attempts,
        registry.delete_sweep,
    ):
        with pytest.raises(UnknownSweep):
            ask("s")
    with pytest.raises(UnknownRun):
        registry.get_run(run_id)
    registry.create_sweep("s", "metric: hearts")
    again = running(registry)
    assert (again, registry.observations("s"), registry.curve(again[0])) == (("s.r.0", 1), [], [])
    assert (registry.runs("other"), registry.events("other")) == kept


def test_a_sweep_that_somebody_works_on_is_deleted_by_force_only(registry: Registry, backend: Backend) -> None:
    run_id, _ = running(registry)
    with pytest.raises(IllegalTransition, match=f"somebody works on {run_id}; `stop --now` it first"):
        registry.delete_sweep("s")
    assert registry.get_run(run_id).owner == HERE
    registry.delete_sweep("s", force=True)
    assert registry.list_sweeps() == []


def test_a_sweep_whose_leases_are_over_may_be_deleted(registry: Registry, backend: Backend) -> None:
    reserve(registry, owner=THERE)
    backend.clock.now += 301
    registry.delete_sweep("s")
    assert registry.list_sweeps() == []


def test_an_endless_lease_is_held(registry: Registry) -> None:
    registry.reserve("s", Reservation(None, {}), THERE, lease_seconds=math.inf, key="k")
    with pytest.raises(IllegalTransition):
        registry.delete_sweep("s")
