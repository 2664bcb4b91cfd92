"""The page in a real browser, over a real sweep and over simulated ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from metta_sweep.cli.main import main
from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.background_fits import BackgroundFits
from metta_sweep.dashboard.door import Door
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.pages import FIGURES
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.runs_page import GRID
from metta_sweep.dashboard.snapshot import FeedOptions
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.dashboard.view import PAGES
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.dashboard.browser import Page, chromium, graph, open_tab, served
from tests.metta_sweep.dashboard.conftest import HOSTILE
from tests.metta_sweep.dashboard.real_sweep import NAME, NUM_RUNS, PAUSE_AFTER, RealSweep
from tests.metta_sweep.dashboard.simulated import Clock, Plan, Simulator

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
    pytest.mark.ray,
]
START_SECONDS = 300.0
TOKEN = "the-token-of-this-test"
# Keeps the answer to "draw the progression of the new version" until the page's content changes.
HOLD_NEWS = """
const send = window.fetch;
window.fetch = async (url, request) => {
  const answer = await send(url, request);
  const body = request?.body;
  const isNews = body?.includes('"changedPropIds":["version.data"]') && /progression.{0,40}(figure|drawn)/.test(body);
  if (!isNews) return answer;
  const words = await answer.json();
  window.isHeld = true;
  await new Promise((go) => new MutationObserver(go).observe(document.querySelector("#content"), { childList: true }));
  window.isReleased = true;
  return { status: answer.status, headers: answer.headers, json: () => Promise.resolve(words) };
};
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSweep]:
    sweep = RealSweep(tmp_path_factory.mktemp("real"))
    yield sweep
    sweep.end()


@pytest.fixture(scope="module", autouse=True)
def started(real: RealSweep) -> None:
    """The real sweep starts first, so that the tests of simulated ones pass the time until Ray is up."""


@pytest.fixture(scope="module")
def address(real: RealSweep) -> Iterator[str]:
    """Address of a dashboard over the real sweep, as soon as it pauses."""
    deadline = time.monotonic() + START_SECONDS
    while real.num_scored() < PAUSE_AFTER:
        assert time.monotonic() < deadline, f"{real.num_scored()} runs in {START_SECONDS:.0f} s"
        time.sleep(0.1)
    source, fits = Source(real.reader, FeedOptions()), BackgroundFits()
    with served(create_app(Queries(source, fits, SweepSummaries(real.reader), real.directory, NAME))) as address:
        yield address
    fits.close()
    source.close()


def table(page: Page, question: str) -> Any:
    """An answer of the table of runs."""
    return page.run(f"return dash_ag_grid.getApi('{GRID}').{question}")


def table_state(page: Page) -> tuple[Any, ...]:
    """What of the table a new run must not move: order, filter, chosen runs, scroll position."""
    sort = "getColumnState().filter(one => one.sort).map(one => one.colId + ' ' + one.sort)"
    chosen = "getSelectedRows().map(row => row.number).sort()"
    return tuple(table(page, one) for one in (sort, "getFilterModel()", chosen, "getVerticalPixelRange().top"))


