"""The server: pages, exports, security, and the sweep that it must not disturb."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from dash import Dash

from metta_sweep.cli.main import main
from metta_sweep.dashboard import export, panels
from metta_sweep.dashboard.actions import WRONG_TOKEN, Actions
from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.background_fits import Fit
from metta_sweep.dashboard.callbacks import chosen_run
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures.model import NO_MODEL
from metta_sweep.dashboard.figures.scores import NO_SCORES
from metta_sweep.dashboard.pages import FIGURES
from metta_sweep.dashboard.queries import Queries, filters_of
from metta_sweep.dashboard.remarks import sweep_remark, told
from metta_sweep.dashboard.report import report_html
from metta_sweep.dashboard.snapshot import Feed, Snapshot
from metta_sweep.dashboard.view import View
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.records import EventRecord
from metta_sweep.registry.store import SqlRegistry
from searchers import Space
from tests.metta_sweep.dashboard.conftest import HOSTILE, OPTIONS, read
from tests.metta_sweep.dashboard.simulated import Clock, Plan, Simulator, simulate

SIM = View(sweep="sim")
NEED_SOMEBODY = ("compared", "remark")  # panels that are empty until somebody ticks runs or writes
FORK = multiprocessing.get_context("fork")  # a reader is there in milliseconds


@pytest.fixture
def app(queries: Queries) -> Dash:
    return create_app(queries)


def test_the_page_and_its_style_come_from_this_server(app: Dash) -> None:
    client = app.server.test_client()
    page = client.get("/").text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    with client.get("/bootstrap.min.css") as style:
        assert style.status_code == 200
    assert "default-src 'self'" in client.get("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/assets/../app.py", "/assets/%2e%2e/app.py", "/assets//etc/passwd", "/etc/passwd"]
)
def test_no_path_in_a_url_reaches_the_file_system(app: Dash, path: str) -> None:
    answer = app.server.test_client().get(path)
    assert (
        answer.status_code == 404 or "<title>metta_sweep</title>" in answer.text
    )  # Dash answers other paths with the page


def test_another_host_name_is_refused_on_loopback(app: Dash) -> None:
    client = app.server.test_client()
    assert client.get("/", headers={"Host": "evil.example:8050"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "[::1]:8050"}).status_code == 200


def components(tree: Any) -> str:
    """A component tree as the JSON that goes to the browser."""
    return json.dumps(tree, default=lambda component: component.to_plotly_json())


def test_the_page_of_a_view_has_its_tabs_sliders_and_cards(queries: Queries) -> None:
    page = components(queries.page(SIM))
    for label in ("Overview", "Importance", "Timeline", "Score", "Cost (s)", "Dark"):
        assert f'"{label}"' in page
    summary = components(queries.summary(SIM))
    for words in (
        "Runs",
        "Best single score",
        "Total compute cost",
        "Average run time",
        " of $40.00",
        "left",
        "Expected best at this budget",
    ):
        assert words in summary


def test_a_sweep_that_does_not_exist_gives_its_name_back_as_text(queries: Queries) -> None:
    page = components(queries.page(View(sweep=HOSTILE)))
    assert "There is no sweep " in page
    assert json.dumps(HOSTILE) in page


def test_a_runs_panel_tells_configuration_reasons_result_money_and_ids(queries: Queries) -> None:
    panel = components(queries.details("sim.r.6", SIM))  # stopped early
    for words in (
        "trainer.ppo.gamma",
        "highest expected improvement per dollar",
        "acquisition",
        "predicted score",
        "arena/basic/reward",
    ):
        assert words in panel
    for words in (
        "stop threshold",
        "Most similar earlier runs",
        "https://wandb.ai/team/metta/runs/sim.r.6",
        "sweep/sim/runs/sim.r.6",
        "paid",
    ):
        assert words in panel
    failed = components(queries.details("sim.r.8", SIM))
    assert "OutOfMemoryError" in failed
    assert "End of the log" in failed


def test_the_list_of_sweeps_keeps_the_look_of_its_page(queries: Queries) -> None:
    assert "?sweep=sim&theme=dark" in components(queries.panel("home", View(page="home", theme="dark")))


def test_the_words_for_filters_name_every_range() -> None:
    view = View(sweep="sim", score=(1.0, 9.0), cost=(2.0, 8.0), brush={"score": (3.0, 4.0), "cost_seconds": (5.0, 6.0)})
    ranges = ["score from 1 to 9", "cost (s) from 2 to 8", "score from 3 to 4", "cost (s) from 5 to 6"]
    assert filters_of(view) == ranges


def test_an_unknown_run_in_the_url_opens_no_panel(queries: Queries) -> None:
    assert queries.details("../../etc/passwd", SIM) is None


@pytest.mark.parametrize("page", [*(name for name in panels.PANELS if name not in NEED_SOMEBODY), "home"])
@pytest.mark.parametrize("sweep", ["sim", "empty", "one", "allfailed"])
def test_every_panel_has_something_to_say_about_every_sweep(queries: Queries, page: str, sweep: str) -> None:
    told = components(queries.panel(page, View(sweep=sweep, page=page)))
    assert page == "model" or len(told) > 40


def test_clicks_choose_the_run_under_the_pointer() -> None:
    click = {"value": {"points": [{"customdata": "s.r.1"}]}}
    assert chosen_run([click], {"type": "figure", "name": "f"}, "", is_open=False) == "s.r.1"
    assert chosen_run([{"value": {"points": [{}]}}], {"type": "figure", "name": "f"}, "s.r.0", is_open=True) == "s.r.0"
    assert chosen_run([{"value": 1}], {"type": "pick", "run": "s.r.2"}, "", is_open=False) == "s.r.2"
    assert chosen_run([{"value": False}], "panel", "s.r.2", is_open=False) == ""


def test_a_brush_filters_runs_and_a_cleared_axis_does_not(queries: Queries) -> None:
    axes = queries.inputs(SIM).unbrushed
    lower_half = queries.brushed([{"dimensions[1].constraintrange": [[-1.0, 0.0]]}, [0]], {}, SIM)
    ((path, limits),) = lower_half.items()
    assert path == "trainer.optimizer.learning_rate"
    assert limits == pytest.approx([1e-5, 10**-3.5], rel=1e-3)
    view = replace(SIM, brush={path: (limits[0], limits[1])})
    assert 0 < len(queries.inputs(view).runs) < len(axes)
    assert queries.brushed([{"dimensions[1].constraintrange": None}, [0]], lower_half, SIM) == {}
    assert queries.brushed([{"dimensions[99].constraintrange": [0, 1]}, [0]], {}, SIM) == {}


def test_choices_cost_and_score_are_brushed_as_parameters_are(queries: Queries) -> None:
    kinds = queries.brushed([{"dimensions[5].constraintrange": [-0.2, 0.3]}, [0]], {}, SIM)
    assert kinds == {"model.type": ["lstm"]}
    narrow = queries.brushed([{"dimensions[6].constraintrange": [1.0, 2.0]}, [0]], kinds, SIM)
    assert narrow == {**kinds, "cost_seconds": pytest.approx([10.0, 100.0])}
    view = replace(SIM, only={"model.type": ("lstm",)}, brush={"cost_seconds": (10.0, 100.0)})
    runs = queries.inputs(view).runs
    assert set(runs["param.model.type"]) == {"lstm"}
    assert runs["cost_seconds"].between(10.0, 100.0).all()
    assert f"{len(runs)} of 43 runs shown: cost (s) from 10 to 100, model.type lstm" == queries.filter_words(view)
    assert yaml.safe_load(export.narrowed_yaml(queries.inputs(view), as_phase=False))["parameters"]["model.type"] == {
        "value": "lstm"
    }


def test_csv_and_parquet_hold_the_runs_to_the_last_digit(snapshot: Snapshot) -> None:
    back = pd.read_csv(io.StringIO(export.csv_text(snapshot.runs)))
    assert back["score"].to_numpy() == pytest.approx(snapshot.runs["score"].to_numpy(), rel=0, abs=0, nan_ok=True)
    parquet = pd.read_parquet(io.BytesIO(export.parquet_bytes(snapshot.runs)))
    np.testing.assert_array_equal(parquet["score"].to_numpy(), snapshot.runs["score"].to_numpy())
    assert parquet["id"].tolist() == snapshot.runs["id"].tolist()


FORMULAS = ("=1+1", "+1+1", "-1+1", "@A1", "\t=1", "\r=1", "\n=1", " =1", '=HYPERLINK("http://e.example","x")', "＝1")
HARMLESS = ("-1.5", "+3e-7", "-.5", "a=b", "mlp", "", "1-2", "'=1", "€", "two\rlines")


def test_no_cell_or_heading_of_a_csv_is_a_formula(snapshot: Snapshot) -> None:
    cells = [*FORMULAS, *HARMLESS]
    columns = {"param.kind": [*cells[:-1], -2.5], "=evil": 1.0, "metric.=x": -1.0}
    runs = snapshot.runs.head(len(cells)).assign(message=cells, phase=pd.Categorical(cells), **columns)
    assert len(runs) == len(cells)
    back = pd.read_csv(io.StringIO(export.csv_text(runs), newline=""), dtype=str, keep_default_na=False)
    neutral = [f"'{cell}" for cell in FORMULAS]
    assert back["message"].tolist() == back["phase"].tolist() == [*neutral, *HARMLESS]
    assert back["param.kind"].tolist() == [*neutral, *HARMLESS[:-1], "-2.5"]
    assert back["metric.=x"].tolist() == ["-1.0"] * len(cells)
    assert "'=evil" in back.columns


@pytest.mark.parametrize("as_phase", [False, True])
def test_a_narrowed_space_is_a_sweep_file_that_validate_accepts(
    queries: Queries, tmp_path: Path, *, as_phase: bool
) -> None:
    view = replace(SIM, brush={"trainer.ppo.gamma": (0.9, 0.95)})
    text = export.narrowed_yaml(queries.inputs(view), as_phase=as_phase)
    (tmp_path / "narrowed.yaml").write_text(text)
    assert main(["validate", str(tmp_path / "narrowed.yaml")]) == 0
    content = yaml.safe_load(text)
    phases = content["schedule"]["phases"] if as_phase else [{"name": "narrowed", "sweep": content}]
    assert [(phase["name"], phase.get("num_runs")) for phase in phases] == (
        [("explore", 30), ("exploit", 13)] if as_phase else []
    ) + [("narrowed", None)]
    search = phases[-1]["sweep"]
    gamma = next(one for one in Space.from_config(search["parameters"]).parameters if one.name == "trainer.ppo.gamma")
    assert (gamma.low, gamma.high) == pytest.approx((0.9, 0.95))  # type: ignore[union-attr]


def test_the_report_is_one_file_that_needs_no_network(snapshot: Snapshot, known: Fit) -> None:
    page = report_html(FigureInput(snapshot, SIM, known))
    assert page.count("<figure>") == sum(
        len(figures) for key, figures in FIGURES.items() if key not in ("home", "runs")
    )
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']""", page.partition("</script>")[2])
    assert HOSTILE not in page
    assert page.count("<tr>") == 1 + len(snapshot.runs)
    best = snapshot.runs.sort_values("score", ascending=False).iloc[0]
    assert page.partition("<tbody>")[2].startswith(f"<tr><td>#{best['number']}</td>")
    assert "Use this configuration" in page


