"""The frame of the page in a real browser: rail, title, theme, links that help, and what may be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from metta_sweep.dashboard.actions import WRONG_TOKEN, Actions
from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.pages import FIGURES
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.view import PAGES
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.dashboard.browser import Page, chromium, open_tab, served

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]
TOKEN = "the-token-of-this-test"
# Every colour that any figure's background ever has.
WATCH_COLOURS = """
window.seen = new Set();
const look = () => {
  for (const one of document.querySelectorAll(".js-plotly-plot .main-svg")) {
    if (one.style.background) window.seen.add(one.style.background);
  }
};
new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true });
"""


def test_nothing_overflows_at_800_pixels(page: Page, simulated: str) -> None:
    page.driver.set_window_size(800, 1000)
    page.open(f"{simulated}?sweep=sim&score=2~7")
    for key in PAGES:
        open_tab(page, page.wait(lambda key=key: page.count(".rail .nav-link") and PAGES[key], "rail"))  # type: ignore[misc]
        for name in FIGURES.get(key, {}):
            page.drawn(name)
        page.wait(lambda: page.run("return document.documentElement.scrollWidth <= window.innerWidth"), f"{key}: width")
    assert page.run("return document.querySelectorAll('.rail, .topbar').length") == 2
    page.driver.set_window_size(1280, 1000)
    page.assert_silent()


def test_the_tab_names_page_and_sweep_and_has_an_icon_of_this_server(page: Page, simulated: str) -> None:
    page.open(f"{simulated}?sweep=sim&page=health")
    page.wait(lambda: page.driver.title == "Health · sim · metta_sweep", "title")
    open_tab(page, "Timeline")
    page.wait(lambda: page.driver.title == "Timeline · sim · metta_sweep", "title of the next page")
    page.wait(lambda: page.find("#crumb").text == "Timeline", "breadcrumb")
    icon = "fetch(document.querySelector('link[rel=icon]').href)"
    assert "image/svg" in page.run(f"return {icon}.then((answer) => answer.headers.get('content-type'))")
    page.assert_silent()


def test_the_theme_is_remembered_and_no_figure_of_a_dark_page_is_ever_white(page: Page, simulated: str) -> None:
    page.open(f"{simulated}?sweep=sim&page=importance")
    page.drawn("importance_score")
    page.run("document.querySelector('#dark').click()")
    page.wait(lambda: "theme=dark" in page.driver.current_url, "theme in the link")
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH_COLOURS})
    page.open(f"{simulated}?sweep=sim&page=importance")  # as in a new tab: the link says nothing
    page.drawn("importance_score")
    page.wait(lambda: page.run("return document.documentElement.dataset.bsTheme") == "dark", "dark page")
    assert page.run("return window.seen.size") > 0
    assert not {"rgb(255, 255, 255)", "white"} & set(page.run("return [...window.seen]"))
    page.open(f"{simulated}?sweep=sim&page=importance&theme=light")  # a link may still carry it
    page.drawn("importance_score")
    page.wait(lambda: page.run("return document.documentElement.dataset.bsTheme") == "light", "light page")
    assert "theme=light" in page.driver.current_url
    page.run("document.querySelector('#dark').click()")
    page.run("document.querySelector('#dark').click()")
    page.wait(lambda: "theme=" not in page.driver.current_url, "the light page remembered")
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    page.assert_silent()


def test_a_link_to_what_there_is_not_leads_to_what_there_is(page: Page, simulated: str) -> None:
    page.open(f"{simulated}?sweep=simm")
    assert "There is no sweep simm here." in page.find(".alert").text
    page.find(".alert a").click()  # meant, perhaps
    page.drawn("progression")
    assert "sweep=sim" in page.driver.current_url
    page.open(f"{simulated}?sweep=sim&run=sim.r.4711")
    assert "There is no run sim.r.4711 in this sweep." in page.find(".alert").text
    newest = page.driver.find_elements(By.CSS_SELECTOR, ".alert a")[-1]
    assert newest.text == "sim.r.42"
    newest.click()
    page.wait(lambda: "sim.r.42" in page.find(".run-panel").text, "the newest run")
    page.assert_silent()


def test_stop_asks_first_and_retry_is_offered_for_failed_runs_only(
    page: Page, tmp_path: Path, queries: Queries
) -> None:
    actions = Actions(lambda: SqlRegistry(sqlite_url(tmp_path)), TOKEN)
    with served(create_app(queries, actions=actions)) as address:
        page.open(f"{address}?sweep=sim&run=sim.r.6")  # stopped early
        page.wait(lambda: "sim.r.6" in page.find(".run-panel").text, "panel")
        assert not page.driver.find_element(By.ID, "retry-run").is_displayed()
        page.open(f"{address}?sweep=sim&run=sim.r.8")  # failed
        page.find("#retry-run")
        page.find(".run-panel .btn-close").click()
        page.wait(lambda: page.run("return !document.querySelector('#stop-open').disabled"), "stop")
        page.wait(lambda: page.count(".run-panel.show") == 0, "panel closed")
        page.run("document.querySelector('#stop-open').click()")
        page.find("#stop-sweep")
        assert "sim" in page.find(".modal-title").text
        page.find("#stop-token").send_keys("guess")
        page.find("#stop-sweep").click()
        page.wait(lambda: WRONG_TOKEN in page.find("#stop-answer").text, "refusal")
        page.find("#stop-cancel").click()
        page.wait(lambda: page.count(".modal.show") == 0, "closed")
        assert not list(tmp_path.iterdir())  # nothing was even opened
        page.assert_silent()
