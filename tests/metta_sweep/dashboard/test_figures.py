"""Every figure of every page, for full, empty, one-run and all-failed sweeps, and with hostile texts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from metta_sweep.analysis.pareto import pareto_front
from metta_sweep.dashboard.background_fits import Fit, fit
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import compare, parallel, scores, theme
from metta_sweep.dashboard.figures.theme import DARK, LIGHT
from metta_sweep.dashboard.pages import FIGURES, find
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.dashboard.view import View
from searchers import Space
from tests.metta_sweep.dashboard.conftest import HOSTILE, PLANS, read
from tests.metta_sweep.dashboard.simulated import PARAMETERS

NAMES = [name for figures in FIGURES.values() for name in figures]
SPACE = Space.from_config(PARAMETERS)


def scene_of(snapshot: Snapshot, known: Fit | None, **view: object) -> FigureInput:
    return FigureInput(snapshot, View(sweep=snapshot.sweep.name, **{"chosen": (0, 2), **view}), known)


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_every_figure_of_a_full_sweep_has_data(name: str, look: str, snapshot: Snapshot, known: Fit) -> None:
    figure = find(name).draw(scene_of(snapshot, known, theme=look))
    assert len(figure.data) > 0
    assert figure.layout.height >= 240


@pytest.mark.parametrize("plan", [plan.name for plan in PLANS if plan.name != "sim"])
def test_poor_sweeps_get_a_figure_or_a_sentence_on_every_page(plan: str, data_dir: Path) -> None:
    snapshot = read(data_dir, plan)
    for known in (None, fit(snapshot)):
        for name in NAMES:
            figure = find(name).draw(scene_of(snapshot, known))
            assert len(figure.data) > 0 or figure.layout.annotations[0].text, name


@pytest.mark.parametrize("name", NAMES)
def test_while_the_model_is_fitted_every_figure_says_so_or_does_without(name: str, snapshot: Snapshot) -> None:
    figure = find(name).draw(scene_of(snapshot, None))
    assert len(figure.data) > 0 or "fitted" in figure.layout.annotations[0].text


def hostile_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs with markup wherever a run brings a text of its own."""
    renamed = runs.rename(columns={"param.model.type": f"param.{HOSTILE}"})
    params = [{**row, HOSTILE: HOSTILE} for row in renamed["params"]]
    return renamed.assign(
        id=HOSTILE,
        phase=HOSTILE,
        message=HOSTILE,
        params=params,
        **{f"param.{HOSTILE}": [HOSTILE, "b"] * (len(runs) // 2) + ["b"] * (len(runs) % 2)},
    )


def texts(figure: go.Figure) -> str:
    """What Plotly would read as its markup: everything but `customdata` and raw values."""
    return repr(
        [figure.layout, *[(trace.name, trace.text, trace.hovertext, trace.hovertemplate) for trace in figure.data]]
    )


@pytest.mark.parametrize("draw", [scores.cost_vs_score, scores.score_progression, scores.efficiency_frontier])
def test_markup_in_a_runs_texts_is_shown_and_not_read(draw: object, snapshot: Snapshot) -> None:
    figure = draw(hostile_runs(snapshot.runs), "maximize", LIGHT)
    assert "<script" not in texts(figure)
    assert "&lt;script&gt;" in texts(figure)


def test_markup_in_a_parameters_name_is_shown_and_not_read(snapshot: Snapshot) -> None:
    runs = hostile_runs(snapshot.runs)
    assert "<script" not in repr(scores.parameter_grid(runs, LIGHT).layout)
    dimensions = parallel.parallel_coordinates(runs, None, {}, LIGHT).data[0].dimensions
    assert not any("<script" in repr((dimension.label, dimension.ticktext)) for dimension in dimensions)


def test_the_front_that_is_drawn_is_the_front(snapshot: Snapshot) -> None:
    figure = scores.cost_vs_score(snapshot.runs, "maximize", LIGHT)
    line = next(trace for trace in figure.data if trace.name == "Pareto front")
    assert list(line.customdata) == pareto_front(snapshot.runs, "maximize")["id"].tolist()


def test_many_points_are_drawn_with_webgl_and_few_are_not(snapshot: Snapshot) -> None:
    many = pd.concat([snapshot.runs] * 40, ignore_index=True)
    assert scores.cost_vs_score(many, "maximize", LIGHT).data[0].type == "scattergl"
    assert {trace.type for trace in scores.cost_vs_score(snapshot.runs, "maximize", LIGHT).data} == {"scatter"}


def test_what_is_hidden_in_a_legend_stays_hidden_because_uirevision_never_changes(
    snapshot: Snapshot, known: Fit
) -> None:
    assert {find(name).draw(scene_of(snapshot, known)).layout.uirevision for name in NAMES} == {"kept"}


@pytest.mark.parametrize(("low", "high"), [(0.108, 0.156), (3.0, 4.0), (12.0, 2682.0), (7.0, 7.0)])
def test_a_histogram_of_costs_has_ticks_where_the_costs_are(low: float, high: float) -> None:
    ticks = scores._decades(pd.Series([low, high]))
    assert sum(low <= tick <= high for tick in ticks) >= 2


def test_the_trend_is_the_median_of_equal_groups() -> None:
    x = pd.Series(np.arange(16.0))
    line = scores.trend(x, x * 2.0, bins=4)
    assert line.to_numpy().tolist() == [[1.5, 3.0], [5.5, 11.0], [9.5, 19.0], [13.5, 27.0]]


def test_a_line_is_fitted_to_what_is_drawn_on_the_axis_it_is_drawn_on() -> None:
    x = pd.Series([1.0, 10.0, 100.0, 1000.0])
    line = scores.fitted_line(x, np.log10(x) * 2.0 + 1.0, is_log=True)
    assert line is not None
    assert (line.x, line.correlation) == ((1.0, 1000.0), pytest.approx(1.0))
    assert line.score == pytest.approx((1.0, 7.0))
    falling = scores.fitted_line(pd.Series([0.0, 1.0, 2.0, 3.0]), pd.Series([3.0, 0.0, 1.0, 0.0]))
    assert falling is not None
    assert falling.score == pytest.approx((2.2, -0.2))  # by hand: slope -0.8 about (1.5, 1)
    assert falling.correlation == pytest.approx(-4.0 / math.sqrt(5.0 * 6.0))


@pytest.mark.parametrize("x", [[1.0, 2.0], [3.0, 3.0, 3.0], [1.0, math.nan, 2.0], []])
def test_no_line_is_fitted_where_it_says_nothing(x: list[float]) -> None:
    assert scores.fitted_line(pd.Series(x, dtype=float), pd.Series(range(len(x)), dtype=float)) is None


def test_equal_scores_have_a_flat_line_without_a_correlation() -> None:
    line = scores.fitted_line(pd.Series([1e-300, 2.0, 1e300]), pd.Series([5.0] * 3))
    assert line is not None
    assert line.score == pytest.approx((5.0, 5.0))
    assert math.isnan(line.correlation)


def test_each_number_has_both_trend_lines(snapshot: Snapshot, known: Fit) -> None:
    traces = find("parameters").draw(scene_of(snapshot, known)).data
    lines = [trace for trace in traces if trace.mode == "lines"]
    fitted = [trace for trace in lines if trace.line.dash == "dash"]
    numbers = {trace.xaxis for trace in lines}
    assert len(numbers) >= 4
    assert [trace.xaxis for trace in fitted] == [trace.xaxis for trace in lines if trace.line.dash is None]
    assert all("fitted line, r = " in trace.hovertemplate for trace in fitted)


@pytest.mark.parametrize("name", ["importance_overview", "importance_score", "importance_cost"])
def test_importance_is_correlation_when_that_is_asked_for(name: str, snapshot: Snapshot, known: Fit) -> None:
    asked = find(name).draw(scene_of(snapshot, known, measure="correlation"))
    assert asked.layout.xaxis.title.text == "absolute rank correlation (blind to humps and interactions)"
    assert "fANOVA" in find(name).draw(scene_of(snapshot, known)).layout.xaxis.title.text
    stands_in = find(name).draw(scene_of(snapshot, None)).layout.xaxis.title.text
    assert "until there is a model" in stands_in


def test_a_brush_comes_back_as_the_natural_range_it_was_made_from(snapshot: Snapshot) -> None:
    limits = (1e-4, 1e-3)
    path = "trainer.optimizer.learning_rate"
    figure = parallel.parallel_coordinates(snapshot.runs, SPACE, {path: limits}, LIGHT)
    dimension = next(one for one in figure.data[0].dimensions if one.label == "learning_rate")
    assert parallel.natural_range(path, SPACE, tuple(dimension.constraintrange)) == pytest.approx(limits)


def test_a_narrowed_space_has_the_brushed_bounds_and_the_rest_unchanged() -> None:
    config = parallel.narrowed_parameters(
        SPACE, {"trainer.ppo.gamma": (0.9, 0.95), "trainer.minibatch_size": (500.0, 5000.0)}
    )
    assert (config["trainer.ppo.gamma"]["min"], config["trainer.ppo.gamma"]["max"]) == pytest.approx((0.9, 0.95))
    assert (config["trainer.minibatch_size"]["min"], config["trainer.minibatch_size"]["max"]) == (512, 4096)
    untouched = SPACE.to_config()
    assert {name: config[name] for name in ("model.type", "trainer.total_timesteps")} == {
        name: untouched[name] for name in ("model.type", "trainer.total_timesteps")
    }
    Space.from_config(config)


def test_a_sweep_is_compared_by_all_it_paid_failed_runs_included() -> None:
    runs = pd.DataFrame(
        {"id": list("abc"), "sequence": [1, 2, 3], "score": [1.0, float("nan"), 0.5], "dollars": [2.0, 3.0, 5.0]}
    )
    line = compare.best_for_money(runs, "maximize", "dollars")
    assert line[["paid", "best"]].to_numpy().tolist() == [[2.0, 1.0], [5.0, 1.0], [10.0, 1.0]]
    assert compare.best_for_money(runs, "minimize", "dollars")["best"].tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123456, "0.0001235"),
        (100.0, "100"),
        (12345.6, "12,346"),
        (7, "7"),
        (1_000_000, "1,000,000"),
        (float("nan"), "–"),
        (None, "–"),
        ("mlp", "mlp"),
    ],
)
def test_numbers_are_written_for_people(value: object, text: str) -> None:
    assert theme.number(value) == text