@pytest.mark.parametrize("name", ["empty", "one", "allfailed"])
def test_a_report_has_no_empty_figures(data_dir: Path, name: str) -> None:
    snapshot = read(data_dir, name)
    page = report_html(FigureInput(snapshot, View(sweep=name), Fit.without_model(snapshot)))
    figures = page.partition("<body")[2].split("<figure>")[1:]
    assert (len(figures) == 0) == (name == "empty")
    assert not any(words in one for one in figures for words in (NO_MODEL, NO_SCORES, "No learning curve has a point"))


def test_report_and_dashboard_are_commands(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "report.html"
    assert main(["report", f"data_dir={data_dir}", "sweep_name=one", "--output", str(output)]) == 0
    assert "<h1>Sweep one</h1>" in output.read_text()
    assert main(["dashboard", f"data_dir={data_dir}", "--max-observations", "0"]) == 2
    assert "--max-observations: need at least 1, got 0" in capsys.readouterr().err


def test_a_port_that_is_taken_is_a_clear_error(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["dashboard", f"data_dir={data_dir}", "--port", port]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_nothing_can_be_done_from_the_page_unless_it_was_allowed(queries: Queries) -> None:
    assert "action-answer" not in components(queries.page(SIM))
    assert not any("action-answer" in output for output in create_app(queries).callback_map)
    allowed = create_app(queries, actions=Actions(lambda: pytest.fail("opened"), "secret"))
    assert any("action-answer" in output for output in allowed.callback_map)


def test_actions_need_the_token_and_leave_an_event(tmp_path: Path) -> None:
    clock = Clock()
    run_id = Simulator(SqlRegistry(sqlite_url(tmp_path), clock), clock, Plan(name="s", failing=1)).finish_one()
    actions = Actions(lambda: SqlRegistry(sqlite_url(tmp_path)), "secret")
    assert actions.retry(run_id, "guess") == WRONG_TOKEN
    assert actions.stop("s", "") == WRONG_TOKEN
    assert actions.retry(run_id, "secret") == "s.r.0 will run again."
    assert "only failed runs can be retried" in actions.retry(run_id, "secret")
    assert "no new ones start" in actions.stop("s", "secret")
    events = SqlRegistry(sqlite_url(tmp_path)).events("s")
    assert [(event.kind, event.by) for event in events[-2:]] == [
        ("retry", "dashboard"),
        ("sweep_draining", "dashboard"),
    ]


def test_a_note_and_tags_are_written_with_the_token_and_shown_as_they_are(tmp_path: Path) -> None:
    simulate(tmp_path, Plan(name="s", num_runs=2))
    actions = Actions(lambda: SqlRegistry(sqlite_url(tmp_path)), "secret")
    feed = Feed(SqliteReader(tmp_path / "registry.db"), "s", OPTIONS)
    before = feed.refresh()
    assert actions.remark("s", "s.r.0", "x", [], "guess") == WRONG_TOKEN
    assert "tags: need 1 to 40 characters" in actions.remark("s", None, "", ["x" * 99], "secret")
    assert actions.remark("s", "s.r.1", HOSTILE, ["keep", "=1+1"], "secret") == "Saved."
    assert actions.remark("s", None, "for the paper", [], "secret") == "Saved."
    after = feed.refresh()
    assert after.version != before.version
    assert after.changes.by_run["s.r.1"] > before.changes.revision
    assert after.remarks[""].note == "for the paper"
    assert after.all_runs[["note", "tags"]].to_numpy().tolist()[1] == [HOSTILE, "keep, =1+1"]
    assert "keep, =1+1" in export.csv_text(after.all_runs)
    assert HOSTILE not in export.csv_text(before.all_runs)
    shown = told(after.remarks["s.r.1"])
    assert shown[-1].children == HOSTILE  # a text of React's
    assert "for the paper" in components(sweep_remark(FigureInput(after, View(sweep="s"), None)))


def test_a_form_for_notes_is_only_there_when_it_was_allowed(queries: Queries) -> None:
    allowed = replace(queries, has_actions=True)
    page = replace(SIM, page="runs")
    assert "remark-note" not in components(queries.page(page)) + components(queries.content(page))
    assert "remark-note" in components(allowed.page(page))
    assert '"of": "sweep"' in components(allowed.content(page))


def watch(path: Path, name: str) -> None:
    """A dashboard's reader as a process: reads on until it is killed."""
    while True:
        Feed(SqliteReader(path), name, OPTIONS).refresh()


def said(events: list[EventRecord]) -> list[tuple[Any, ...]]:
    return [(event.sequence, event.kind, event.run_id, event.at, event.detail) for event in events]


def run_sweep(directory: Path, *, watched: bool) -> list[tuple[Any, ...]]:
    """Events of a sweep of 50 runs on virtual time; when watched, two readers start at every run, and are killed or
    frozen.
    """
    clock = Clock()
    registry = SqlRegistry(sqlite_url(directory), clock)
    simulator = Simulator(registry, clock, Plan(name="s"))
    frozen: list[int] = []
    for number in range(50):
        readers = [
            FORK.Process(target=watch, args=(directory / "registry.db", "s"), daemon=True) for _ in range(2 * watched)
        ]
        for reader in readers:
            reader.start()
        time.sleep(0.002 * (number % 7) * watched)  # at another moment of their reading each time
        simulator.finish_one()
        pids = [reader.pid for reader in readers if reader.pid is not None]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP if number % 10 == 0 else signal.SIGKILL)
        frozen += pids if number % 10 == 0 else []
    for pid in frozen:
        os.kill(pid, signal.SIGKILL)
    return said(registry.events("s"))


def test_readers_killed_and_frozen_a_hundred_times_leave_the_sweep_as_it_is_without_them(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "watched").mkdir()
    assert run_sweep(tmp_path / "watched", watched=True) == run_sweep(tmp_path / "alone", watched=False)
