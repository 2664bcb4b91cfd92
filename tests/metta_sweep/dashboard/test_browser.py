"""The page in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.desk import Desk
from metta_sweep.dashboard.digests import Digests
from metta_sweep.dashboard.pages import FIGURES
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.studies import Studies
from metta_sweep.dashboard.view import PAGES
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.dashboard.browser import Page, chromium, graph, served
from tests.metta_sweep.dashboard.conftest import HOSTILE, OPTIONS
from tests.metta_sweep.dashboard.simulated import Clock, Plan, Simulator

pytestmark = [pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine"), pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def live_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def simulator(live_dir: Path) -> Simulator:
    """A sweep of 30 runs that goes on when a test says so."""
    clock = Clock()
    registry = SqlRegistry(sqlite_url(live_dir), clock)
    simulator = Simulator(registry, clock, Plan(name="live", num_runs=30, message=HOSTILE))
    simulator.run_all()
    return simulator


@pytest.fixture(scope="module")
def address(live_dir: Path, simulator: Simulator) -> Iterator[str]:
    reader = SqliteReader(live_dir / "registry.db")
    source, studies = Source(reader, OPTIONS), Studies()
    with served(create_app(Desk(source, studies, Digests(reader), live_dir, simulator.plan.name))) as address:
        yield address
    studies.close()
    source.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    window = Page(tmp_path_factory.mktemp("browser"))
    yield window
    window.close()


def test_the_page_follows_the_sweep_and_keeps_the_zoom(page: Page, address: str, simulator: Simulator) -> None:
    page.open(address)
    page.drawn("cost_vs_score")
    page.wait(lambda: "33" in page.find(".summary .fs-4").text, "33 runs")
    whole = page.run(f"return {graph('cost_vs_score')}.layout.xaxis.range")
    area = page.driver.find_element(By.CSS_SELECTOR, '[id*=\'"name":"cost_vs_score"\'] .nsewdrag')
    page.run("arguments[0].scrollIntoView({block: 'center'})", area)
    ActionChains(page.driver).move_to_element(area).click_and_hold().move_by_offset(90, 60).pause(0.2).release().perform()
    zoomed = page.wait(lambda: (now := page.run(f"return {graph('cost_vs_score')}.layout.xaxis.range")) != whole and now, "zoom")
    simulator.finish_one()
    page.wait(lambda: "34" in page.find(".summary .fs-4").text, "34 runs")
    page.wait(
        lambda: page.run(f"return {graph('progression')}.data[0].x._inputArray?.length ?? {graph('progression')}.data[0].x.length") == 28, "28 scores"
    )
    assert page.run(f"return {graph('cost_vs_score')}.layout.xaxis.range") == zoomed
    assert page.errors() == []


def test_a_click_on_a_point_opens_its_run(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("efficiency")
    point = page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, '[id*=\'"name":"efficiency"\'] .point'), "points")[-1]
    page.run("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(page.driver).move_to_element_with_offset(point, -3, 0).pause(0.3).move_to_element(point).pause(0.5).click().perform()
    panel = page.find(".run-panel")
    page.wait(lambda: "trainer.optimizer.learning_rate" in panel.text, "configuration")
    for words in ("Why this run", "highest expected improvement per dollar", "arena/basic/reward", "GPU time", "Open in WandB"):
        assert words in panel.text
    page.wait(lambda: "run=live.r." in page.driver.current_url, "run in the URL")
    page.open(page.driver.current_url)  # a sent link opens the same run
    page.wait(lambda: "Why this run" in page.find(".run-panel").text, "the same run again")


def test_sliders_filter_what_is_drawn(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("progression")
    page.wait(lambda: page.run("return document.querySelectorAll('#score [role=slider]').length") == 2, "slider")
    before = page.run(f"return {graph('progression')}.calcdata[0].length")
    handle = page.driver.find_elements(By.CSS_SELECTOR, "#score [role=slider]")[0]
    handle.send_keys(*[Keys.PAGE_UP] * 3, Keys.ARROW_RIGHT)  # the keyboard reaches it
    page.wait(lambda: "score=" in page.driver.current_url, "range in the URL")
    page.wait(lambda: page.run(f"return {graph('progression')}.calcdata[0].length") < before, "fewer points")


def test_a_brush_on_an_axis_filters_every_page_and_exports_a_narrower_space(page: Page, address: str) -> None:
    page.open(f"{address}?sweep=live&page=parallel")
    page.drawn("parallel")
    axis = page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".parcoords .axis-brush .background"), "axes")[1]
    page.run("arguments[0].scrollIntoView({block: 'center'})", axis)
    height = axis.size["height"]
    ActionChains(page.driver).move_to_element(axis).click_and_hold().move_by_offset(0, int(height * 0.2)).move_by_offset(
        0, int(height * 0.15)
    ).release().perform()
    page.wait(lambda: "brush." in page.driver.current_url, "brush in the URL")
    page.wait(lambda: "runs shown: trainer." in page.text(), "brush in words")
    page.find("[id*='\"name\":\"sweep\"'][id*='narrowed']").click()
    path = page.wait(lambda: next(page.downloads.glob("live_narrowed.yaml"), None), "narrowed space")
    assert "parameters:" in path.read_text()
    open_tab(page, "Runs")
    page.wait(lambda: page.count("tbody tr") < 30, "fewer rows")


def test_csv_holds_the_runs_that_are_shown(page: Page, address: str) -> None:
    page.open(f"{address}?sweep=live&score=5~100")
    page.drawn("progression")
    page.find("#export-csv").click()
    path = page.wait(lambda: next(page.downloads.glob("live.csv"), None), "CSV file")
    runs = pd.read_csv(path)
    assert runs["score"].min() >= 5
    assert "param.trainer.ppo.gamma" in runs.columns


def test_figures_can_be_saved(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("distributions")
    for kind in ("svg", "png"):
        button = next(one for one in page.driver.find_elements(By.CSS_SELECTOR, f"[data-export={kind}]") if "istributions" in card_of(page, one))
        page.run("arguments[0].click()", button)
        path = page.wait(lambda kind=kind: next(page.downloads.glob(f"distributions.{kind}"), None), kind)
        assert path.stat().st_size > 1000


def card_of(page: Page, element: object) -> str:
    return str(page.run("return arguments[0].closest('.card').querySelector('h2').innerText", element))


def test_dark_mode_changes_page_and_figures_and_stands_in_the_url(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("progression")
    page.run("document.querySelector('#dark').click()")
    page.wait(lambda: page.run("return document.documentElement.dataset.bsTheme") == "dark", "dark page")
    page.wait(lambda: page.run(f"return {graph('progression')}.layout.paper_bgcolor") == "#1b2027", "dark figure")
    page.wait(lambda: "theme=dark" in page.driver.current_url, "theme in the URL")


def test_the_keyboard_reaches_tabs_and_controls(page: Page, address: str) -> None:
    page.open(address)
    page.drawn("progression")
    seen = set()
    for _ in range(25):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(page.run("return document.activeElement.getAttribute('role') || document.activeElement.type || document.activeElement.id"))
        seen.add(page.run("return document.activeElement.id"))
    assert {"sweep", "export-csv", "dark", "radio", "slider"} <= seen
    page.find("nav .btn-check:checked + label").click()
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: "page=model" in page.driver.current_url, "the next page")


def open_tab(page: Page, label: str) -> None:
    tab = next(one for one in page.driver.find_elements(By.CSS_SELECTOR, ".nav-tabs .nav-link") if one.text == label)
    page.run("arguments[0].click()", tab)


@pytest.mark.parametrize(
    ("look", "width", "pages"),
    [("light", 1280, list(PAGES)), ("dark", 1920, ["overview", "model", "failures"])],
    ids=["light", "dark"],
)
def test_every_page_shows_hostile_texts_as_text_and_nothing_fails(page: Page, address: str, look: str, width: int, pages: list[str]) -> None:
    page.driver.set_window_size(width, 1200)
    page.open(f"{address}?sweep=live&theme={look}&compare=live")
    page.drawn("cost_vs_score")
    for key in pages:
        open_tab(page, PAGES[key])
        page.wait(lambda key=key: key == "overview" or f"page={key}" in page.driver.current_url, key)
        for name in FIGURES.get(key, {}):
            page.drawn(name)
        page.screenshot(f"{key}_{look}")
        assert page.count("#content script") == 0
    open_tab(page, "Failures")
    page.wait(lambda: HOSTILE in page.text(), "hostile text")
    assert page.errors() == []


@pytest.mark.long
@pytest.mark.ray
def test_a_real_sweep_shows_up_run_by_run(tmp_path: Path) -> None:
    """Two real runs of a small training on a local Ray."""
    words = ["run", "sweep_name=real", "sweep=quick", "sim=smoke_test", "sweep.num_samples=2", f"data_dir={tmp_path}"]
    words.append("sweep.parameters.trainer.total_timesteps={distribution: int_uniform, min: 16384, max: 24576, mean: 16384}")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "METTA_SWEEP_RAY_DASHBOARD": "0", "WANDB_MODE": "disabled"}
    reader = SqliteReader(tmp_path / "registry.db")
    source, studies = Source(reader, OPTIONS), Studies()
    window = Page(tmp_path)
    with subprocess.Popen([sys.executable, "-m", "metta_sweep", *words], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL) as sweep:
        window.wait(lambda: reader.list_sweeps(), "the sweep")
        with served(create_app(Desk(source, studies, Digests(reader), tmp_path, "real"))) as address:
            window.open(address)
            for _ in range(4):
                try:
                    window.wait(lambda: "2 scored" in window.text(), "both runs")
                    break
                except AssertionError:
                    assert sweep.poll() in (None, 0)
            window.drawn("cost_vs_score")
            window.screenshot("real")
            assert window.errors() == []
        assert sweep.wait() == 0
    window.close()
    studies.close()
    source.close()
