"""What is said of parameters whose range moves from phase to phase, and of those that only some runs have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from metta_sweep.analysis import importance as correlation
from metta_sweep.analysis.frame import build
from metta_sweep.analysis.searched_space import union
from metta_sweep.config.job import Budget
from metta_sweep.config.registered import read_spec
from metta_sweep.dashboard import export
from metta_sweep.dashboard.background_fits import Fit, fit
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures.parallel import brushed
from metta_sweep.dashboard.pages import find
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.dashboard.view import View
from metta_sweep.registry.records import (
    NewObservation,
    ObservationRecord,
    RunRecord,
    RunState,
    SweepRecord,
    SweepState,
)
from searchers import Space
from tests.metta_sweep.dashboard.simulated import START, Plan, spec_yaml

Leaves = Mapping[str, Mapping[str, Any]]
X = {"distribution": "uniform", "min": 0.0, "max": 1.0}


def length(low: float, high: float) -> dict[str, Any]:
    return {"distribution": "log_normal", "min": low, "max": high}


def swept(phases: Mapping[str, Leaves], points: Sequence[tuple[str, dict[str, Any], float]]) -> Snapshot:
    """A sweep whose runs are these (phase, params, score), as it would be read from a registry."""
    spec = yaml.safe_load(spec_yaml(Plan(name="s")))
    shared = {"auto": False, "constraints": [], "protein": {}}
    counts = {name: sum(phase == name for phase, _, _ in points) for name in list(phases)[:-1]}
    spec["phases"] = [
        {"name": name, "num_runs": counts.get(name), "parameters": dict(leaves), **shared}
        for name, leaves in phases.items()
    ]
    text = yaml.safe_dump(spec)
    runs = [ended_run(number, phase, params) for number, (phase, params, _) in enumerate(points)]
    results = [
        ObservationRecord(
            run.number + 1, run.id, run.number, run.phase, run.params, NewObservation("completed", score, 10, 10), START
        )
        for run, (_, _, score) in zip(runs, points, strict=True)
    ]
    frame, sweep = build(runs, results, []), SweepRecord("s", text, "", SweepState.ACTIVE, START)
    records = {run.id: run for run in runs}
    return Snapshot(
        sweep,
        read_spec(text).sweep,
        frame,
        frame,
        pd.DataFrame(),
        records,
        (),
        Budget(),
        {},
        ending=None,
        version="1",
        read_at=START,
    )


def ended_run(number: int, phase: str, params: dict[str, Any]) -> RunRecord:
    return RunRecord(
        id=f"s.r.{number}",
        sweep="s",
        number=number,
        state=RunState.COMPLETED,
        params=params,
        explanation={},
        phase=phase,
        cursor=0,
        fence=1,
        attempts=1,
        owner=None,
        lease_until=None,
        seen_at=START,
        created_at=START,
        started_at=START,
        ended_at=START,
        predicted_score=None,
        predicted_cost=None,
        failure=None,
        signature="",
        message="",
        log_tail="",
    )


@pytest.fixture(scope="module")
def phased() -> Snapshot:
    """Score 2 log10(length) + 0.3 x + 0 y over three phases, of which the last fixes length and x."""
    phases: dict[str, Leaves] = {
        "short": {"length": length(1e3, 1e4), "x": X, "y": X},
        "longer": {"length": length(1e4, 1e5), "x": X, "y": X},
        "long": {"length": {"value": 100_000}, "x": {"value": 0.5}, "y": X},
    }
    rng, points = np.random.default_rng(0), []
    for name, leaves in phases.items():
        space = Space.from_config(leaves)
        for unit in rng.uniform(-1.0, 1.0, (16, space.dimension)):
            at: dict[str, Any] = space.from_unit(unit)
            points.append((name, at, 2.0 * math.log10(at["length"]) + 0.3 * at["x"]))
    return swept(phases, points)


@pytest.fixture(scope="module")
def known(phased: Snapshot) -> Fit:
    return fit(phased)


def test_the_model_covers_what_all_phases_searched(phased: Snapshot, known: Fit) -> None:
    assert known.surrogate is not None
    ranges = {one.name: (one.low, one.high) for one in known.surrogate.space.parameters}  # type: ignore[union-attr]
    assert ranges == {"length": (1e3, 1e5), "x": (0.0, 1.0), "y": (0.0, 1.0)}


def test_a_parameter_that_matters_most_over_all_phases_comes_first_with_its_share(known: Fit) -> None:
    # Over two decades of length the variance is 4 * 2**2 / 12; that of x is 0.3**2 / 12.
    shares = known.importance["score"].set_index("parameter")["total"]
    assert shares.index[0] == "length"
    assert shares["length"] == pytest.approx((16 / 12) / (16 / 12 + 0.09 / 12), abs=0.02)


def test_nothing_is_to_be_fixed_and_widened_at_once(known: Fit) -> None:
    advice = {one.title: one.text for one in known.findings}
    assert "y" in advice["Effects"]
    assert "length" not in advice["Effects"]
    assert "length (max)" in advice["Bounds"]
    assert "y" not in advice["Bounds"].replace("by", "").split("bound: ")[1]


def test_a_narrowed_search_keeps_the_last_phase_but_for_what_was_narrowed(phased: Snapshot, known: Fit) -> None:
    view = View(sweep="s", brush={"length": (2e3, 5e4)})
    found = yaml.safe_load(export.narrowed_yaml(FigureInput(phased, view, known), as_phase=False))["parameters"]
    assert (found["length"]["min"], found["length"]["max"]) == pytest.approx((2e3, 5e4))
    assert found["x"] == {"value": 0.5}


@pytest.mark.parametrize(
    ("leaves", "low", "high", "scale"),
    [
        ([{"value": 1000}, {"value": 100_000}], 1000.0, 100_000.0, "int_log_normal"),
        ([{"value": 0.1}, {"value": 0.2}], 0.1, 0.2, "uniform"),
        ([length(1e-3, 1.0), {"value": 0.0}], 0.0, 1.0, "uniform"),
        ([{"distribution": "uniform_pow2", "min": 2, "max": 8}, {"value": 64}], 2.0, 64.0, "uniform_pow2"),
        ([X, length(0.5, 4.0)], 0.0, 4.0, "uniform"),
    ],
)
def test_a_union_reaches_over_ranges_and_fixed_values(
    leaves: list[dict[str, Any]], low: float, high: float, scale: str
) -> None:
    (one,) = union([Space.from_config({"p": leaf}) for leaf in leaves]).parameters
    assert (one.low, one.high, one.distribution.name) == (low, high, scale)  # type: ignore[union-attr]


def test_choices_of_all_phases_are_choices_and_conditions_stay_where_all_agree() -> None:
    child = {**X, "when": "kind == 'a'"}
    first = Space.from_config({"kind": {"choices": ["a", "b"]}, "child": child})
    second = Space.from_config({"kind": {"choices": ["a", "c"]}, "child": child})
    whole = union([first, second])
    assert {one.name: one.when for one in whole.parameters} == {"child": "kind == 'a'", "kind": ""}
    assert whole.contains({"kind": "c"})
    assert whole.contains({"kind": "a", "child": 0.3})
    assert not union([first, Space.from_config({"kind": {"choices": ["a", "b"]}, "child": X})]).conditions


CONDITIONAL: Leaves = {
    "kind": {"choices": ["adam", "sgd"]},
    "momentum": {**X, "when": "kind == 'sgd'"},
    "x": X,
}


def with_momentum(num_sgd: int) -> FigureInput:
    """60 runs, as many with sgd, and so with a momentum; score = 3 momentum there and 0 elsewhere, plus 0.1 x."""
    rng, points = np.random.default_rng(0), []
    for number in range(60):
        at = {"kind": "sgd" if number % (60 // num_sgd) == 0 else "adam", "x": float(rng.uniform())}
        at |= {"momentum": float(rng.uniform())} if at["kind"] == "sgd" else {}
        points.append(("", at, 3.0 * at.get("momentum", 0.0) + 0.1 * at["x"]))
    snapshot = swept({"": CONDITIONAL}, points)
    return FigureInput(snapshot, View(sweep="s"), fit(snapshot))


@pytest.fixture(scope="module")
def rare() -> FigureInput:
    return with_momentum(5)


@pytest.fixture(scope="module")
def common() -> FigureInput:
    return with_momentum(30)


def axis_of(inputs: FigureInput, label: str) -> Any:
    return next(one for one in find("parallel").draw(inputs).data[0].dimensions if one.label == label)


def labels(figure: go.Figure) -> str:
    axes = [axis.title.text or "" for axis in (*figure.select_xaxes(), *figure.select_yaxes())]
    bars = [str(place) for trace in figure.data if trace.type == "bar" for place in trace.y]
    return "\n".join([*axes, *bars])


def test_every_run_has_a_line_and_a_mark_where_it_lacks_the_parameter(rare: FigureInput) -> None:
    axis = axis_of(rare, "momentum")
    assert len(axis["values"]) == 60
    assert not np.isnan(axis["values"]).any()
    mark = dict(zip(axis.ticktext, axis.tickvals, strict=True))["inactive"]
    assert sum(np.isclose(axis["values"], mark)) == 55
    assert mark < min(tick for tick in axis.tickvals if tick != mark)


def test_the_mark_can_be_chosen_alone_and_numbers_without_it(rare: FigureInput) -> None:
    axes = [one.label for one in find("parallel").draw(rare).data[0].dimensions]
    key = f"dimensions[{axes.index('momentum')}].constraintrange"
    mark, top = axis_of(rare, "momentum").range
    only = brushed({key: [[mark - 0.05, mark + 0.05]]}, {}, rare.runs, rare.space)
    assert only == {"momentum": ["inactive"]}
    assert len(replace(rare, view=View(sweep="s", only={"momentum": ("inactive",)})).runs) == 55
    low, high = brushed({key: [[mark, top]]}, {}, rare.runs, rare.space)["momentum"]
    assert len(replace(rare, view=View(sweep="s", brush={"momentum": (low, high)})).runs) == 5
    text = export.narrowed_yaml(replace(rare, view=View(sweep="s", only={"momentum": ("inactive",)})), as_phase=False)
    assert yaml.safe_load(text)["parameters"]["momentum"]["max"] == 1.0


def test_what_five_runs_cannot_tell_is_said_by_every_figure(rare: FigureInput) -> None:
    words = "active in 5 of 60 runs: too few to tell"
    assert rare.fit is not None
    shares = rare.fit.importance["score"].set_index("parameter")
    assert math.isnan(shares.loc["momentum", "total"])
    assert "momentum" not in rare.fit.marginals
    by_rank = correlation.importance(rare.runs).set_index("parameter")
    assert math.isnan(by_rank.loc["momentum", "importance"])
    by_correlation = replace(rare, view=View(sweep="s", measure="correlation"))
    for figure in (find("importance_score").draw(rare), find("importance_score").draw(by_correlation)):
        assert words in labels(figure)
    slices = find("slices").draw(rare)
    assert words in labels(slices)
    axis = next(one for one in slices.select_xaxes() if "momentum" in (one.title.text or ""))
    drawn = [trace for trace in slices.data if trace.xaxis == axis.plotly_name.replace("axis", "")]
    assert [(trace.mode, len(trace.x)) for trace in drawn] == [("markers", 5)]
    assert any(words in one.text for one in rare.fit.findings if one.title == "Effects")


def test_a_parameter_that_half_of_the_runs_have_is_judged_where_it_exists_by_all_alike(common: FigureInput) -> None:
    assert common.fit is not None
    shares = common.fit.importance["score"].set_index("parameter")["total"]
    # momentum acts in half of the space: E[Var] = 0.5 * 9 / 12; kind brings the mean 1.5 or not: 1.5**2 / 4
    assert shares["momentum"] == pytest.approx(0.375 / (0.375 + 0.5625), abs=0.08)
    assert correlation.importance(common.runs).set_index("parameter").loc["momentum", "importance"] > 0.95
    line = common.fit.marginals["momentum"]
    assert line["mean"].iloc[-1] - line["mean"].iloc[0] == pytest.approx(3.0 * 11 / 12, abs=0.2)
    for name in ("importance_score", "marginals", "slices", "parameters"):
        assert "active in 30 of 60 runs" in labels(find(name).draw(common)), name


def test_a_slice_of_a_parameter_that_the_held_run_lacks_goes_through_the_best_run_that_has_it(
    common: FigureInput,
) -> None:
    held = replace(common, view=View(sweep="s", run="s.r.1"))  # adam
    best = common.runs.loc[common.runs["param.momentum"].notna(), ["id", "score"]].sort_values("score")["id"].iloc[-1]
    assert f"active in 30 of 60 runs; through {best}" in labels(find("slices").draw(held))
