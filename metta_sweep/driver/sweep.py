"""`run_sweep`: everything of one sweep put together, from the registry to Tune's loop and back."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from metta_sweep.analysis.overview import DRIVER_STARTED
from metta_sweep.capacity import Node, missing, slots_at_start, slots_text
from metta_sweep.config import resolve_run
from metta_sweep.config.job import SweepJob
from metta_sweep.driver.baseline import RandomBaseline
from metta_sweep.driver.board import Board
from metta_sweep.driver.callback import LoopCallback, StopWhenCheckpointed
from metta_sweep.driver.clerk import STOPPED, Clerk, Desk
from metta_sweep.driver.cluster import Cluster, ClusterNodes, connected
from metta_sweep.driver.control import Control
from metta_sweep.driver.directory import MOVED_ASIDE, claim_sweep_directory
from metta_sweep.driver.fleet import Fleet
from metta_sweep.driver.metrics import MetricsCallback, Moment
from metta_sweep.driver.nodes import BreakerLimits, NodeBreaker
from metta_sweep.driver.outcome import cost_clock
from metta_sweep.driver.past import plan_from
from metta_sweep.driver.placement import PlacementLimits, PlacementWatch, gang
from metta_sweep.driver.plan_text import print_plan
from metta_sweep.driver.private_ray import PrivateRay
from metta_sweep.driver.proposer import Proposer
from metta_sweep.driver.ray_watch import end_process, watched
from metta_sweep.driver.run_files import write_yaml
from metta_sweep.driver.search import SweepScheduler, SweepSearch
from metta_sweep.driver.slots import RestingSlots, Slots
from metta_sweep.driver.spending import Spending
from metta_sweep.driver.stock import Hooks, Lease, Stock
from metta_sweep.driver.stop_rules import Verdict
from metta_sweep.driver.table import ProgressView, TableStyle
from metta_sweep.driver.terminal import quiet, stop_signals
from metta_sweep.errors import ConfigError, IllegalTransition
from metta_sweep.registry.api import Registry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import RunRecord, RunState, SweepState
from metta_sweep.tracking.job import MirrorJob
from metta_sweep.tracking.mirror_callback import WandbMirrorCallback
from trainables.disk import PRIVATE, allot
from trainables.ownership import claim_run, moved_text, run_mark

logger = logging.getLogger(__name__)

# Tune's own bookkeeping, switched off: the registry is the truth, and 10,000 trials in one JSON file are not.
TUNE_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # the search itself starts no more runs than there are slots
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

MIRROR_SECONDS = 5.0  # for the mirror of a driver whose Ray died; what it did not send, the next one does
EXIT_CAP = 3
EXIT_WITH_FAILURES = 4
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Ending:
    """How a `run` ended.

    Attributes:
        reason: why no more runs were started.
        exit_code: see `metta_sweep.cli.main.main`.
        wall_seconds: of this driver.
        num_failed: runs of the sweep that failed.
        random_score: mean and standard error of a random policy on the same suite, or None when it was not measured.
    """

    reason: str
    exit_code: int
    wall_seconds: float
    num_failed: int
    random_score: tuple[float, float | None] | None


@dataclass(frozen=True, slots=True)
class Command:
    """What is known of the command that runs the sweep.

    Attributes:
        trainable: a Ray trainable with the contract of `trainables.run_trainable.RunTrainable`, which None means.
        may_restart: whether this process may begin afresh, with the words that started it, when its private Ray dies.
        begun: when it was asked for (monotonic seconds), None = now; who stops the sweep after that means this command,
            too.
    """

    trainable: type | None = None
    may_restart: bool = False
    begun: float | None = None


def run_sweep(
    job: SweepJob, registry: Registry, environ: Mapping[str, str], console: Console, command: Command = Command()
) -> Ending:
    """Run the sweep until a stop rule, an error or the user ends it; continue it when it exists.

    Raises:
        ConfigError: no node can hold a run.
        ClusterError: Ray cannot be reached.
        SweepAborted: the training code is broken, or too many runs failed in a row.
    """
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    started = time.monotonic()
    begun = started if command.begun is None else command.begun
    make_directory(job, console)
    claim_sweep_directory(job, registry, lambda text: say(text, console))
    if environ.get("RAY_AUTH_MODE") == "disabled" and not environ.get("RAY_ADDRESS"):
        console.print(
            "note: RAY_AUTH_MODE=disabled has no effect without RAY_ADDRESS: a private Ray asks for a token",
            soft_wrap=True,
        )
    with connected(environ, job.machine, job.sweep_name) as cluster:
        slots = slots_at_start(job.resources, cluster.nodes.usable())
        say_start(job, cluster, console)
        print_plan(plan_from(registry, job, max(slots, 1)), console)
        if not slots:
            console.print(slots_text(slots), highlight=False)
        mirror = WandbMirrorCallback(MirrorJob.of(job, environ))
        driver = Driver(
            job, registry, Stage(cluster.nodes, mirror, console, command.trainable, cluster.own, command.may_restart)
        )
        write_sweep_files(job)
        random_score = None
        if driver.begin(begun):
            baseline = RandomBaseline(job.directory, driver.any_config())
            driver.run()
            random_score = baseline.score()
        else:
            driver.close()
    if driver.control.aborted:
        raise driver.control.aborted
    return driver.ending(time.monotonic() - started, random_score)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one driver works with, besides its sweep.

    Attributes:
        nodes: of the cluster.
        mirror: sends the sweep to WandB.
        console: of the person who started it.
        trainable: in place of `trainables.run_trainable.RunTrainable`.
        own_ray: the private Ray, None on anybody else's cluster.
        may_restart: whether the command may begin afresh when its private Ray dies.
    """

    nodes: ClusterNodes
    mirror: WandbMirrorCallback
    console: Console
    trainable: type | None = None
    own_ray: PrivateRay | None = None
    may_restart: bool = False


