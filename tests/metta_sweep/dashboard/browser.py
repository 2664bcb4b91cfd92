"""A headless Chromium on a page of the dashboard, and the dashboard's server in a thread."""

from __future__ import annotations

import base64
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dash import Dash
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from werkzeug.serving import make_server

WAIT_SECONDS = 60.0  # for a machine that does many other things
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def chromium() -> str | None:
    """Path of the browser, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def served(app: Dash) -> Iterator[str]:
    """Address of the app, served by a thread."""
    logging.getLogger("werkzeug").setLevel(
        logging.WARNING
    )  # a line for every request would bury what a failing test says
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()


class Page:
    """One browser window."""

    def __init__(self, directory: Path) -> None:
        options = Options()
        options.binary_location = str(chromium())
        for flag in (*FLAGS, f"--user-data-dir={directory / 'profile'}", "--window-size=1280,1400"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.downloads = directory / "downloads"
        self.downloads.mkdir()
        several = {"profile.default_content_setting_values.automatic_downloads": 1}
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads), **several})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self._shots = Path(
            os.environ.get("DASHBOARD_SCREENSHOTS", str(directory))
        )  # CI keeps this directory as an artefact

    def open(self, address: str) -> None:
        self.driver.get(address)

    def leave(self) -> None:
        """To an empty page, and what was complained about is forgotten."""
        self.open("about:blank")
        self.errors()

    def find(self, selector: str) -> WebElement:
        """The element, as soon as it is there and shown."""
        return self.wait(
            lambda: next(
                (one for one in self.driver.find_elements(By.CSS_SELECTOR, selector) if one.is_displayed()), None
            ),
            selector,
        )

    def count(self, selector: str) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def run(self, script: str, *words: Any) -> Any:
        return self.driver.execute_script(script, *words)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
        """The condition's first value that is true."""
        deadline = time.monotonic() + seconds
        while not (value := self._safely(condition)):
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s on {self.driver.current_url}"
            time.sleep(0.05)
        return value

    @staticmethod
    def _safely(condition: Callable[[], Any]) -> Any:
        """React may replace an element between finding and asking it, or move it away from the pointer."""
        from selenium.common.exceptions import (
            JavascriptException,
            MoveTargetOutOfBoundsException,
            StaleElementReferenceException,
        )

        try:
            return condition()
        except (StaleElementReferenceException, JavascriptException, MoveTargetOutOfBoundsException):
            return None

    def drawn(self, name: str) -> None:
        """Wait until a figure has its data."""
        self.wait(
            lambda: self.run(
                f"return {graph(name)}?.data?.length > 0 || {graph(name)}?.layout?.annotations?.length > 0"
            ),
            f"figure {name}",
        )

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def errors(self) -> list[str]:
        """What the browser complained about."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def assert_silent(self) -> None:
        """Nothing was complained about; else all of it is told, where a comparison would shorten the words."""
        errors = self.errors()
        assert not errors, "\n".join(errors)

    def screenshot(self, name: str) -> Path:
        """The whole page as a PNG file."""
        self._shots.mkdir(parents=True, exist_ok=True)
        path = self._shots / f"{name}.png"
        self.run("window.scrollTo(0, 0)")  # the bar at the top sticks to the top of the window
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def close(self) -> None:
        self.driver.quit()


def graph(name: str) -> str:
    """JavaScript expression for a figure's element; Dash writes the ids of pattern-matched components as JSON."""
    return f"""document.querySelector('[id*=\\'"name":"{name}"\\'][id*=\\'"type":"figure"\\'] .js-plotly-plot')"""


def open_tab(page: Page, label: str) -> None:
    """Choose a page in the rail."""
    tab = next(one for one in page.driver.find_elements(By.CSS_SELECTOR, ".rail .nav-link") if one.text == label)
    page.run("arguments[0].click()", tab)
