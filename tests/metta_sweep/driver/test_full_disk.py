"""A sweep whose whole data directory is on a small disk that fills up under it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.metta_sweep.driver.drive import ROOT

SWEEP_ON_A_SMALL_DISK = """
import atexit, subprocess, sys, time
from pathlib import Path
from tests.metta_sweep.driver.drive import SWEEP, start_driver, wait_for
from metta_sweep.registry.open import open_registry
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
(disk / "instant.json").write_text('{"sleep_seconds": 1.0}')
registry = open_registry(disk, None)
registry.create_sweep(SWEEP, "")
driver = start_driver(disk, "sweep.num_samples=6")
atexit.register(driver.kill)
wait_for(lambda: len(registry.observations(SWEEP)) >= 1, seconds=240)
ballast = (disk / "ballast").open("wb", buffering=0)
try:
    while ballast.write(bytes(4096)) == 4096:
        pass
except OSError:
    print("full", flush=True)
time.sleep(8)
assert driver.poll() is None, "the driver waits"
print("while full:", len(registry.observations(SWEEP)), flush=True)
(disk / "ballast").unlink()
ballast.close()
assert driver.wait(timeout=200) == 0
assert [str(run.state) for run in registry.runs(SWEEP)] == ["completed"] * 6
assert sorted(seen.run_number for seen in registry.observations(SWEEP)) == list(range(6))
with registry.engine.connect() as connection:
    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
"""


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_sweep_on_a_full_disk_waits_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("this kernel lets nobody mount a small disk of their own")
    command = ["unshare", "-rm", sys.executable, "-c", SWEEP_ON_A_SMALL_DISK, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No space left" in result.stdout