class Driver:
    """The parts of one driver, wired; each part says in its own file what it does."""

    def __init__(self, job: SweepJob, registry: Registry, stage: Stage) -> None:
        self.job = job
        self.stage = stage
        self.registry = registry
        self.sweep_id = registry.get_sweep(job.sweep_name).id
        self.control = Control()
        self.board = Board()
        gpus = job.resources.gpus_per_worker * job.resources.world_size
        owner = current_owner()
        desk = Desk(job=job, owner=owner, num_gpus=gpus, clock=cost_clock(job.sweep.cost, gpus), say=self.say)
        self.spending = Spending(job, registry, self.board, has_gpus=gpus > 0)
        self.clerk = Clerk(registry, desk, self.board, self.control, self.spending)
        self.stock = Stock(
            registry,
            Proposer(job.sweep, job.seed),
            Lease(job.sweep_name, owner, job.settings.lease_seconds),
            size=lambda: self.slots.wanted,
            hooks=Hooks(
                prepare=self.trial_config, may_reserve=self.spending.no_more_runs, on_advice=self.control.stop_run
            ),
        )
        self.clerk.stock = self.stock
        self._closing, self._is_closed = threading.Lock(), False
        settings = job.settings
        limits = BreakerLimits(settings.max_fast_losses, settings.fast_loss_seconds)
        self.breaker = NodeBreaker(limits, living=lambda: stage.nodes.living().keys(), note=self.clerk.tell)
        self.slots = Slots(job.resources, self.usable_nodes, self.clerk.tell)
        self.fleet = Fleet(self.slots, self.breaker, stage.nodes)
        resting = RestingSlots(settings.rollout_retry_delay)
        self.search = SweepSearch(self.stock, self.clerk, self.board, self.control, self.fleet, resting)

    def usable_nodes(self) -> Sequence[Node]:
        """Nodes that runs of this driver may count on now."""
        return self.stage.nodes.usable(self.breaker.cordoned)

    def introduction(self) -> dict[str, Any]:
        """What readers are told of this driver: its slots, and the stop rules, which the specification leaves out."""
        job, resources = self.job, self.job.resources
        rules = {"sweep.num_samples": job.sweep.num_samples, "sweep.target_score": job.sweep.target_score}
        rules |= {f"budget.{key}": value for key, value in asdict(job.budget).items()}
        return {
            "slots": self.slots.now,
            "world_size": resources.world_size,
            "gpus": resources.gpus_per_worker,
            "rules": {key: value for key, value in rules.items() if value is not None},
        }

    def trial_config(self, record: RunRecord) -> dict[str, Any]:
        """What the trainable gets for a run: plain data, nothing of the sweep."""
        seed = int(np.random.SeedSequence([self.job.seed, record.number]).generate_state(1)[0])
        spec = resolve_run(self.job.train, record.id, dict(record.params), seed=seed)
        self.set_aside(record.id, spec)
        return {
            "id": record.id,
            "sweep_id": self.sweep_id,
            "attempt": record.attempts + 1,
            "directory": str(self.job.run_directory(record.id)),
            "spec": spec,
            "umask": self.job.umask,
        }

    def set_aside(self, run_id: str, spec: Mapping[str, Any]) -> None:
        """Tell when a run begins anew because what lies in its directory is of another configuration."""
        directory = self.job.run_directory(run_id)
        try:
            aside = claim_run(directory, run_mark(self.sweep_id, run_id, spec), spec) if directory.exists() else None
        except OSError as error:
            logger.warning("%s: %s; its worker looks again", directory, error)
            return
        if aside is not None:
            text = moved_text(directory, aside, f"files of {run_id} with another configuration")
            self.clerk.tell(MOVED_ASIDE, text, {"run": run_id, "directory": str(aside)})

    def any_config(self) -> dict[str, Any]:
        """The configuration of a run at the search centre; shows what every run of the sweep has in common."""
        return resolve_run(
            self.job.train, f"{self.job.sweep_name}.r.0", self.job.sweep.phases[0].space.center(), seed=self.job.seed
        )

    def begin(self, begun: float) -> bool:
        """Make the sweep active; False when it must not begin, for somebody stopped the sweep since this driver was
        asked for.

        Args:
            begun: when that was, in monotonic seconds.

        Raises:
            ConfigError: its specification was changed since then.
        """
        name = self.job.sweep_name
        self.clerk.listen()
        age = time.monotonic() - begun
        try:
            sweep = self.registry.set_sweep_state(name, SweepState.ACTIVE, by="run", reason="", age_seconds=age)
        except IllegalTransition:
            self.control.drain(STOPPED)
            return False
        if sweep.spec_yaml != self.job.spec_yaml:
            raise ConfigError(
                f"sweep_name={name}: `run --update` changed its specification meanwhile; run the same command again"
            )
        self.registry.add_event(name, DRIVER_STARTED, run_id=None, by="run", detail=self.introduction())
        return True

    def run(self) -> None:
        """Tune's loop, from the first suggestion to the last result delivered."""
        console = self.stage.console
        view = ProgressView(self.board, self.table_style(), console)
        with (
            quiet(self.job.directory / "driver.log"),
            view,
            stop_signals(self.control, console),
            watched(self.stage.own_ray, self.end_without_ray),
        ):
            self.stock.start(self.clerk.open())
            try:
                self.tune(view.draw)
            finally:
                self.close()

    def close(self) -> None:
        """Deliver everything, once."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self.stock.close()
            self.clerk.close(self.search.unfinished)
            self.stage.mirror.stop()  # after the clerk: the last results are in the registry now

    def end_without_ray(self, reason: str) -> None:
        """The private Ray died, and Tune's loop with it: what ran is interrupted, everything is delivered, and the
        command begins afresh.
        """
        self.control.drain(Verdict(reason, is_cap=False), now=True)
        with self._closing:  # never let go of: the loop must not come to an end of its own
            if not self._is_closed:
                self.stock.close()
                self.clerk.close(self.search.unfinished)
                self.stage.mirror.stop(MIRROR_SECONDS)
                self.stage.console.show_cursor()
                end_process(reason, self.say, may_restart=self.stage.may_restart)

    def tune(self, draw: Callable[[], None]) -> None:
        """One Tune experiment; nothing of it needs to outlive this call."""
        from ray import tune

        from trainables.run_trainable import RunTrainable

        settings = self.job.settings
        limits = PlacementLimits(settings.placement_warning_seconds, settings.placement_timeout_seconds)
        watch = PlacementWatch(
            limits, lambda: missing(self.job.resources, self.usable_nodes()), self.clerk.tell, self.control.abort
        )
        callback = LoopCallback(self.control, self.slots, watch, draw, self.clerk.checkpointed)
        tune.run(
            tune.with_resources(self.stage.trainable or RunTrainable, partial(gang, self.job.resources)),
            name="tune",
            storage_path=str(self.job.directory / ".ray"),
            config={},
            num_samples=-1,
            search_alg=self.search,
            scheduler=SweepScheduler(self.control, self.breaker),
            callbacks=[callback, MetricsCallback(self.job.sweep_name, self.moment), self.stage.mirror],
            stop=StopWhenCheckpointed(callback),
            reuse_actors=True,
            raise_on_failed_trial=False,
            verbose=0,
            trial_name_creator=run_id_of,
            trial_dirname_creator=run_id_of,
        )

    def moment(self) -> Moment:
        """What the gauges show."""
        has_gpus = self.job.resources.gpus_per_worker > 0
        dollars_per_second = (self.job.budget.hourly_cost or 0.0) / 3600.0
        return Moment(
            self.board.runs(),
            self.slots.now,
            self.spending.best,
            self.stock.suggest_seconds,
            dollars_per_second,
            has_gpus,
        )

    def say(self, text: str) -> None:
        """Tell the person at the terminal."""
        say(text, self.stage.console)

    def table_style(self) -> TableStyle:
        spec = self.job.sweep
        clock = cost_clock(spec.cost, self.job.resources.gpus_per_worker)
        return TableStyle(
            params=spec.phases[0].space.names,
            show_phase=len(spec.phases) > 1,
            cost_label=f"{clock.split('_', maxsplit=1)[0]} s",
        )

    def ending(self, wall_seconds: float, random_score: tuple[float, float | None] | None) -> Ending:
        """Reason and exit code, from what the control and the registry say."""
        verdict = self.control.draining or Verdict("no more runs", is_cap=False)
        num_failed = len(self.registry.runs(self.job.sweep_name, states=[RunState.FAILED]))
        code = (
            EXIT_INTERRUPTED
            if self.control.interrupted_by_user
            else EXIT_CAP
            if verdict.is_cap
            else EXIT_WITH_FAILURES
            if num_failed
            else 0
        )
        return Ending(verdict.reason, code, wall_seconds, num_failed, random_score)


def run_id_of(trial: Any) -> str:
    """Trial and directory carry the run's name."""
    return str(trial.config["run"]["id"]) if "run" in trial.config else str(trial.trial_id)