def part_of(page: Page, name: str, selector: str) -> Any:
    """An element of a figure, in the middle of the window."""
    found = page.wait(
        lambda: page.driver.find_elements(By.CSS_SELECTOR, f'[id*=\'"name":"{name}"\'] {selector}'),
        f"{selector} of {name}",
    )[-1]
    page.run("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def x_range(page: Page, name: str) -> Any:
    return page.run(f"return {graph(name)}.layout.xaxis.range")


def zoom(page: Page, name: str) -> Any:
    """Drag over a figure and tell its new range; the drag is lost when the page moves just then, as when the model is
    ready.
    """
    area = part_of(page, name, ".nsewdrag")
    ActionChains(page.driver).move_to_element(area).click_and_hold().move_by_offset(90, 60).pause(0.2).release().pause(
        0.5
    ).perform()
    return x_range(page, name)


def click_point(page: Page, name: str) -> bool:
    """Click on the last point of a figure; whether the panel opened."""
    point = part_of(page, name, ".point")
    ActionChains(page.driver).move_to_element_with_offset(point, -3, 0).pause(0.3).move_to_element(point).pause(
        0.5
    ).click().pause(0.5).perform()
    return page.count(".run-panel.show") > 0


def brush_axis(page: Page) -> bool:
    """Drag along the first axis of the parallel coordinates, over some of the runs and not all; whether that chose a
    range.
    """
    axis = page.driver.find_elements(By.CSS_SELECTOR, ".parcoords .axis-brush .background")[0]
    page.run("arguments[0].scrollIntoView({block: 'center'})", axis)
    first: Any = page.run(
        f"const axis = {graph('parallel')}._fullData[0].dimensions[0]; return [Array.from(axis.values), axis.range]"
    )
    values, (low, high) = np.sort(first[0]), first[1]
    widest = int(np.argmax(np.diff(values)))
    part = (values[widest : widest + 2].mean() - low) / (
        high - low
    )  # from the bottom up to the middle of the widest gap between runs
    height = axis.size["height"]
    drag = ActionChains(page.driver).move_to_element_with_offset(axis, 0, int(0.49 * height)).click_and_hold()
    drag.move_by_offset(0, -int(0.2 * part * height)).move_by_offset(0, -int((0.79 * part) * height)).release().pause(
        0.5
    ).perform()
    return "brush.learning_rate" in page.driver.current_url


def num_points(page: Page) -> int:
    return int(page.run(f"return {graph('progression')}.calcdata[0].length"))


@pytest.mark.parametrize(
    ("look", "width", "pages"),
    [("light", 1280, list(PAGES)), ("dark", 1920, ["overview", "model"])],
    ids=["light", "dark"],
)
def test_every_page_shows_hostile_texts_as_text_and_nothing_fails(
    page: Page, simulated: str, look: str, width: int, pages: list[str]
) -> None:
    page.driver.set_window_size(width, 1200)
    page.open(f"{simulated}?sweep=sim&theme={look}&compare=one,sim")
    for key in pages:
        open_tab(page, page.wait(lambda key=key: page.count(".nav-link") and PAGES[key], "tabs"))  # type: ignore[misc]
        page.wait(lambda key=key: key == "overview" or f"page={key}" in page.driver.current_url, key)  # type: ignore[misc]
        for name in FIGURES.get(key, {}):
            page.drawn(name)
        page.screenshot(f"{key}_{look}")
        assert page.count("#content script") == 0
    if look == "light":
        assert "compare=one,sim" in page.driver.current_url  # what a link says survives the pages on the way
        open_tab(page, "Failures")
        page.wait(lambda: HOSTILE in page.text(), "hostile text")
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    page.assert_silent()


def test_a_figure_that_comes_as_its_page_is_left_is_no_error(page: Page, simulated: str) -> None:
    """New results arrive, and what the server drew of them reaches the browser in the moment in which another tab takes
    the figure's place.
    """
    page.open(f"{simulated}?sweep=sim&page=overview")
    page.drawn("progression")
    page.errors()
    page.run(HOLD_NEWS)
    page.run("window.dash_clientside.set_props('version', {data: 'newer'})")
    page.wait(lambda: page.run("return window.isHeld"), "the server's answer")
    open_tab(page, "Runs")
    page.wait(lambda: page.run("return window.isReleased"), "another page")
    page.wait(lambda: table(page, "getDisplayedRowCount()"), "rows")
    page.assert_silent()


def assert_table_writes_as_the_server_does(page: Page) -> None:
    for name, written, values in (
        ("shortNumber", theme.number, [0.000123456, 0.5, 100.0, 12345.6, 7, 1_000_000]),
        ("duration", theme.seconds, [0.42, 45.0, 215.0, 7500.0, 446_400.0]),
        ("dollars", theme.dollars, [0.0, 0.0012, 1.234, 99.999, 1234.6, 123_456.0]),
    ):
        told = page.run(f"return arguments[0].map(one => window.dashAgGridFunctions.{name}(one))", values)
        assert told == [written(one) for one in values]


def test_a_link_shows_the_same_table_and_a_new_run_moves_nothing_in_it(page: Page, tmp_path: Path) -> None:
    clock = Clock()
    registry = SqlRegistry(sqlite_url(tmp_path), clock)
    simulator = Simulator(registry, clock, Plan(name="live", num_runs=40, failing=0))
    simulator.run_all()
    source, fits = Source(SqliteReader(tmp_path / "registry.db"), FeedOptions()), BackgroundFits()
    summaries = SweepSummaries(SqliteReader(tmp_path / "registry.db"))
    column = "param.trainer.ppo.gamma"
    with served(create_app(Queries(source, fits, summaries, tmp_path))) as address:
        page.driver.set_window_size(1280, 1400)
        where = f"where.{column}=greaterThanOrEqual~0.85"
        page.open(f"{address}?sweep=live&page=runs&chosen=3,5&find=completed&sort={column}~asc&{where}")
        page.wait(lambda: table(page, "getDisplayedRowCount()"), "rows")
        shown = page.wait(lambda: page.find("#filter-words").text.partition(" of ")[0], "filter in words")
        page.wait(lambda: table(page, "getDisplayedRowCount()") == int(shown), "as many rows as the server counts")
        page.wait(lambda: table(page, "getSelectedRows().length") == 2, "chosen runs")
        page.wait(lambda: "values differ" in page.text(), "compared")
        page.drawn("chosen_curves")
        assert_table_writes_as_the_server_does(page)
        page.find("#export-chosen").click()
        path = page.wait(lambda: next(page.downloads.glob("live_chosen.csv"), None), "CSV of the chosen runs")
        assert pd.read_csv(path)["number"].tolist() == [3, 5]
        page.find(".run-cell").click()
        page.wait(lambda: "Why this run" in page.text(), "the run that was clicked")
        table(page, "ensureIndexVisible(19, 'bottom')")
        page.wait(lambda: table(page, "getVerticalPixelRange().top") > 0, "scrolled")
        before, count = table_state(page), table(page, "getDisplayedRowCount()")
        for _ in range(10):  # some of them lie inside the filter
            simulator.finish_one()
        page.wait(lambda: table(page, "getDisplayedRowCount()") > count, "new rows")
        assert table_state(page) == before
        assert before[0] == [f"{column} asc"]
        origins = page.run("return performance.getEntriesByType('resource').map(one => new URL(one.name).origin)")
        assert {one.rstrip("/") for one in origins if one != "null"} == {address.rstrip("/")}
        page.find("#clear-ranges").click()
        page.wait(lambda: table(page, "getDisplayedRowCount()") > 40, "all runs")
        page.wait(lambda: "where" not in page.driver.current_url and "find" not in page.driver.current_url, "URL")
        page.assert_silent()
    fits.close()
    source.close()
    registry.close()


def test_a_browser_is_asked_for_the_token_once(page: Page, queries: Queries) -> None:
    with served(create_app(queries, door=Door("0.0.0.0", TOKEN))) as address:
        page.open(f"{address}?sweep=sim&page=overview")
        page.find("#token").send_keys(TOKEN + Keys.ENTER)
        page.drawn("progression")
        assert TOKEN not in page.driver.current_url
        assert all("401" in error for error in page.errors())  # the form, and the icon beside it
        page.open(f"{address}?sweep=sim&page=overview")
        page.drawn("progression")
        page.assert_silent()


def test_importance_is_shown_as_correlation_on_request(page: Page, simulated: str) -> None:
    page.open(f"{simulated}?sweep=sim&page=importance")
    page.drawn("importance_score")
    page.find("""input[value="correlation"]""").click()
    page.wait(lambda: "measure=correlation" in page.driver.current_url, "the choice in the address")
    words = "return document.body.textContent"  # figures are SVG
    page.wait(lambda: page.run(words).count("absolute rank correlation (blind") == 2, "both figures")
    page.assert_silent()


@pytest.mark.parametrize(
    ("sweep", "words"), [("empty", "No run has a score yet"), ("one", "needs 5 scores"), ("allfailed", "4 failed")]
)
def test_poor_sweeps_look_right(page: Page, simulated: str, sweep: str, words: str) -> None:
    page.driver.set_window_size(1280, 1000)
    page.open(f"{simulated}?sweep={sweep}")
    page.drawn("parameters")
    page.wait(lambda: words in page.run("return document.body.textContent"), words)
    page.screenshot(f"overview_{sweep}")
    page.assert_silent()


def test_the_page_follows_a_real_sweep_and_keeps_the_zoom(page: Page, address: str, real: RealSweep) -> None:
    page.open(address)
    page.drawn("cost_vs_score")
    page.wait(lambda: f"{PAUSE_AFTER} scored" in page.text(), "runs so far")
    page.wait(lambda: "of $1.00" in page.text(), "the budget that the driver told")
    whole = x_range(page, "cost_vs_score")
    zoomed = page.wait(lambda: (now := zoom(page, "cost_vs_score")) != whole and now, "zoom")
    real.go()
    page.wait(lambda: f"{NUM_RUNS} scored" in page.text(), "all runs", START_SECONDS)
    page.wait(lambda: num_points(page) == NUM_RUNS, "all points")
    assert x_range(page, "cost_vs_score") == zoomed
    page.screenshot("real")
    page.assert_silent()


def test_a_click_on_a_point_opens_its_run(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("efficiency")
    page.wait(lambda: click_point(page, "efficiency"), "panel")
    panel = page.find(".run-panel")
    page.wait(lambda: "learning_rate" in panel.text, "configuration")
    for words in ("Why this run", "results it knew", "run time", "Open in WandB", f"{NAME}.r."):
        assert words in panel.text
    page.wait(lambda: f"run={NAME}.r." in page.driver.current_url, "run in the URL")
    page.open(page.driver.current_url)  # a sent link opens the same run
    page.wait(lambda: "Why this run" in page.find(".run-panel").text, "the same run again")


def test_sliders_filter_what_is_drawn_until_they_are_cleared(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("progression")
    page.wait(lambda: page.run("return document.querySelectorAll('#score [role=slider]').length") == 2, "slider")
    before = num_points(page)
    handle = page.driver.find_elements(By.CSS_SELECTOR, "#score [role=slider]")[0]
    handle.send_keys(*[Keys.PAGE_UP] * 3, Keys.ARROW_RIGHT)  # the keyboard reaches it
    page.wait(lambda: "score=" in page.driver.current_url, "range in the URL")
    page.wait(lambda: num_points(page) < before, "fewer points")
    page.find("#clear-ranges").click()
    page.wait(lambda: num_points(page) == before and "score=" not in page.driver.current_url, "all points again")


def test_a_brush_on_an_axis_filters_every_page_and_exports_a_space_that_validate_accepts(
    page: Page, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page.open(f"{address}?sweep={NAME}&page=parallel")
    page.drawn("parallel")
    page.wait(lambda: page.count(".parcoords .axis-brush .background") > 0, "axes")
    page.wait(lambda: brush_axis(page), "brush in the URL")
    page.wait(lambda: "runs shown: learning_rate from" in page.text(), "brush in words")
    page.screenshot("brushed")
    page.find("[id*='\"name\":\"sweep\"'][id*='narrowed']").click()
    path = page.wait(lambda: next(page.downloads.glob(f"{NAME}_narrowed.yaml"), None), "narrowed space")
    assert main(["validate", str(path)]) == 2
    assert "trainable.command: ???" in capsys.readouterr().err  # what is executed only who runs it says
    assert "trainable.command=... trainable.workdir=..." in path.read_text()
    assert main(["validate", str(path), "trainable.command='true {overrides}'", "trainable.workdir=."]) == 0
    open_tab(page, "Runs")
    page.wait(lambda: 0 < table(page, "getDisplayedRowCount()") < NUM_RUNS, "fewer rows")


def test_csv_holds_the_runs_that_are_shown(page: Page, address: str) -> None:
    page.open(f"{address}?sweep={NAME}&score=6~100")
    page.drawn("progression")
    page.find("#export-csv").click()
    path = page.wait(lambda: next(page.downloads.glob(f"{NAME}.csv"), None), "CSV file")
    runs = pd.read_csv(path)
    assert 0 < len(runs) < NUM_RUNS
    assert runs["score"].min() >= 6
    assert "param.learning_rate" in runs.columns


def test_figures_can_be_saved_and_dark_mode_changes_page_figures_and_url(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("distributions")
    for kind in ("svg", "png"):
        button = next(
            one
            for one in page.driver.find_elements(By.CSS_SELECTOR, f"[data-export={kind}]")
            if "istributions" in card_of(page, one)
        )
        page.run("arguments[0].click()", button)
        path = page.wait(lambda kind=kind: next(page.downloads.glob(f"distributions.{kind}"), None), kind)  # type: ignore[misc]
        assert path.stat().st_size > 1000
    page.run("document.querySelector('#dark').click()")
    page.wait(lambda: page.run("return document.documentElement.dataset.bsTheme") == "dark", "dark page")
    page.wait(lambda: page.run(f"return {graph('progression')}.layout.paper_bgcolor") == "#1b2027", "dark figure")
    page.wait(lambda: "theme=dark" in page.driver.current_url, "theme in the URL")


def card_of(page: Page, element: object) -> str:
    return str(page.run("return arguments[0].closest('.card').querySelector('h2').innerText", element))


def test_the_keyboard_reaches_tabs_and_controls(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("progression")
    seen = set()
    for _ in range(25):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(
            page.run(
                "return document.activeElement.getAttribute('role') || document.activeElement.type || "
                "document.activeElement.id"
            )
        )
        seen.add(page.run("return document.activeElement.id"))
    assert {"sweep", "export-csv", "dark", "radio", "slider"} <= seen
    page.find("nav .btn-check:checked + label").click()
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: "page=model" in page.driver.current_url, "the next page")
