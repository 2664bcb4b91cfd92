"""`python -m tests.benchmarks.search`: run methods on tasks, print the table, keep every outcome as JSON.

Outcomes that the file holds already are not run again, so slow peers are paid for once:
    python -m tests.benchmarks.search --tasks sim4,sim8 --methods protein,naive,optuna-tpe --seeds 10
    python -m tests.benchmarks.search --split choose --methods protein,optuna-tpe --seeds 4
    python -m tests.benchmarks.search --latency
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.search.ablations import ABLATIONS
from tests.benchmarks.search.evaluated import evaluated, untold
from tests.benchmarks.search.harness import MakeMethod, simulate
from tests.benchmarks.search.landscapes import LANDSCAPES, landscape_task
from tests.benchmarks.search.latency import latency
from tests.benchmarks.search.ours import baseline, protein
from tests.benchmarks.search.peers import PEERS
from tests.benchmarks.search.ppo_table import ppo_task
from tests.benchmarks.search.regret import regret_table
from tests.benchmarks.search.report import Outcome, outcome, table
from tests.benchmarks.search.siblings import MEMORIES
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
    **{f"arl-{name}": landscape_task(name) for name in LANDSCAPES},
}
# Half of the runs evaluated over four episodes, half over a hundred
TASKS |= {f"{name}-mixed": evaluated(TASKS[name]) for name in ("branin", "hartmann6", "sim4", "sim8")}
REPORT_FROM = 10  # seeds below it are for choosing among variants
# Landscapes are divided, not only seeds: what was chosen on one half is told of the other.
SPLITS = {
    "choose": (
        "arl-atari_qbert_dqn,arl-box2d_bipedal_walker_sac,arl-cc_acrobot_dqn,arl-cc_cartpole_ppo,arl-cc_pendulum_sac"
    ),
    "report": "arl-atari_double_dunk_dqn,arl-box2d_lunar_lander_dqn,arl-brax_hopper_sac,arl-minigrid_unlock_ppo",
}
METHODS: dict[str, MakeMethod] = {
    "protein": protein(),
    "protein-untold": untold(protein()),  # of standard errors
    "naive": protein(acquisition="naive"),
    **ABLATIONS,
    **MEMORIES,
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
    loaded = [Outcome(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in rows]
    return {row.key: row for row in loaded}


def save(outcomes: Mapping[str, Outcome], path: Path) -> None:
    """One outcome a line, so that what is added shows as such."""
    rows = (json.dumps(outcome.to_dict()) for _, outcome in sorted(outcomes.items()))
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n")


def other_version(method: str, pair: str) -> list[Outcome]:
    """Outcomes of a method as another version of the code made them, under another name."""
    name, path = pair.split("=", 1)
    return [replace(row, method=name) for row in load(Path(path)).values() if row.method == method]


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    first = REPORT_FROM if arguments.split == "report" else 0
    tasks = arguments.tasks or SPLITS.get(arguments.split, "sim4,sim8,branin,hartmann6")
    return [
        (task, method, seed, int(slots))
        for seed in range(first, first + arguments.seeds)
        for slots in arguments.slots.split(",")
        for task in tasks.split(",")
        for method in arguments.methods.split(",")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", help="default: sim4,sim8,branin,hartmann6, or the landscapes of --split")
    parser.add_argument("--methods", default="protein,naive,random,optuna-tpe")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--split", choices=tuple(SPLITS), help="landscapes and seeds for choosing (from 0), or for the report (from 10)"
    )
    parser.add_argument("--slots", default="1", help="runs at once, several by commas")
    parser.add_argument("--processes", type=int, default=1, help="sweeps at a time")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--reference", default="protein", help="the method that the others are compared with")
    parser.add_argument(
        "--against",
        nargs="*",
        default=[],
        metavar="NAME=FILE",
        help="show the reference of FILE as NAME, too",
    )
    parser.add_argument("--latency", action="store_true", help="time suggestions instead; set OPENBLAS_NUM_THREADS=1")
    arguments = parser.parse_args()
    if arguments.latency:
        for row in latency([50, 200, 500, 1000, 2000, 5000]):
            print(json.dumps({key: round(value, 1) for key, value in row.items()}), flush=True)
        return
    known, jobs = load(arguments.out), jobs_of(arguments)
    todo = [job for job in jobs if "/".join(map(str, job)) not in known]
    with ExitStack() as stack:
        several = arguments.processes > 1
        pool = stack.enter_context(ProcessPoolExecutor(arguments.processes)) if several else None
        for result in pool.map(run, todo) if pool else map(run, todo):
            known[result.key] = result
            save(known, arguments.out)
    shown = [*known.values(), *(row for pair in arguments.against for row in other_version(arguments.reference, pair))]
    print(table(shown, arguments.reference))
    print(regret_table(shown, arguments.reference))


if __name__ == "__main__":
    main()
