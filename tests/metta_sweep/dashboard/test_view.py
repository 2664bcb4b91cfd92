"""The URL holds the whole view."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metta_sweep.dashboard.callbacks import narrowed
from metta_sweep.dashboard.conditions import Condition
from metta_sweep.dashboard.view import COST_AXES, CURVE_AXES, MEASURES, PAGES, PROGRESS_AXES, SCALES, View, filtered

number = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.7g}"))
limits = st.tuples(number, number).map(lambda pair: (min(pair), max(pair)))
conditions = st.one_of(
    st.builds(Condition, st.just("inRange"), limits),
    st.builds(Condition, st.just("greaterThanOrEqual"), st.tuples(number)),
    st.builds(Condition, st.sampled_from(["contains", "equals"]), st.tuples(st.text(min_size=1, max_size=9))),
    st.builds(Condition, st.just("blank")),
)
name = st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True)


@given(
    st.builds(
        View,
        sweep=name,
        page=st.sampled_from(list(PAGES)),
        theme=st.sampled_from(["light", "dark"]),
        score=st.none() | limits,
        cost=st.none() | limits,
        brush=st.dictionaries(name, limits, max_size=3),
        only=st.dictionaries(
            name, st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3).map(tuple), max_size=2
        ),
        run=st.just("") | name,
        curve_x=st.sampled_from(list(CURVE_AXES)),
        cost_axis=st.sampled_from(list(COST_AXES)),
        x=name,
        y=name,
        measure=st.sampled_from(list(MEASURES)),
        compare=st.lists(name, max_size=3).map(tuple),
        where=st.dictionaries(name, conditions, max_size=2),
        find=st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20),
        sort=st.none() | st.lists(st.tuples(name, st.sampled_from(["asc", "desc"])), max_size=3).map(tuple),
        chosen=st.sets(st.integers(0, 10_000), max_size=20).map(lambda some: tuple(sorted(some))),
        columns=st.sampled_from(["main", "all"]),
        colour=name,
        curve_scale=st.sampled_from(list(SCALES)),
        score_scale=st.sampled_from(list(SCALES)),
        progress_x=st.sampled_from(list(PROGRESS_AXES)),
    )
)
def test_a_view_survives_the_url(view: View) -> None:
    assert View.from_search(view.to_search()) == view


@pytest.mark.parametrize("text", ["00", "1e3", "1_0", "nan"])
def test_a_text_that_reads_as_a_number_stays_that_text_in_the_url(text: str) -> None:
    condition = Condition("equals", (text,))
    assert Condition.of_text(condition.to_text()) == condition


def test_many_long_choices_survive_the_url() -> None:
    """Each character of such a text becomes twelve or more in the URL."""
    only = {"model": tuple(f"{number}\U00010000\U00010000\U00010000" for number in range(9))}
    view = View(sweep="s", page="overview", only=only, compare=("a" * 90, "b" * 90, "c" * 90))
    assert View.from_search(view.to_search()) == view


@pytest.mark.parametrize(
    "search",
    [
        "?page=../../etc/passwd&sweep=s",
        "?score=nan~1&sweep=s",
        "?cost=2~1&sweep=s",
        "?theme=<script>&sweep=s",
        "?brush.a=x&sweep=s",
        "?where.a=evil~1&where.b=inRange~1&sweep=s",
        "?chosen=a,1-b,-3,99999999999999999999999&columns=few&sweep=s",
    ],
)
def test_what_makes_no_sense_in_a_url_falls_back_to_the_default(search: str) -> None:
    assert View.from_search(search) == View(sweep="s")


def test_five_thousand_chosen_runs_are_a_short_link() -> None:
    view = View(sweep="s", page="runs", chosen=tuple(range(5000)))
    assert view.to_search() == "?sweep=s&page=runs&chosen=0-4999"
    assert View.from_search(view.to_search()) == view


def test_without_a_sweep_the_page_lists_all() -> None:
    assert View.from_search("").page == "home"
    assert View.from_search("", "mine") == View(sweep="mine", page="overview")


def test_ranges_keep_runs_that_have_no_score_yet_and_brushes_do_not() -> None:
    runs = pd.DataFrame(
        {"score": [1.0, 2.0, float("nan")], "cost_seconds": [5.0, 50.0, float("nan")], "param.lr": [0.1, 0.2, 0.3]}
    )
    runs["param.kind"] = ["a", "b", "a"]
    assert list(filtered(runs, View(score=(1.5, 3.0))).index) == [1, 2]
    assert list(filtered(runs, View(cost=(0.0, 10.0))).index) == [0, 2]
    assert list(filtered(runs, View(brush={"lr": (0.15, 0.25), "gone": (0.0, 1.0)})).index) == [1]
    assert list(filtered(runs, View(brush={"score": (0.5, 1.5)})).index) == [0]
    assert list(filtered(runs, View(only={"kind": ("a",), "gone": ("x",)})).index) == [0, 2]


def test_a_slider_open_at_both_ends_is_no_filter() -> None:
    assert narrowed([0.0, 1.0], (0.0, 1.0)) is None
    assert narrowed([0.2, 1.0], (0.0, 1.0)) == (0.2, 1.0)
