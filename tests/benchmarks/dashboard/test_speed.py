"""5,000 runs with 50-point curves: what the server takes, what the browser takes, and the page's memory.

Run by hand: `python -m pytest -m benchmark tests/benchmarks/dashboard -s`. Writing the sweep through the registry takes
minutes; set DASHBOARD_BENCHMARK_DIR to a directory to keep it between runs.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metta_sweep.config.job import Budget
from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.background_fits import BackgroundFits
from metta_sweep.dashboard.pages import FIGURES
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.snapshot import FeedOptions
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.dashboard.view import View
from metta_sweep.registry.reader import SqliteReader
from tests.metta_sweep.dashboard.browser import Page, chromium, graph, served
from tests.metta_sweep.dashboard.simulated import Plan, simulate

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
PLAN = Plan(name="big", num_runs=5000, num_curve_points=50, phases=(("explore", 2500), ("exploit", None)))
REPEATS = 20
FIRST_FIGURES_SECONDS = 1.0
CALLBACK_SECONDS = 0.5
VIEW = View(sweep="big")


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queries]:
    directory = Path(os.environ.get("DASHBOARD_BENCHMARK_DIR") or tmp_path_factory.mktemp("big"))
    if not (directory / "registry.db").exists():
        simulate(directory, PLAN)
    reader = SqliteReader(directory / "registry.db")
    source, fits = Source(reader, FeedOptions(Budget(hourly_cost=3.0, dollars=10_000.0))), BackgroundFits()
    started = time.perf_counter()
    snapshot = source.snapshot("big")
    print(
        f"\nfirst read of 5,000 runs and {len(snapshot.curves):,} curve points: {time.perf_counter() - started:.1f} "
        "s, before the server starts"
    )
    fits.get(snapshot)
    while fits.version("big") < 0:
        time.sleep(0.1)
    print(f"surrogate and importance, in the background: {time.perf_counter() - started:.1f} s after the start")
    yield Queries(source, fits, SweepSummaries(reader), directory, "big")
    fits.close()
    source.close()


def median_seconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@pytest.mark.parametrize("name", [name for figures in FIGURES.values() for name in figures])
def test_every_figure_is_served_in_half_a_second(queries: Queries, name: str) -> None:
    size = len(queries.figure(name, VIEW).to_json())
    median = median_seconds(lambda: queries.figure(name, VIEW).to_json())
    print(f"{name}: median of {REPEATS} {median * 1000:.0f} ms, {size / 1000:,.0f} kB")
    assert median < CALLBACK_SECONDS


def test_page_and_summary_are_served_in_half_a_second(queries: Queries) -> None:
    assert median_seconds(lambda: queries.page(VIEW)) < CALLBACK_SECONDS
    assert median_seconds(lambda: queries.summary(VIEW)) < CALLBACK_SECONDS


def test_the_first_figures_are_served_in_a_second(queries: Queries) -> None:
    """Everything that the server does for the first two figures, one after the other."""
    median = median_seconds(
        lambda: [
            queries.page(VIEW),
            *(queries.figure(name, VIEW).to_json() for name in ("cost_vs_score", "efficiency")),
        ]
    )
    print(f"page and first two figures: median of {REPEATS} {median * 1000:.0f} ms")
    assert median < FIRST_FIGURES_SECONDS


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_what_the_browser_takes(queries: Queries, tmp_path: Path) -> None:
    """The server's part is from the request of a figure to the end of its answer, six at once, as the browser's own
    clock has it.
    """
    page = Page(tmp_path)
    with served(create_app(queries)) as address:
        for visit in ("first", "second"):  # the second has the scripts in its cache
            started = time.perf_counter()
            page.open(f"{address}?sweep=big")
            for name in FIGURES["overview"]:
                page.drawn(name)
            whole = time.perf_counter() - started
            answers = page.run(
                "return performance.getEntriesByType('resource').filter(e => "
                "e.name.includes('update-component')).map(e => e.duration)"
            )
            print(
                f"{visit} visit: all six figures on the screen after {whole:.1f} s; slowest of {len(answers)} "
                f"answers {max(answers):.0f} ms"
            )
            assert max(answers) < FIRST_FIGURES_SECONDS * 1000
        paint = page.driver.execute_async_script(
            f"const done = arguments[0], t = performance.now(); Plotly.redraw({graph('cost_vs_score')}).then(() => "
            "done(performance.now() - t))"
        )
        memory = page.run("return performance.memory.usedJSHeapSize")
        print(f"drawing 5,000 points again: {paint:.0f} ms; page memory {memory / 1e6:.0f} MB")
    page.close()


FRAMES = """
const [act, done] = [new Function(arguments[0]), arguments[1]];
let [longest, last, count] = [0, performance.now(), 0];
act();
function frame() {
  const now = performance.now();
  [longest, last] = [Math.max(longest, now - last), now];
  if (++count < 40) requestAnimationFrame(frame); else done(longest);
}
requestAnimationFrame(frame);
"""
GRID = "dash_ag_grid.getApi('runs-grid')"
ACTS = {
    "sort": f"{GRID}.applyColumnState({{state: [{{colId: 'cost_seconds', sort: 'asc'}}]}})",
    "filter": f"{GRID}.setFilterModel({{score: {{filterType: 'number', type: 'greaterThanOrEqual', filter: 5}}}})",
    "scroll": "document.querySelector('.runs-table .ag-body-viewport').scrollTop += 60000",
    "choose all": f"{GRID}.selectAll('filtered')",
}


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_the_table_does_not_freeze(queries: Queries, tmp_path: Path) -> None:
    """The longest time without a picture after each action."""
    page = Page(tmp_path)
    with served(create_app(queries)) as address:
        page.open(f"{address}?sweep=big&page=runs")
        page.wait(lambda: page.run(f"return {GRID}.getDisplayedRowCount()") >= 5000, "rows")
        for name, act in ACTS.items():
            time.sleep(3.0)  # until what came before is drawn
            longest = page.driver.execute_async_script(FRAMES, act)
            print(f"{name}: at most {longest:.0f} ms without a picture")
            assert longest < FIRST_FIGURES_SECONDS * 1000
    page.close()
