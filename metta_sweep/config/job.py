"""The validated, frozen configuration of one sweep; below this nobody sees a `DictConfig` or the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from metta_sweep.config.environment import MODES
from searchers.config import ProteinConfig
from searchers.membership import foreign
from searchers.space import Space
from trainables.disk import PRIVATE
from trainables.fields import Amount, Count, Flag, Limit, Number, Text, Texts, Whole, at_least, in_range, one_of
from trainables.resources import Resources
from trainables.spec import RunSpec

AUTO = "auto"  # of `sweep.memory`: the earlier sweeps that are most alike
MAX_NAMED = 20  # earlier sweeps that a list may name: each is fitted once per phase; a round number, not tuned
CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def memory_of(value: object) -> str | tuple[str, ...]:
    """`sweep.memory`: auto, or names of sweeps."""
    if value == AUTO:
        return AUTO
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("need auto, or a list of names of earlier sweeps ([] for none)")
    names = tuple(dict.fromkeys(value))
    if len(names) > MAX_NAMED:
        raise ValueError(f"need at most {MAX_NAMED} names")
    return names


@dataclass(frozen=True, slots=True)
class Settings:
    """How the sweep is driven.

    Attributes:
        max_consecutive_failures: runs that may fail in a row, in completion order; one more ends it; 0 = unlimited.
        max_infrastructure_failures: how often in a row a run may lose its workers, node or trial driver; likewise.
        infrastructure_retry_delay: seconds before a lost run starts again; doubles each time that it is lost, up to a
            minute.
        max_fast_losses: runs that a node may lose in a row soon after their start before it takes no more; 0 =
            unlimited.
        fast_loss_seconds: how long after its start a lost run counts as one of them.
        placement_warning_seconds: how long a run may wait for its placement group; then what is missing is reported.
        placement_timeout_seconds: how long, while nothing runs, before the sweep gives up; 0 = never.
        rollout_retry_delay: seconds before the slot of a failed run is used again; no other slot waits.
        max_observations_to_load: runs that come in from WandB at most, newest first; a sweep learns from all its own.
        sweep_server_uri: registry service (`http(s)://`); None = SQLite under `data_dir`.
        code: directory shipped to a remote cluster with the runs; None = nothing is shipped.
        lease_seconds: a run whose driver is silent this long may be taken over by another.
        heartbeat_seconds: how often a live driver extends its leases.
    """

    max_consecutive_failures: Count = 3
    max_infrastructure_failures: Count = 20
    infrastructure_retry_delay: Amount = 1.0
    max_fast_losses: Count = 3
    fast_loss_seconds: Amount = 120.0
    placement_warning_seconds: Amount = 60.0
    placement_timeout_seconds: Amount = 1800.0
    rollout_retry_delay: Amount = 5.0
    max_observations_to_load: Count = 250
    sweep_server_uri: Text | None = None
    code: Text | None = None
    lease_seconds: Amount = 300.0
    heartbeat_seconds: Amount = 30.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine lends to the sweep (`NUM_CPUS`, `NUM_GPUS`, or as detected); a local Ray is started with it."""

    num_cpus: int = 1
    num_gpus: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """When money or time ends the sweep; None = no limit.

    Attributes:
        gpu_hours: GPU-hours over all attempts.
        dollars: money over all attempts; needs `hourly_cost`.
        hourly_cost: dollars per GPU-hour; per slot-hour when runs have no GPU.
        wall_clock: seconds since the sweep was first started.
    """

    gpu_hours: Limit = None
    dollars: Limit = None
    hourly_cost: Limit = None
    wall_clock: Limit = None


