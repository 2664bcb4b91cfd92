"""What every registry promises of sweeps, reservations and events; runs over each implementation."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from metta_sweep.errors import (
    Fenced,
    IllegalTransition,
    InvalidRequest,
    NumberTaken,
    SpecChanged,
    UnknownRun,
    UnknownSweep,
)
from metta_sweep.registry.api import Registry
from metta_sweep.registry.codec import dumps
from metta_sweep.registry.records import RemarkRecord, Reservation, RunState, SweepState
from tests.metta_sweep.registry.registry_backends import HERE, THERE, Backend, reserve
from tests.metta_sweep.registry.registry_examples import DONE, running


def test_the_same_specification_returns_the_same_sweep(registry: Registry) -> None:
    first = registry.get_sweep("s")
    assert registry.create_sweep("s", "metric: reward") == first
    assert [sweep.name for sweep in registry.list_sweeps()] == ["s"]


def test_another_specification_is_refused_with_the_difference(registry: Registry) -> None:
    with pytest.raises(SpecChanged, match="--update") as caught:
        registry.create_sweep("s", "metric: hearts")
    assert "-metric: reward\n+metric: hearts" in caught.value.diff


def test_update_replaces_the_specification_and_logs_the_difference(registry: Registry) -> None:
    before = registry.get_sweep("s")
    after = registry.create_sweep("s", "metric: hearts", update=True)
    assert after.spec_yaml == "metric: hearts"
    assert after.spec_hash != before.spec_hash
    assert "+metric: hearts" in registry.events("s")[-1].detail["diff"]


def test_a_sweep_registered_without_specification_takes_the_first_one(registry: Registry) -> None:
    registry.create_sweep("old", "", wandb_project="p", wandb_sweep_id="x1")
    assert registry.create_sweep("old", "metric: reward").spec_yaml == "metric: reward"
    assert registry.get_sweep("old").wandb_sweep_id == "x1"


def test_an_unknown_sweep_is_named_with_its_nearest(registry: Registry) -> None:
    registry.create_sweep("arena_quick", "")
    with pytest.raises(UnknownSweep, match="did you mean arena_quick"):
        registry.get_sweep("arena_quik")
    with pytest.raises(UnknownSweep):
        registry.runs("arena_quik")
    with pytest.raises(UnknownSweep):
        registry.next_number("arena_quik")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a..b", "../a", "a b", "-a", "a\0", "ä", "a" * 101, "<b>", "a'; DROP TABLE sweeps; --"],
)
def test_names_that_no_directory_should_have_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidRequest):
        registry.create_sweep(name, "")


def test_a_draining_sweep_takes_no_new_runs_but_running_ones_finish(registry: Registry) -> None:
    run_id, fence = running(registry)
    assert registry.set_sweep_state("s", SweepState.DRAINING, by="me", reason="enough").state == SweepState.DRAINING
    with pytest.raises(IllegalTransition, match="draining"):
        reserve(registry)
    assert registry.finish(run_id, fence, DONE, key="f") is not None
    event = next(event for event in registry.events("s") if event.kind == "sweep_draining")
    assert (event.by, event.detail) == ("me", {"reason": "enough"})


def test_what_was_decided_before_a_stop_does_not_undo_it(registry: Registry) -> None:
    registry.set_sweep_state("s", SweepState.STOPPED, by="stop", reason="")
    with pytest.raises(IllegalTransition, match="somebody stopped it meanwhile"):
        registry.set_sweep_state("s", SweepState.ACTIVE, by="run", reason="", age_seconds=5.0)
    assert registry.get_sweep("s").state is SweepState.STOPPED
    assert registry.set_sweep_state("s", SweepState.ACTIVE, by="run", reason="").state is SweepState.ACTIVE


def test_each_request_to_stop_is_in_the_log_and_none_weakens_another(registry: Registry) -> None:
    for state in (SweepState.STOPPED, SweepState.STOPPED, SweepState.DRAINING):
        assert registry.set_sweep_state("s", state, by="stop", reason="").state is SweepState.STOPPED
    assert [event.kind for event in registry.events("s") if event.by == "stop"] == [
        "sweep_stopped",
        "sweep_stopped",
        "sweep_draining",
    ]


# Reservations


def test_run_ids_count_from_zero_without_gap(registry: Registry) -> None:
    assert [reserve(registry).id for _ in range(3)] == ["s.r.0", "s.r.1", "s.r.2"]
    assert registry.next_number("s") == 3


def test_a_reservation_comes_back_as_it_was_made(registry: Registry) -> None:
    wanted = Reservation(
        0, {"a.b": 0.1 + 0.2, "n": 3, "c": "relu", "f": True}, {"why": [1, None]}, "cheap", 7, -1e-300, 12.5
    )
    run = registry.reserve("s", wanted, HERE, lease_seconds=300, key="k")
    assert run == registry.get_run("s.r.0")
    assert (run.params, run.explanation, run.phase, run.cursor) == (wanted.params, wanted.explanation, "cheap", 7)
    assert (run.predicted_score, run.predicted_cost) == (-1e-300, 12.5)
    assert (run.state, run.fence, run.attempts, run.owner) == (RunState.RESERVED, 1, 0, HERE)
    assert (run.created_at, run.lease_until) == (1_000_000.0, 1_000_300.0)


def test_a_number_that_another_driver_took_is_refused(registry: Registry) -> None:
    reserve(registry, 0)
    with pytest.raises(NumberTaken, match="the next is 1"):
        reserve(registry, 0, THERE)
    with pytest.raises(NumberTaken):
        reserve(registry, 2, THERE)
    assert registry.next_number("s") == 1


def test_the_same_key_gives_the_first_answer_and_changes_nothing(registry: Registry) -> None:
    first = registry.reserve("s", Reservation(None, {"x": 1}), HERE, lease_seconds=300, key="k")
    registry.start(first.id, first.fence, num_gpus=0, key="start")
    assert registry.reserve("s", Reservation(None, {"x": 2}), HERE, lease_seconds=300, key="k") == first
    assert registry.next_number("s") == 1


def test_a_key_belongs_to_one_kind_of_write(registry: Registry) -> None:
    run = registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=300, key="k")
    with pytest.raises(InvalidRequest, match="was used for reserve"):
        registry.start(run.id, run.fence, num_gpus=0, key="k")


@pytest.mark.parametrize("key", ["", "k" * 129, "a\nb", "a\0b"])
def test_keys_are_short_and_printable(registry: Registry, key: str) -> None:
    with pytest.raises(InvalidRequest, match="key="):
        registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=300, key=key)


def test_a_stale_point_is_replaced_until_the_run_starts(registry: Registry) -> None:
    run = reserve(registry)
    replaced = registry.replace_suggestion(
        run.id, run.fence, Reservation(0, {"x": 0.9}, phase="late", cursor=4), key="r"
    )
    assert (replaced.id, replaced.params, replaced.phase, replaced.cursor) == (run.id, {"x": 0.9}, "late", 4)
    registry.start(run.id, run.fence, num_gpus=0, key="s")
    with pytest.raises(IllegalTransition, match="is running, this needs reserved"):
        registry.replace_suggestion(run.id, run.fence, Reservation(0, {"x": 0.1}), key="r2")


def test_a_point_is_replaced_under_its_own_number(registry: Registry) -> None:
    run = reserve(registry)
    with pytest.raises(InvalidRequest, match=r"number=7: run s\.r\.0 has number 0"):
        registry.replace_suggestion(run.id, run.fence, Reservation(7, {"x": 0.1}), key="r")
    assert registry.get_run(run.id) == run


# Events, and what is there afterwards


def test_events_tell_a_runs_story_in_order(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.finish(run_id, fence, DONE, key="f")
    registry.add_event("s", "note", run_id=run_id, by="me", detail={"text": "<b>'; DROP TABLE runs; --\0</b>"})
    events = registry.events("s")
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [(event.kind, event.by) for event in events] == [
        ("created", ""),
        ("reserved", "a:1"),
        ("started", "a:1"),
        ("completed", "a:1"),
        ("note", "me"),
    ]
    assert events[-1].detail == {"text": "<b>'; DROP TABLE runs; --\0</b>"}
    assert [event.kind for event in registry.events("s", after=2, limit=1)] == ["started"]


def test_the_last_note_and_tags_of_a_run_and_of_the_sweep_stand(registry: Registry) -> None:
    run = reserve(registry)
    registry.remark("s", run_id=run.id, note="too soon", tags=["a"], by="ann")
    told = registry.remark("s", run_id=run.id, note=" fine after all \n", tags=["b", " a ", "b", ""], by="bob")
    registry.remark("s", run_id=None, note="<b>for the paper</b>\0", tags=[], by="ann")
    assert told == RemarkRecord(run.id, "fine after all", ("b", "a"))
    assert registry.remarks("s") == [RemarkRecord("", "<b>for the paper</b>\N{REPLACEMENT CHARACTER}"), told]
    written = [event for event in registry.events("s") if event.kind == "remarked"]
    assert [(event.by, event.run_id) for event in written] == [("ann", run.id), ("bob", run.id), ("ann", None)]
    assert written[1].detail == {"note": "fine after all", "tags": ["b", "a"]}
    registry.remark("s", run_id=run.id, note="", tags=[], by="ann")
    assert [one.run_id for one in registry.remarks("s")] == [""]


@pytest.mark.parametrize(
    ("note", "tags", "complaint"),
    [
        ("x" * 2001, [], "note: need at most 2,000 characters, got 2,001"),
        ("", [f"t{number}" for number in range(21)], "tags: need at most 20, got 21"),
        ("", ["x" * 41], "tags: need 1 to 40 characters"),
        ("", ["a,b"], "tags: need 1 to 40 characters without a comma each, got 'a,b'"),
        ("", ["a\nb"], "tags: need 1 to 40 characters"),
    ],
)
def test_notes_and_tags_are_bounded(registry: Registry, note: str, tags: list[str], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(complaint)):
        registry.remark("s", run_id=None, note=note, tags=tags, by="me")
    assert registry.remarks("s") == []


def test_a_note_needs_its_sweep_and_its_run_and_goes_with_them(registry: Registry) -> None:
    with pytest.raises(UnknownRun):
        registry.remark("s", run_id="s.r.0", note="x", tags=[], by="me")
    with pytest.raises(UnknownSweep):
        registry.remark("nosuch", run_id=None, note="x", tags=[], by="me")
    registry.remark("s", run_id=None, note="x", tags=[], by="me")
    registry.delete_sweep("s")
    registry.create_sweep("s", "")
    assert registry.remarks("s") == []


def test_an_event_with_a_key_is_added_once(registry: Registry) -> None:
    for _ in range(2):
        registry.add_event("s", "note", run_id=None, by="me", detail={}, key="k")
    assert [event.kind for event in registry.events("s")] == ["created", "note"]


def test_a_refused_write_leaves_no_trace(registry: Registry) -> None:
    run_id, fence = running(registry)
    before = (registry.runs("s"), registry.events("s"), registry.next_number("s"))
    with pytest.raises(Fenced):
        registry.interrupt(run_id, fence + 1, reason="", costs={}, key="i")
    with pytest.raises(InvalidRequest, match="env_steps"):
        registry.finish(run_id, fence, replace(DONE, curve=({"score": 1.0},)), key="f")
    with pytest.raises(NumberTaken):
        reserve(registry, 0)
    assert (registry.runs("s"), registry.events("s"), registry.next_number("s")) == before


def test_everything_is_there_after_a_restart(registry: Registry, backend: Backend) -> None:
    run_id, fence = running(registry)
    registry.finish(run_id, fence, DONE, key="f")
    reserve(registry)
    before = (
        registry.list_sweeps(),
        registry.runs("s"),
        registry.observations("s"),
        registry.attempts("s"),
        registry.events("s"),
    )
    registry.close()
    again = backend.open()
    assert (
        again.list_sweeps(),
        again.runs("s"),
        again.observations("s"),
        again.attempts("s"),
        again.events("s"),
    ) == before


# Records


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"outcome": "running"}, "outcome: need completed, stopped_early or failed, got 'running'"),
        ({"score": None}, "score: completed runs need one, got None"),
        ({"outcome": "failed"}, "score: failed runs have none, got 1.25"),
        ({"score": math.nan}, "score: need a finite number, got nan; report the run as failed instead"),
        ({"cost_seconds": -1.0}, "cost_seconds: need a finite number >= 0, got -1.0"),
        ({"wall_seconds": math.inf}, "wall_seconds: need a finite number >= 0, got inf"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(complaint)):
        replace(DONE, **changes)


def test_an_owner_started_at_some_time() -> None:
    with pytest.raises(InvalidRequest, match="started: need a finite number, got nan"):
        replace(HERE, started=math.nan)


def test_arrays_are_written_as_plain_numbers() -> None:
    assert dumps({"a": np.arange(3), "b": np.float64(0.5), "c": math.nan}) == '{"a":[0,1,2],"b":0.5,"c":null}'
    with pytest.raises(InvalidRequest, match="not JSON"):
        dumps(object())
