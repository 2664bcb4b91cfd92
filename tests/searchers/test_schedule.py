"""Phases by run number, and a merge that mutates nothing."""

from __future__ import annotations

import copy

import pytest

from searchers import merge, phase_of, pick_phase


def test_the_pages_example_gives_each_run_its_phase() -> None:
    lengths = [100, 70, 11]
    assert [phase_of(n, lengths) for n in (0, 99, 100, 169, 170, 180, 181, 10_000)] == [0, 0, 1, 1, 2, 2, 2, 2]


def test_an_endless_phase_is_never_left() -> None:
    assert phase_of(10**6, [None, 5]) == 0


def test_pick_phase_gives_the_phase_itself() -> None:
    assert pick_phase(3, ["explore", "exploit"], [3, None]) == "exploit"


@pytest.mark.parametrize(("number", "lengths"), [(0, []), (-1, [3])])
def test_no_phase_or_a_negative_number_is_refused(number: int, lengths: list[int | None]) -> None:
    with pytest.raises(ValueError, match="need a phase and a number >= 0"):
        phase_of(number, lengths)


def test_merge_is_deep_and_leaves_both_sides_alone() -> None:
    base = {
        "protein": {"expansion_rate": 0.15, "budget": None},
        "parameters": {"trainer": {"steps": {"min": 1, "max": 9, "mean": 5}}},
    }
    override = {"protein": {"expansion_rate": 0.1}, "parameters": {"trainer": {"steps": {"mean": 7}}}}
    before = copy.deepcopy((base, override))
    merged = merge(base, override)
    assert merged == {
        "protein": {"expansion_rate": 0.1, "budget": None},
        "parameters": {"trainer": {"steps": {"min": 1, "max": 9, "mean": 7}}},
    }
    merged["parameters"]["trainer"]["steps"]["max"] = 0
    merged["protein"]["new"] = 1
    assert (base, override) == before


def test_a_value_replaces_a_mapping_and_the_other_way_round() -> None:
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
    assert merge({"a": 2}, {"a": {"b": 1}}) == {"a": {"b": 1}}
