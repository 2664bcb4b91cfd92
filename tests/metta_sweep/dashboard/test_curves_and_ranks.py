"""Curves in the colour of what is asked for, scales, distributions and ranks."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go
import pytest

from metta_sweep.dashboard.callbacks import chosen_run
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import scores, theme
from metta_sweep.dashboard.figures.ranks import edf, pair_of, rank
from metta_sweep.dashboard.figures.theme import LIGHT
from metta_sweep.dashboard.pages import find
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.dashboard.view import View


def drawn(name: str, snapshot: Snapshot, **view: object) -> go.Figure:
    return find(name).draw(FigureInput(snapshot, View(sweep=snapshot.sweep.name, **view), None))


def drawn_curves(snapshot: Snapshot, **view: object) -> go.Figure:
    return drawn("learning_curves", snapshot, **view)


def test_curves_have_the_colours_of_their_phases_and_say_which_run_they_are(snapshot: Snapshot) -> None:
    figure = drawn_curves(snapshot)
    names = [trace.name for trace in figure.data]
    assert names == ["explore", "exploit", None, "middle half of the runs", "median", "best so far"]
    explore = figure.data[0]
    assert explore.showlegend
    assert "phase" not in explore.hovertemplate
    assert "explore" in explore.hovertemplate
    assert set(explore.customdata) - {""} <= set(snapshot.runs.query("phase == 'explore'")["id"])


def test_few_curves_have_a_colour_and_a_line_in_the_legend_each(snapshot: Snapshot) -> None:
    figure = drawn_curves(snapshot, score=(6.0, 6.2))
    singles = [trace for trace in figure.data if trace.name and trace.name.startswith("#")]
    assert 1 < len(singles) <= 12
    assert len({(trace.line.color, trace.line.dash) for trace in singles}) == len(singles)


def test_curves_along_a_parameter_have_a_colour_bar_and_tell_its_value(snapshot: Snapshot) -> None:
    path = "trainer.optimizer.learning_rate"
    figure = drawn_curves(snapshot, colour=path)
    bars = [trace.marker.colorbar.title.text for trace in figure.data if trace.marker.showscale]
    assert bars == [path]
    shades = [trace for trace in figure.data if trace.customdata is not None]
    run_id, text = shades[0].customdata[0]
    value = snapshot.records[run_id].params[path]
    assert text == f"{path} {theme.number(value)}"
    assert (
        chosen_run([{"value": {"points": [{"customdata": [run_id, text]}]}}], {"type": "figure"}, "", is_open=True)
        == run_id
    )


def test_many_curves_by_run_are_few_traces_that_tell_the_run(snapshot: Snapshot) -> None:
    figure = drawn_curves(snapshot, colour="run")
    singles = [trace for trace in figure.data if trace.customdata is not None]
    assert len(singles) == len(LIGHT.colours)
    assert not any(trace.showlegend for trace in singles)
    curves = {run_id for trace in singles for run_id in trace.customdata} - {""}
    assert curves == set(snapshot.curves["id"])


def test_curves_by_a_choice_have_a_group_for_each(snapshot: Snapshot) -> None:
    names = {trace.name for trace in drawn_curves(snapshot, colour="model.type").data}
    assert {"type mlp", "type lstm"} <= names


def test_an_unknown_colour_of_the_url_is_the_phase(snapshot: Snapshot) -> None:
    names = {trace.name for trace in drawn_curves(snapshot, colour="<script>").data}
    assert {"explore", "exploit"} <= names


def test_chosen_runs_are_drawn_boldly_over_grey_ones(snapshot: Snapshot) -> None:
    figure = drawn_curves(snapshot, chosen=(0, 2))
    bold = [trace for trace in figure.data if trace.line.width == 3]
    assert [trace.name for trace in bold] == ["#0", "#2"]
    assert figure.data[0].line.color == LIGHT.muted


def test_scales_are_as_asked_and_a_score_below_zero_has_no_logarithm(snapshot: Snapshot) -> None:
    assert drawn_curves(snapshot).layout.xaxis.type == "log"
    assert drawn_curves(snapshot, curve_scale="linear").layout.xaxis.type != "log"
    figure = go.Figure(data=[{"type": "scatter", "x": [1, 2], "y": [0.01, 10.0]}])
    assert theme.score_axis(figure, is_log=True).layout.yaxis.type == "log"
    figure.add_scatter(x=[1], y=[-1.0])
    assert "not all are above 0" in theme.score_axis(figure, is_log=True).layout.yaxis.title.text


@pytest.mark.parametrize("by", ["number", "trainer.optimizer.learning_rate", "model.type", "run", "none", "gone"])
def test_runs_of_every_colour_are_all_drawn(snapshot: Snapshot, by: str) -> None:
    figure = drawn("cost_vs_score", snapshot, colour=by)
    points = sum(len(trace.x) for trace in figure.data if trace.mode == "markers")
    assert points == snapshot.runs["score"].notna().sum()


def test_progress_over_money_counts_failed_runs() -> None:
    runs = pd.DataFrame(
        {"sequence": [1, 3, 2, 0], "score": [1.0, 2.0, math.nan, math.nan], "dollars": [1.0, 4.0, 2.0, 9.0]}
    )
    runs["ended_at"] = [10.0, 30.0, 20.0, math.nan]
    assert scores.progress(runs, "dollars").tolist() == [1.0, 7.0]
    assert scores.progress(runs, "result").tolist() == [1, 2]
    assert scores.progress(runs, "ended_at").astype("datetime64[s]").astype(int).tolist() == [10, 30]


def test_a_distribution_ends_at_all_runs_and_ranks_go_from_worst_to_best() -> None:
    two = edf({"a": pd.Series([3.0, 1.0, 2.0, 2.0]), "one": pd.Series([1.0])}, LIGHT)
    assert [trace.name for trace in two.data] == ["a"]
    assert two.data[0].x.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert two.data[0].y.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_ranks_do_not_follow_an_outlier_and_turn_with_the_goal(snapshot: Snapshot) -> None:
    pair = ("trainer.ppo.gamma", "model.type")
    up, down = (rank(snapshot.runs, pair, goal, LIGHT) for goal in ("maximize", "minimize"))
    done = snapshot.runs[snapshot.runs["score"].notna()]
    best = int(done["score"].to_numpy().argmax())
    assert up.data[0].marker.color[best] == 1.0
    assert down.data[0].marker.color[best] == pytest.approx(1 / len(done))
    assert up.data[0].customdata[best] == done["id"].iloc[best]
    assert pair_of(done, ("model.type", "auto"), ()) == ("model.type", "trainer.minibatch_size")
