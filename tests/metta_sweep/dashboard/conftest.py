"""Sweeps that several tests look at, written once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metta_sweep.config.job import Budget
from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.background_fits import BackgroundFits, Fit, fit
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.snapshot import Feed, FeedOptions, Snapshot
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.registry.reader import SqliteReader
from tests.metta_sweep.dashboard.browser import Page, served
from tests.metta_sweep.dashboard.simulated import Plan, simulate

OPTIONS = FeedOptions(Budget(hourly_cost=3.0, dollars=40.0))
HOSTILE = "<script>alert(1)</script>"
PLANS = (
    Plan(name="sim", num_runs=40, message=HOSTILE),
    Plan(name="empty", num_runs=0, num_running=0, num_reserved=0),
    Plan(name="one", num_runs=1, num_running=0, num_reserved=0),
    Plan(name="allfailed", num_runs=4, failing=1, num_running=0, num_reserved=0),
)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with `PLANS`."""
    directory = tmp_path_factory.mktemp("dashboard")
    simulate(directory, *PLANS)
    return directory


def read(data_dir: Path, name: str) -> Snapshot:
    reader = SqliteReader(data_dir / "registry.db")
    try:
        return Feed(reader, name, OPTIONS).refresh()
    finally:
        reader.close()


@pytest.fixture(scope="session")
def snapshot(data_dir: Path) -> Snapshot:
    return read(data_dir, "sim")


@pytest.fixture(scope="session")
def known(snapshot: Snapshot) -> Fit:
    return fit(snapshot)


@pytest.fixture(scope="session")
def queries(data_dir: Path) -> Iterator[Queries]:
    reader = SqliteReader(data_dir / "registry.db")
    source, fits = Source(reader, OPTIONS), BackgroundFits()
    yield Queries(source, fits, SweepSummaries(reader), data_dir)
    fits.close()
    source.close()


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The browser."""
    page = Page(tmp_path_factory.mktemp("browser"))
    yield page
    page.close()


@pytest.fixture
def page(window: Page) -> Iterator[Page]:
    """The browser, on an empty page: one of the test before would go on asking a server that may have ended."""
    yield window
    window.leave()


@pytest.fixture(scope="module")
def simulated(queries: Queries) -> Iterator[str]:
    """Address of a dashboard over the simulated sweeps."""
    with served(create_app(queries)) as address:
        yield address
