"""A person reads something at once, and the plan before Ray, or anything else that is slow to import, is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WITHOUT_RAY = """
import sys
sys.modules |= dict.fromkeys(["ray", "pandas", "httpx", "mettagrid"])  # whoever imports one fails
from metta_sweep.cli.main import main
try:
    main(["run", "sweep_name=s", "sweep=quick", "wandb=off", "+hardware=macbook"])
except ImportError:
    pass
"""


def test_first_words_and_the_plan_need_neither_ray_nor_pandas(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-c", WITHOUT_RAY]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "Reading the configuration."
    plan = next(number for number, line in enumerate(lines) if line.startswith("s: 5 runs"))
    assert lines.index("Starting Ray on this machine.") > plan