def make_directory(job: SweepJob, console: Console) -> None:
    """The sweep's directory, for whom `share_files` says; what earlier versions left open to others is closed."""
    job.directory.mkdir(parents=True, exist_ok=True)
    allot(job.directory.parent, job.umask, below=False)
    if allot(job.directory, job.umask):
        who = "you" if job.umask == PRIVATE else "you and the directory's group"
        console.print(
            f"note: {job.directory}: its files are for {who} now (share_files)",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def write_sweep_files(job: SweepJob) -> None:
    """`config.yaml`: what defines this sweep, for people and scripts."""
    write_yaml(job.directory / "config.yaml", yaml.safe_load(job.spec_yaml))


def say(text: str, console: Console) -> None:
    """One line, as it is."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def say_start(job: SweepJob, cluster: Cluster, console: Console) -> None:
    """Where it runs, where its files are, where to look."""
    where = "this machine" if cluster.own else f"{len(cluster.nodes.living())} node(s)"
    console.print(f"sweep {job.sweep_name} on {where}; files in {job.directory}", highlight=False, soft_wrap=True)
    if cluster.dashboard_url:
        token = f" (it asks for the token in {cluster.own.token_path})" if cluster.own else ""
        console.print(f"Ray dashboard: {cluster.dashboard_url}{token}", highlight=False, soft_wrap=True)
