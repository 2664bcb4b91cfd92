"""`run_sweep`: everything of one sweep put together, from the registry to Tune's loop and back."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import yaml
from rich.console import Console

from metta_sweep.capacity import counted, slots_at_start, slots_text
from metta_sweep.config import resolve_run
from metta_sweep.config.job import SweepJob
from metta_sweep.driver import messages as ms
from metta_sweep.driver.display import Progressing, ProgressView, TableStyle, quiet, say, stop_signals
from metta_sweep.driver.files import prepare_directory, write_yaml
from metta_sweep.driver.headline import headline
from metta_sweep.driver.memory import read_past
from metta_sweep.driver.plan import plan_from
from metta_sweep.driver.reporter import RunReporter
from metta_sweep.driver.rules import STOPPED_BY_COMMAND, StopReason
from metta_sweep.driver.single import RandomBaseline
from metta_sweep.driver.state import Capacity, Rules, State, begin
from metta_sweep.driver.suggestions import SuggestionWorker, SweepOptimiser
from metta_sweep.driver.summary import SweepOutcome, print_plan
from metta_sweep.driver.tune import TUNE_ENVIRONMENT, Link, MetricsCallback, SweepSearch, run_tune
from metta_sweep.driver.workers import StateMachine, SweepContext
from metta_sweep.ray_cluster.cluster import ClusterNodes, RayCluster, connected
from metta_sweep.ray_cluster.private_ray import PrivateRay
from metta_sweep.ray_cluster.watch import end_process, watched
from metta_sweep.registry.api import Registry
from metta_sweep.registry.names import run_id
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import RunState
from metta_sweep.tracking.job import MirrorJob
from metta_sweep.tracking.mirror_callback import WandbMirrorCallback

MIRROR_SECONDS = 5.0  # for the mirror of a driver whose Ray died; what it did not send, the next one does
EXIT_CAP = 3  # scripts tell it from a mistake (1 and 2): somebody may raise the cap
EXIT_WITH_FAILURES = 4  # all is done, but a script should not take it for 0
EXIT_INTERRUPTED = 130  # as shells say it: 128 and SIGINT's number


@dataclass(frozen=True, slots=True)
class RunCommand:
    """What is known of the command that runs the sweep.

    Attributes:
        trainable: a Ray trainable with the contract of `trainables.run_trainable.RunTrainable`, which None means.
        may_restart: whether this process may begin afresh, with the words that started it, when its private Ray dies.
        begun: when it was asked for (monotonic seconds), None = now; who stops the sweep later means it, too.
        is_planned: whether the plan has been shown.
    """

    trainable: type | None = None
    may_restart: bool = False
    begun: float | None = None
    is_planned: bool = False


def run_sweep(
    job: SweepJob, registry: Registry, environ: Mapping[str, str], console: Console, command: RunCommand = RunCommand()
) -> SweepOutcome:
    """Run the sweep until a stop rule, an error or the user ends it; continue it when it exists.

    Raises:
        ConfigError: no node can hold a run.
        ClusterError: Ray cannot be reached.
        SweepAborted: the training code is broken, or too many runs failed in a row.
    """
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    started = time.monotonic()
    prepare_directory(job, registry, lambda text: say(text, console))
    if environ.get("RAY_AUTH_MODE") == "disabled" and not environ.get("RAY_ADDRESS"):
        say("note: RAY_AUTH_MODE=disabled has no effect without RAY_ADDRESS: a private Ray asks for a token", console)
    with connected(environ, job.machine, job.sweep_name) as cluster:
        slots = slots_at_start(job.resources, cluster.nodes.usable())
        say_start(job, cluster, console)
        if not command.is_planned:
            print_plan(plan_from(registry, job, max(slots, 1)), console)
        if not slots:
            say(slots_text(slots), console)
        mirror = WandbMirrorCallback(MirrorJob.of(job, environ))
        driver = Driver(job, registry, DriverContext(cluster.nodes, mirror, console, command, cluster.own))
        write_yaml(job.directory / "config.yaml", yaml.safe_load(job.spec_yaml))  # for people and scripts
        random_score = None
        if driver.begin(started if command.begun is None else command.begun):
            center = job.sweep.phases[0].space.center()  # no matter which: runs have in common what is asked of it
            config = resolve_run(job.train, run_id(job.sweep_name, 0), center, seed=job.seed)
            baseline = RandomBaseline(job.directory, config)
            driver.run()
            random_score = baseline.score()
        else:
            driver.close()
    if driver.machine.state.stop.error:
        raise driver.machine.state.stop.error
    num_failed = len(registry.runs(job.sweep_name, states=[RunState.FAILED]))
    return outcome_of(driver.machine.state, num_failed, time.monotonic() - started, random_score)


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What one driver works with, besides its sweep; `own_ray` is None on anybody else's cluster."""

    nodes: ClusterNodes
    mirror: WandbMirrorCallback
    console: Console
    command: RunCommand = RunCommand()
    own_ray: PrivateRay | None = None


