"""Plain Ray Tune with Optuna, and random search, at the CPU time that a sweep of ours took: what each finds, trained
again as ours is.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from metta_sweep.config.patches import FinishedRun, run_patch
from tests.benchmarks.comparison.live import plain_tune
from tests.proof.afresh import Afresh, afresh
from tests.proof.stage import Stage
from tests.proof.tasks import Task

METHODS = ("optuna", "random")


def rival(stage: Stage, task: Task, method: str, seed: int, budget: float) -> Afresh:
    """The best run of a sweep whose runs all have full length, trained again."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        words = [*task.words_of_full_runs("live", seed), f"data_dir={name}"]
        advised = plain_tune(words, Path(name), budget, method)
    wall = time.monotonic() - started
    print(f"{method}: {len(advised)} runs, CPU {advised[-1].cost:.0f} s of {budget:.0f} s, wall {wall:.0f} s")
    patch = stage.patches / f"{method}_best.yaml"
    patch.write_text(run_patch(FinishedRun(advised[-1].spec, {}), [f"{method}, seed {seed}"], os.environ))
    return afresh(stage, patch.stem, task)
