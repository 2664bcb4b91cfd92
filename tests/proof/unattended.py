"""A real sweep from start to finish with everything going wrong on the way: `python -m tests.proof.unattended DIRECTORY
[--task combat] [--rivals] [--seed N]`.

What it does, and when: README.md beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.dashboard.browser import Page
from tests.metta_sweep.driver.audit import audit, charged
from tests.metta_sweep.driver.test_kills_on_ray import kill_one
from tests.metta_sweep.registry.registry_postgres import free_port
from tests.metta_sweep.tracking.wandb_server import KEY, WandbServer, serving
from tests.proof.afresh import Afresh, afresh
from tests.proof.pictures import table_svg
from tests.proof.rivals import METHODS, rival
from tests.proof.stage import Service, Stage, answers, on_postgres, wait_for
from tests.proof.tasks import TASKS, Task

SWEEP = "proof"
SWEEP_SECONDS = 3600.0
PICTURE = (1280, 1000)


class Sweep:
    """The sweep and what happens to it."""

    def __init__(self, stage: Stage, service: Service, wandb: ExitStack, task: Task, seed: int) -> None:
        self.stage, self.task = stage, task
        self.service = service
        self.wandb = wandb
        self.registry = open_registry(stage.directory / "train_dir", service.url, stage.environ["METTA_SWEEP_TOKEN"])
        self.words = ["run", *task.words(SWEEP, seed)]
        self.words += [f"settings.sweep_server_uri={service.url}", "settings.lease_seconds=60"]
        self.started = time.monotonic()
        self.first = stage.start("first", self.words, NUM_CPUS="2")
        self.second: subprocess.Popen[bytes] | None = None

    def faults(self) -> Iterator[tuple[float, str, Callable[[], object]]]:
        """(share of the runs that must have ended before, what it is, what to do)."""
        yield 0.125, "a second driver joins", self.second_joins
        yield 0.25, "kill -9 to the first driver, which is started again", self.kill_and_restart
        yield 0.4, "kill -9 to a worker", self.kill_worker
        yield 0.525, "kill -9 to the registry's service, away for 10 s", self.restart_service
        yield 0.625, "WandB goes away", self.wandb_leaves
        yield 0.75, "the second driver leaves", self.second_leaves

    def second_joins(self) -> None:
        self.second = self.stage.start("second", self.words, NUM_CPUS="1", WANDB_MODE="offline")

    def kill_and_restart(self) -> None:
        self.first.kill()
        self.first.wait()
        time.sleep(2.0)
        self.first = self.stage.start("first", self.words, NUM_CPUS="2")

    def kill_worker(self) -> None:
        wait_for(lambda: kill_one(self.first, "RankActor", random.Random(0)), "a worker to kill", 300.0)

    def restart_service(self) -> None:
        self.service.kill()
        time.sleep(10.0)
        self.service.start()

    def wandb_leaves(self) -> None:
        self.wandb.close()
        table_svg(self.registry, SWEEP, self.stage.directory / "table.svg")

    def second_leaves(self) -> None:
        assert self.second is not None
        self.second.send_signal(signal.SIGINT)
        self.say(f"the second driver left with exit code {self.second.wait(timeout=300)}")

    def ended(self) -> int:
        states = [RunState.COMPLETED, RunState.STOPPED_EARLY, RunState.FAILED]
        return len(self.registry.runs(SWEEP, states=states)) if self.started_at_all() else 0

    def started_at_all(self) -> bool:
        return any(sweep.name == SWEEP for sweep in self.registry.list_sweeps())

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.0f} s  {text}", flush=True)

    def play(self) -> None:
        """Every fault in turn, then the end."""
        for share, what, act in self.faults():
            count = round(share * self.task.num_runs)
            wait_for(lambda least=count: self.ended() >= least, f"{count} runs", SWEEP_SECONDS)  # type: ignore[misc]
            self.say(f"{self.ended()} runs ended: {what}")
            act()
        code = self.first.wait(timeout=SWEEP_SECONDS)
        self.say(f"the first driver is done, exit code {code}")
        assert code == 0


class Dashboard:
    """The page, open in a browser all the time."""

    def __init__(self, stage: Stage, service: Service) -> None:
        port = free_port()
        self.process = stage.start(
            "dashboard", ["dashboard", f"settings.sweep_server_uri={service.url}", "--port", str(port)]
        )
        self.url, self.directory = f"http://127.0.0.1:{port}/", stage.directory
        wait_for(lambda: answers(self.url), "dashboard")
        self.page = Page(stage.directory)
        self.page.open(self.url)

    def close(self) -> None:
        self.page.open(f"{self.url}?sweep={SWEEP}")
        self.page.drawn("progression")
        self.page.driver.set_window_size(*PICTURE)
        time.sleep(2.0)  # until the figures have their new size
        self.page.driver.save_screenshot(str(self.directory / "dashboard.png"))
        errors = self.page.errors()
        print(f"dashboard: {len(errors)} errors in the browser while it was open", *errors, sep="\n  ")
        self.page.close()
        self.process.terminate()
        self.process.wait()


def cpu_seconds(registry: Registry, sweep: str) -> float:
    """All attempts of all runs, as the registry booked them."""
    return sum(charged(attempt) for attempt in registry.attempts(sweep))


def sweep_with_faults(stage: Stage, service: Service, task: Task, seed: int) -> float:
    """CPU seconds of the runs of the sweep, which went through everything and was audited."""
    server, wandb = WandbServer(), ExitStack()
    wandb_port = free_port()
    url = wandb.enter_context(serving(server, wandb_port))
    stage.environ |= {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": KEY,
        "WANDB_ENTITY": "me",
        "WANDB_PROJECT": "metta",
        "WANDB_MODE": "online",
    }
    sweep = Sweep(stage, service, wandb, task, seed)
    dashboard = Dashboard(stage, service)
    with closing(sweep.registry):
        sweep.play()
        wall = time.monotonic() - sweep.started
        dashboard.close()
        for line in audit(sweep.registry, SWEEP, stage.directory / "train_dir" / "sweep" / SWEEP / "runs", task.phases):
            print(f"ok: {line}")
        spent = cpu_seconds(sweep.registry, SWEEP)
    print(f"wall {wall:.0f} s, CPU of the runs {spent:.0f} s")
    with serving(server, wandb_port):
        stage.call("sync", f"sweep_name={SWEEP}", f"settings.sweep_server_uri={service.url}")
    finished = [run for run in server.runs.values() if run.state == "finished"]
    print(f"WandB after sync: {len(finished)} runs finished, {server.num_repeated_rows} rows came twice")
    assert len(finished) == task.num_runs
    return spent


def found(stage: Stage, service: Service, task: Task) -> Afresh:
    """What `best` recommends, trained again by `train` on fresh seeds and played by `evaluate` on fresh maps."""
    uri, patches = f"settings.sweep_server_uri={service.url}", str(stage.patches)
    answer = stage.ask("best", f"sweep_name={SWEEP}", uri, "--output-dir", patches)
    print((stage.patches / f"{SWEEP}_best.yaml").read_text())
    print(f"best run {answer['best'][0]['id']} with {answer['best'][0]['score']:.2f}")
    return afresh(stage, f"{SWEEP}_best", task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--task", choices=TASKS, default="basic")
    parser.add_argument("--rivals", action="store_true", help="also plain Ray Tune with Optuna, and random search")
    parser.add_argument("--seed", type=int, default=1, help="of the sweep")
    args = parser.parse_args()
    if args.directory.exists():
        parser.error(f"directory: {args.directory} exists; name one that does not")
    args.directory.mkdir(parents=True)
    stage = Stage(args.directory.resolve(), {"WANDB_MODE": "disabled"})
    os.environ.pop("RAY_ADDRESS", None)
    task = TASKS[args.task]
    with on_postgres(stage) as service:
        spent = sweep_with_faults(stage, service, task, args.seed)
        stage.environ["WANDB_MODE"] = "disabled"
        print(f"{SWEEP}: {found(stage, service, task)}", flush=True)
    for method in METHODS if args.rivals else ():
        print(f"{method}: {rival(stage, task, method, args.seed, spent)}", flush=True)


if __name__ == "__main__":
    main()
