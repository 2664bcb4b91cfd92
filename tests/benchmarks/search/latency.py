"""CPU time of one suggestion after n observations of 15 parameters; run with one BLAS thread."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from searchers import Observation, Protein, ProteinConfig
from tests.benchmarks.search.simulator import LENGTH, simulator_task


def latency(counts: list[int], samples: int = 15) -> Iterator[dict[str, Any]]:
    """Median and largest CPU milliseconds of `suggest` and of the observations between, and the process's memory.

    The history is random points with noisy scores: no easier than a real one, and the same for every count.
    """
    task = simulator_task(15, 0)
    protein = Protein(task.space, ProteinConfig(objective="best", fidelity=LENGTH), rng=np.random.default_rng(0))
    rng, done = np.random.default_rng(1), 0
    points = task.space.sample(max(counts) + samples, lambda count: rng.uniform(-1, 1, (count, task.space.dimension)))
    for count in counts:
        while done < count:
            protein.observe(_observation(task, points[done], rng))
            done += 1
        suggest, observe = [], []
        for extra in range(samples):
            suggest.append(_cpu(lambda number=done: protein.suggest(number=number)))
            point = points[min(count + extra, len(points) - 1)]
            observe.append(_cpu(lambda p=point: protein.observe(_observation(task, p, rng))))
            done += 1
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield {
            "observations": count,
            "suggest_median_ms": float(np.median(suggest)),
            "suggest_max_ms": float(np.max(suggest)),
            "observe_median_ms": float(np.median(observe)),
            "observe_max_ms": float(np.max(observe)),
            "memory_mb": memory,
        }


def _observation(task: Any, point: np.ndarray, rng: np.random.Generator) -> Observation:
    params = task.space.from_unit(point)
    run = task.problem.run(params, rng)
    return Observation(
        params, run.score if run.score is not None else float(rng.random()), run.cost_seconds, curve=run.curve
    )


def _cpu(call: Any) -> float:
    begin = time.process_time()
    call()
    return (time.process_time() - begin) * 1000