@dataclass(frozen=True, slots=True)
class WandbSettings:
    """Where the mirror writes.

    Attributes:
        mode: auto (online with a key, else offline), online, offline or off.
        entity: team or user; "" = the key's default.
        project: name of the project.
        tags: of all runs.
    """

    mode: Annotated[str, one_of(*MODES, wrong="unknown mode {}")] = "auto"
    entity: Text = ""
    project: Text = "metta"
    tags: Texts = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the schedule, merged with the sweep's own settings and validated.

    Attributes:
        name: shown in tables, WandB and files; "" when the sweep has no schedule.
        first_number: run number at which it begins.
        num_runs: how many runs it lasts; None for the last, which goes on until a stop rule.
        auto: raise the training-length cap only while the top ranks are unstable.
    """

    name: str
    first_number: int
    num_runs: int | None
    space: Space
    protein: ProteinConfig
    auto: bool = False


@dataclass(frozen=True, slots=True)
class SweepKeys:
    """What is searched, how, and for how long: the scalar keys of the `sweep` block.

    Attributes:
        metric: name of the score in the suite's report.
        goal: "maximize" or "minimize".
        method: bayes, random, sobol or grid.
        num_samples: runs of the whole sweep, failed ones included; None = endless.
        target_score: the sweep ends when the incumbent is at least this good; None = never.
        cost: "auto", "wall", "cpu" or "gpu": the clock of the optimiser's cost.
        early_stopping: whether `advise` may stop runs.
        searcher: "package.Class" of a user's own searcher; None = Protein.
        memory: earlier sweeps to learn from: auto (the most alike of the same registry), or their names; decided when
            the sweep is first started.
    """

    metric: Text = "reward"
    goal: Annotated[str, one_of("maximize", "minimize", wrong="unknown goal {}")] = "maximize"
    method: Annotated[str, one_of("bayes", "random", "sobol", "grid", wrong="unknown method {}")] = "bayes"
    num_samples: Annotated[Whole, at_least(1, ", got {}; leave it out for an endless sweep")] | None = None
    target_score: Number | None = None
    cost: Annotated[str, one_of("auto", "wall", "cpu", "gpu", wrong="unknown cost {}")] = "auto"
    early_stopping: Flag = False
    searcher: Annotated[Text, in_range("package.Class", CLASS.fullmatch)] | None = None
    memory: Annotated[str | tuple[str, ...], PlainValidator(memory_of)] = AUTO

    @property
    def learns(self) -> bool:
        """Whether an observation changes later suggestions; a drawn or listed point need not be drawn again."""
        return self.searcher is not None or self.method == "bayes"

    @property
    def remembers(self) -> bool:
        """Whether earlier sweeps can teach it anything: they can teach Protein."""
        return self.searcher is None and self.method == "bayes"


@dataclass(frozen=True, slots=True)
class Remembered:
    """An earlier sweep that a sweep learns from, as its specification says.

    Attributes:
        sweep: its name.
        id: its own, for another of the same name is another sweep.
        observations: how many of its results.
        until: sequence number of the last of them.
    """

    sweep: str
    id: str
    observations: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec(SweepKeys):
    """The `sweep` block, read.

    Attributes:
        phases: at least one.
        fixed: swept parameters that the command line fixed, with their values.
        remembered: what it learns from, as its specification says; nothing before it was first started.
    """

    phases: tuple[Phase, ...]
    fixed: Mapping[str, Any]
    remembered: tuple[Remembered, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainTemplate:
    """The unresolved configuration of a run; `metta_sweep.config.runs.resolve_run` turns it into a run's plain mapping.

    Attributes:
        spaces: search space of each phase; a point that lies in none of them is no point of this sweep.
    """

    tree_yaml: str
    spaces: tuple[Space, ...]

    def foreign(self, params: Mapping[str, Any]) -> list[str]:
        """Why a point lies in none of the spaces, one line for each name; empty when it lies in one."""
        return min((foreign(space.parameters, space.fixed, params) for space in self.spaces), key=len)


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Everything that `train` and `evaluate` need.

    Attributes:
        run: name of the run; its files go to `{data_dir}/{run}`.
        data_dir: absolute directory.
        umask: what others may not do with the files, by `share_files`.
        notes: lines to show before the start, such as a key of a file that another file replaces.
    """

    run: str
    data_dir: Path
    spec: RunSpec
    resources: Resources
    wandb: WandbSettings
    machine: Machine = Machine()
    umask: int = PRIVATE
    notes: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        return self.data_dir / self.run

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved plain mapping of the run."""
        return self.spec.mapping


@dataclass(frozen=True, slots=True)
class SweepJob:
    """Everything that `run` needs.

    Attributes:
        sweep_name: names runs, directories and the WandB group.
        data_dir: absolute directory that holds registry and runs.
        seed: seed of the optimiser and base of the runs' seeds.
        device: cpu or cuda, as resolved for this hardware.
        spec_yaml: resolved text that defines the sweep; two drivers of one sweep must agree on it.
        notes: lines to show before the start, such as a swept parameter that the command line fixed.
        umask: what others may not do with the files, by `share_files`.
    """

    sweep_name: str
    data_dir: Path
    seed: int
    device: str
    sweep: SweepSpec
    settings: Settings
    resources: Resources
    budget: Budget
    wandb: WandbSettings
    train: TrainTemplate
    spec_yaml: str
    notes: tuple[str, ...] = ()
    machine: Machine = Machine()
    umask: int = PRIVATE

    @property
    def directory(self) -> Path:
        return self.data_dir / "sweep" / self.sweep_name

    def run_directory(self, run_id: str) -> Path:
        return self.directory / "runs" / run_id
