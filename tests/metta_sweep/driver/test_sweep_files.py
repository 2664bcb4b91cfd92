"""Every sweep file that comes with the package runs, scaled down."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.drive import ROOT, SWEEP, Environ, Instant, drive

pytestmark = pytest.mark.ray


HAS_ATARI = importlib.util.find_spec("ale_py") is not None
NAMES = sorted(file.stem for file in (ROOT / "configs" / "sweep").glob("*.yaml"))


@pytest.mark.parametrize("name", [name for name in NAMES if HAS_ATARI or name != "pong"])
def test_a_packaged_sweep_runs(
    name: str, tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    small = (f"sweep={name}", "sweep.num_samples=2", "trainer.total_timesteps=4096", "device=cpu")
    assert drive(tmp_path, *small, environ=environ).exit_code == 0
    assert [run.state for run in registry.runs(SWEEP)] == [RunState.COMPLETED] * 2
