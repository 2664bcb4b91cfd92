"""Whole sweeps over programs that are not ours, from the command line: two of stable-baselines3, shell scripts, and
what a kill leaves behind.

stable-baselines3 and its authors' training script (rl_zoo3) run in the interpreter that METTA_SWEEP_SB3_PYTHON names
(default: this one).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("METTA_SWEEP_SB3_PYTHON", sys.executable)
SCRIPT = ROOT / "docs/examples/sb3/train.py"
SPACE = {"learning_rate": {"distribution": "log_normal", "min": 1e-4, "max": 1e-2, "mean": 1e-3}}


def start(directory: Path, text: str) -> subprocess.Popen[str]:
    """`run` on a sweep file, as a user types it; `python` is the interpreter that has stable-baselines3."""
    files = directory / "configs" / "sweep"
    files.mkdir(parents=True)
    (files / "mine.yaml").write_text(text)
    path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "METTA_SWEEP_RAY_DASHBOARD": "0", "PATH": path}
    words = ["run", "sweep_name=s", "sweep=mine", "wandb=off", "hardware=macbook"]
    return subprocess.Popen(
        [sys.executable, "-m", "metta_sweep", *words],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def sweep(directory: Path, text: str) -> list[dict[str, Any]]:
    """The whole sweep; what each of its runs wrote as its result."""
    process = start(directory, text)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return [
        yaml.safe_load(path.read_text())
        for path in sorted((directory / "train_dir/sweep/s/runs").glob("*/sweep_eval_results.yaml"))
    ]


def sweep_file(parameters: object, **trainable: object) -> str:
    overrides = {"trainable": {"kind": "command", **trainable}}
    content = {
        "num_samples": 3,
        "protein": {"num_random_samples": 2},
        "parameters": parameters,
        "sweep_job_overrides": overrides,
    }
    return yaml.safe_dump(content)


def needs(module: str) -> None:
    if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{PYTHON} has no {module}; name one that has in METTA_SWEEP_SB3_PYTHON")


def test_the_tutorials_sweep_of_a_script_that_we_did_not_write(tmp_path: Path) -> None:
    needs("rl_zoo3")
    page = (ROOT / "docs/how-to/programs.md").read_text()
    text = re.findall(r"```yaml title=\"configs/sweep/zoo.yaml\"\n(.*?)```", page, re.S)[0]
    results = sweep(
        tmp_path, text.replace("num_samples: 12", "num_samples: 3").replace("20000", "4096").replace("5000", "2048")
    )
    print([result["score"] for result in results])
    assert len(results) == 3
    assert all(8 <= result["score"] <= 500 for result in results)
    curve = [
        yaml.safe_load(line)
        for line in (tmp_path / "train_dir/sweep/s/runs/s.r.0/curve.jsonl").read_text().splitlines()
    ]
    assert [point["env_steps"] for point in curve] == [2048, 4096]


def test_another_algorithm_read_from_a_file_of_results(tmp_path: Path) -> None:
    needs("stable_baselines3")
    command = f"python {SCRIPT} --algo a2c --steps 2048 --results {{directory}}/results.jsonl {{overrides}}"
    results = sweep(
        tmp_path, sweep_file(SPACE, command=command, override="--{key} {value}", results="{directory}/results.jsonl")
    )
    print([result["score"] for result in results])
    assert len(results) == 3
    assert all(8 <= result["score"] <= 500 for result in results)


def test_a_shell_script(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        'for step in 1 2 3; do echo "step=$step score=$(awk "BEGIN {print $step * (1 - ($1 - 0.3) ^ 2)}")"; done\n'
    )
    space = {"lr": {"distribution": "uniform", "min": 0.1, "max": 0.9, "mean": 0.5}}
    results = sweep(
        tmp_path,
        sweep_file(space, command=f"sh {script} {{lr}}", pattern=r"step=(?P<step>\d+) score=(?P<score>[-.\d]+)"),
    )
    assert len(results) == 3
    assert all(1.5 < result["score"] <= 3 for result in results)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_of_a_program_outlives_its_sweep(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "train.sh"
    script.write_text('setsid sleep 1000 &\necho $! > "$1/daemon.new"\nmv "$1/daemon.new" "$1/daemon"\nsleep 1000\n')
    process = start(tmp_path, sweep_file(SPACE, command=f"sh {script} {{directory}}", stop_seconds=1))
    noted = tmp_path / "train_dir/sweep/s/runs/s.r.0/daemon"
    deadline = time.monotonic() + 300
    while not noted.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    daemon = psutil.Process(int(noted.read_text()))
    tree = [*psutil.Process(process.pid).children(recursive=True), daemon]
    assert any(part == str(script) for each in tree for part in each.cmdline())
    process.send_signal(number)
    process.communicate(timeout=120)
    _, alive = psutil.wait_procs(tree, timeout=150)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