def test_money_is_written_for_people() -> None:
    assert [theme.dollars(value) for value in (0.0012, 1.234, 1234.5, float("nan"))] == [
        "$0.0012",
        "$1.23",
        "$1,234",
        "–",
    ]


def test_names_are_as_short_as_tells_them_apart() -> None:
    assert theme.short_names(["a.x.lr", "b.x.lr", "a.gamma"]) == {
        "a.x.lr": "a.x.lr",
        "b.x.lr": "b.x.lr",
        "a.gamma": "gamma",
    }


def luminance(colour: str) -> float:
    """WCAG relative luminance of `#rrggbb`."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("look", [LIGHT, DARK])
def test_texts_have_the_contrast_that_people_need_to_read(look: theme.Look) -> None:
    bright, dark = sorted((luminance(look.text), luminance(look.paper)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 7.0


def test_a_phase_keeps_its_colour_whichever_runs_are_shown(snapshot: Snapshot) -> None:
    whole = theme.phase_colours(snapshot.runs, theme.LIGHT)
    second = snapshot.runs[(snapshot.runs["phase"] == "exploit") & snapshot.runs["score"].notna()]
    assert theme.phase_colours(second, theme.LIGHT) == {"exploit": whole["exploit"]} != {"exploit": whole["explore"]}


def test_a_colour_scale_stands_for_one_kind_of_quantity(snapshot: Snapshot, known: Fit) -> None:
    """Score on the parallel coordinates and in the contour; how unsure it is has another scale."""
    inputs = FigureInput(snapshot, View(sweep="sim"), known)
    lines = find("parallel").draw(inputs).data[0].line.colorscale
    score, unsure = (trace.colorscale for trace in find("surface").draw(inputs).data if "colorscale" in trace)
    assert score == lines != unsure


def test_names_that_the_axes_cut_stand_in_full_below_them(snapshot: Snapshot) -> None:
    name = "a_parameter_with_a_name_that_is_much_<b>longer</b>_than_its_axis_has_room_for"
    runs = snapshot.runs.rename(columns={"param.trainer.ppo.gamma": f"param.{name}"})
    figure = parallel.parallel_coordinates(runs, None, {}, LIGHT)
    assert not any(dimension.label == theme.safe(name) for dimension in figure.data[0].dimensions)
    assert theme.safe(name) in figure.layout.annotations[0].text
    short = parallel.parallel_coordinates(snapshot.runs, None, {}, LIGHT)
    assert "Cut names" not in repr(short.layout.annotations)
    assert figure.layout.height > short.layout.height


def test_a_long_name_is_cut_in_the_middle_and_whole_on_hovering(snapshot: Snapshot) -> None:
    name = "a-sweep-with-a-name-that-is-much-longer-than-anybody-needs"
    line = compare.compare({name: (snapshot.runs, "maximize")}, LIGHT).data[0]
    assert line.name == "a-sweep-with-a-n…n-anybody-needs"
    assert (line.meta, "%{meta}" in line.hovertemplate) == (name, True)


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(107e3, 9.1e6, [2e5, 1e6, 5e6]), (16, 512, [20, 100, 500]), (3, 18, [5, 10])]
)
def test_a_small_logarithmic_axis_has_ticks_that_do_not_touch(low: float, high: float, ticks: list[float]) -> None:
    assert theme.log_style(low, high, is_small=True)["tickvals"] == ticks