class Driver:
    """The state machine of one driver and the threads around it, wired; each says in its own file what it does."""

    def __init__(self, job: SweepJob, registry: Registry, context: DriverContext) -> None:
        self.job = job
        self.context, self.say = context, partial(say, console=context.console)
        rules = Rules.of(job, context.nodes.promised)
        optimiser = SweepOptimiser(job.sweep, job.seed, read_past(registry, job.sweep, job.spec_yaml))
        inbox: queue.SimpleQueue[ms.Event] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[ms.ForTune] = queue.SimpleQueue()
        sweep, owner = registry.get_sweep(job.sweep_name), current_owner()
        shared = SweepContext(job, registry, sweep, owner, rules, inbox.put, self.say)
        self.suggestions = SuggestionWorker(shared, optimiser)
        self.reporter = RunReporter(shared)
        capacity = Capacity(context.nodes.living(), context.nodes.leaving())
        self.machine = StateMachine(begin(rules, time.monotonic(), capacity=capacity), inbox, self._carry_out)
        self.link = Link(self.machine, self._answers, context.nodes)
        self.search = SweepSearch(self.link)
        self._closing, self._is_closed = threading.Lock(), False

    def _carry_out(self, command: ms.MachineCommand) -> None:
        match command:
            case ms.WriteMessage(kind, payload):
                self.reporter.keep(kind, payload)
            case ms.Tell():
                self.reporter.tell(command)
            case ms.ForOptimiser():
                self.suggestions.put(command)
            case ms.ForReporter():
                self.reporter.put(command)
            case ms.ForTune():
                self._answers.put(command)
                if isinstance(command, ms.Start):
                    self.reporter.put(command)  # which writes its files

    def begin(self, begun: float) -> bool:
        """As `RunReporter.begin`."""
        is_ours = self.reporter.begin(self.introduction(), begun)
        if not is_ours:
            self.machine.post(ms.StopAsked(STOPPED_BY_COMMAND))
        return is_ours

    def open(self) -> None:
        """Take over what nobody alive holds, and let the threads begin. Raises `RegistryUnavailable`."""
        self.machine.post(self.reporter.resume())
        for thread in (self.reporter, self.suggestions, self.machine):
            thread.start()

    def close(self) -> None:
        """Give back what this driver holds and deliver what it has to say, once."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._end()
                self.context.mirror.stop()  # after the reporter: the last results are in the registry now

    def _end(self) -> None:
        self.suggestions.stop()
        self.machine.close()
        self.suggestions.close()
        if (stop := self.machine.state.stop).reason is not None and not stop.error:
            self.reporter.say_goodbye(stop.reason)
        self.reporter.close()

    def end_without_ray(self, reason: str) -> None:
        """The private Ray died, and Tune's loop: runs are interrupted, all is delivered, the command begins afresh."""
        self.machine.post(ms.StopAsked(StopReason(reason, is_cap=False), now=True))
        with self._closing:  # never let go of: the loop must not come to an end of its own
            if not self._is_closed:
                self._end()
                self.context.mirror.stop(MIRROR_SECONDS)
                self.context.console.show_cursor()
                end_process(reason, self.say, may_restart=self.context.command.may_restart)

    def run(self) -> None:
        """Tune's loop, from the first suggestion to the last result delivered."""
        from trainables.run_trainable import RunTrainable

        console = self.context.console
        view = ProgressView(self.progress, TableStyle.of(self.job), console)
        callbacks = [MetricsCallback(self.machine, self.job.budget.hourly_cost), self.context.mirror]
        trainable = self.context.command.trainable or RunTrainable
        own_ray = watched(self.context.own_ray, self.end_without_ray)
        with quiet(self.job.directory / "driver.log"), view, stop_signals(self.machine.post, console), own_ray:
            self.open()
            try:
                run_tune(self.job, self.link, self.search, trainable=trainable, draw=view.draw, callbacks=callbacks)
            finally:
                self.close()

    def progress(self) -> Progressing:
        """What the table shows now."""
        state = self.machine.state
        return Progressing(state.runs, f"{self.job.sweep_name}: {headline(state, time.monotonic())}")

    def introduction(self) -> dict[str, Any]:
        """What readers are told of this driver: its slots, and the stop rules, which the specification leaves out."""
        job, resources = self.job, self.job.resources
        rules = {"sweep.num_samples": job.sweep.num_samples, "sweep.target_score": job.sweep.target_score}
        rules |= {f"budget.{key}": value for key, value in asdict(job.budget).items()}
        known = {key: value for key, value in rules.items() if value is not None}
        held = {"world_size": resources.world_size, "gpus": resources.gpus_per_worker}
        return {"slots": self.machine.state.capacity.slots, **held, "rules": known}


def outcome_of(
    state: State, num_failed: int, wall_seconds: float, random_score: tuple[float, float | None] | None
) -> SweepOutcome:
    """Reason and exit code."""
    reason = state.stop.reason or StopReason("no more runs", is_cap=False)
    code = EXIT_CAP if reason.is_cap else EXIT_WITH_FAILURES if num_failed else 0
    code = EXIT_INTERRUPTED if state.stop.by_user else code
    return SweepOutcome(reason.reason, code, wall_seconds, num_failed, random_score)


def say_start(job: SweepJob, cluster: RayCluster, console: Console) -> None:
    """Where it runs, where its files are, where to look."""
    where = "this machine" if cluster.own else counted(len(cluster.nodes.living()), "node")
    say(f"sweep {job.sweep_name} on {where}; files in {job.directory}", console)
    if cluster.dashboard_url:
        token = f" (it asks for the token in {cluster.own.token_path})" if cluster.own else ""
        say(f"Ray dashboard: {cluster.dashboard_url}{token}", console)
