"""A real sweep, started as a user starts it, of a training that takes a moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import yaml

from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.records import RunState

ROOT = Path(__file__).parents[3]
NAME = "real"
NUM_RUNS = 14
PAUSE_AFTER = 9
# A hump in the learning rate, better with longer training. From its `PAUSE_AFTER`th start on it waits for the file
# `go`.
TRAINING = f"""
import json, math, os, sys, time
given = dict(word.lstrip("+").split("=", 1) for word in sys.argv[2:])
rate, steps, choice = float(given["learning_rate"]), int(given["steps"]), given["kind"]
while int(sys.argv[1].rpartition(".")[2]) >= {PAUSE_AFTER} and not os.path.exists("go"):
    time.sleep(0.1)
with open(os.environ["METTA_SWEEP_REPORT"], "a") as report:
    for part in range(1, 6):
        score = 5 - (math.log10(rate) + 3) ** 2 + math.log10(steps * part / 5) / 3 + (0.2 if choice == "lstm" else 0)
        print(json.dumps({{"score": score, "step": steps * part // 5}}), file=report)
"""
SWEEP = {
    "metric": "score",
    "num_samples": NUM_RUNS,
    "protein": {"num_random_samples": 4},
    "parameters": {
        "learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2, "mean": 1e-3},
        "steps": {"distribution": "uniform_pow2", "min": 1024, "max": 65536, "mean": 8192},
        "kind": {"choices": ["mlp", "lstm"]},
    },
}


class RealSweep:
    """`python -m metta_sweep run` in the background; it pauses when about `PAUSE_AFTER` runs are done."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reader = SqliteReader(directory / "data" / "registry.db")
        (directory / "train.py").write_text(TRAINING)
        command = f"{sys.executable} -S train.py {{run}} {{overrides}}"
        trainable = {"kind": "command", "command": command, "workdir": str(directory), "total_steps": 65536}
        (directory / "configs" / "sweep").mkdir(parents=True)
        (directory / "configs" / "sweep" / "cheap.yaml").write_text(
            yaml.safe_dump({**SWEEP, "sweep_job_overrides": {"trainable": trainable}})
        )
        words = [
            f"sweep_name={NAME}",
            "sweep=cheap",
            f"data_dir={directory / 'data'}",
            "budget.dollars=1",
            "budget.hourly_cost=0.5",
        ]
        words += ["wandb=off", "wandb.entity=team", "wandb.project=metta"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "METTA_SWEEP_RAY_DASHBOARD": "0", "NUM_CPUS": "2"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "metta_sweep", "run", *words],
            cwd=directory,
            env=environ,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def num_scored(self) -> int:
        assert self._process.poll() in (None, 0), f"the sweep ended with {self._process.poll()}"
        return (
            sum(run.state is RunState.COMPLETED for run in self.reader.runs(NAME)) if self.reader.list_sweeps() else 0
        )

    def go(self) -> None:
        """Let the rest run."""
        (self.directory / "go").touch()

    def end(self) -> None:
        """End it and all that it started."""
        if self._process.poll() is None:
            family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
            for member in family:
                if member.is_running():
                    member.send_signal(signal.SIGKILL)
        self._process.wait()
        self.reader.close()
