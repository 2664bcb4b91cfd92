"""`python -m tests.benchmarks.search`: run methods on tasks, print the table, keep every outcome as JSON.

Outcomes that the file holds already are not run again, so slow peers are paid for once:
    python -m tests.benchmarks.search --tasks sim4,sim8 --methods protein,naive,optuna-tpe --seeds 10
    python -m tests.benchmarks.search --latency
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.benchmarks.search.ablations import ABLATIONS
from tests.benchmarks.search.harness import MakeMethod, simulate
from tests.benchmarks.search.latency import latency
from tests.benchmarks.search.ours import baseline, protein
from tests.benchmarks.search.peers import PEERS
from tests.benchmarks.search.ppo_table import ppo_task
from tests.benchmarks.search.report import Outcome, outcome, table
from tests.benchmarks.search.simulator import simulator_task
from tests.benchmarks.search.slow_peers import SLOW_PEERS
from tests.benchmarks.search.synthetic import branin_task, hartmann_task
from tests.benchmarks.search.tables import HPOLIB, NAS, table_task
from tests.benchmarks.search.tasks import Task

RESULTS = Path(__file__).parent / "results.json"
TASKS: dict[str, Callable[[int], Task]] = {
    "sim4": lambda seed: simulator_task(4, seed),
    "sim8": lambda seed: simulator_task(8, seed),
    "sim15": lambda seed: simulator_task(15, seed),
    "sim8-min": lambda seed: simulator_task(8, seed, goal="minimize"),
    "ppo-arena": ppo_task,
    "branin": branin_task,
    "hartmann6": hartmann_task,
    **{f"hpolib-{name}": table_task("hpolib", name) for name in HPOLIB},
    **{f"nas-{name}": table_task("nas", name) for name in NAS},
}
METHODS: dict[str, MakeMethod] = {
    "protein": protein(),
    "naive": protein(acquisition="naive"),
    **ABLATIONS,
    "random": baseline("random"),
    "sobol": baseline("sobol"),
    **PEERS,
    **SLOW_PEERS,
}

Job = tuple[str, str, int, int]


def run(job: Job) -> Outcome:
    """One simulated sweep."""
    name, method, seed, slots = job
    task = TASKS[name](seed)
    return outcome(task, method, seed, slots, simulate(task, METHODS[method], seed, slots))


def load(path: Path) -> dict[str, Outcome]:
    if not path.exists():
        return {}
    rows = json.loads(path.read_text())
    loaded = [Outcome(**{**row, "cost_to": tuple(row["cost_to"]), "regret": tuple(row["regret"])}) for row in rows]
    return {row.key: row for row in loaded}


def save(outcomes: Mapping[str, Outcome], path: Path) -> None:
    """One outcome a line, so that what is added shows as such."""
    rows = (json.dumps(outcome.to_dict()) for _, outcome in sorted(outcomes.items()))
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="sim4,sim8,branin,hartmann6")
    parser.add_argument("--methods", default="protein,naive,random,optuna-tpe")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--slots", default="1", help="runs at once, several by commas")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--latency", action="store_true", help="time suggestions instead; set OPENBLAS_NUM_THREADS=1")
    arguments = parser.parse_args()
    if arguments.latency:
        for row in latency([50, 200, 500, 1000, 2000, 5000]):
            print(json.dumps({key: round(value, 1) for key, value in row.items()}), flush=True)
        return
    known = load(arguments.out)
    jobs = [
        (task, method, seed, int(slots))
        for seed in range(arguments.seeds)
        for slots in arguments.slots.split(",")
        for task in arguments.tasks.split(",")
        for method in arguments.methods.split(",")
    ]
    todo = [job for job in jobs if "/".join(map(str, job)) not in known]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for result in pool.map(run, todo):
            known[result.key] = result
            save(known, arguments.out)
    print(table(list(known.values()), "protein"))


if __name__ == "__main__":
    main()
