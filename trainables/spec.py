"""One run, fully specified: the plain mapping that a configuration resolves to becomes frozen data, and every problem
is reported at once.

Needs neither torch nor a simulator, so that a command can check a configuration without delay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trainables.environments.catalog import Family, env_option_types, share_observations
from trainables.environments.curriculum import Curriculum, resolve_curriculum
from trainables.errors import SpecError
from trainables.fields import build, known_keys, nearest
from trainables.plugins import import_plugins
from trainables.ppo.config import ModelConfig, TrainerConfig, divisibility_problems, gpu_problems, value_problems
from trainables.programs import TrainableConfig, parameters_of, program_problems
from trainables.simulation.aggregate import custom_names
from trainables.simulation.aggregate import metric_names as suite_metric_names
from trainables.simulation.config import Suite, SuiteConfig, misfit_problems, resolve_suite

KINDS = ("ppo", "command", "function")
DEVICES = ("auto", "cpu", "cuda")
LABEL = re.compile(r"[\w./-]+=[\w.-]+")


def labels_of(node_labels: Sequence[str]) -> dict[str, str]:
    """`resources.node_labels` by name."""
    return dict(label.split("=", 1) for label in node_labels)


@dataclass(frozen=True, slots=True)
class ResourcesConfig:
    """What a run is given.

    Attributes:
        world_size: ranks of `torch.distributed`.
        gpus_per_worker: GPUs of a rank; fractions only at world size 1.
        cpus_per_worker: CPU cores of a rank.
        strategy: PACK, STRICT_PACK, SPREAD or STRICT_SPREAD.
        node_labels: `name=value` each; every rank runs on nodes with all of these labels only.
        max_concurrent_runs: read by the driver of a sweep.
        max_restarts: how often a run goes on from its last checkpoint after a worker was lost, before it fails.
        collective_timeout_seconds: a rank that keeps the others waiting longer than this is given up.
        stall_seconds: our own training is given up when it makes no update for so long, evaluation when no episode
            ends; programs may be silent as long as they like.
    """

    world_size: int = 1
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0
    strategy: str = "PACK"
    node_labels: tuple[str, ...] = ()
    max_concurrent_runs: int | None = None
    max_restarts: int = 2
    collective_timeout_seconds: float = 45.0
    stall_seconds: float = 1800.0


@dataclass(frozen=True, slots=True)
class _Sections:
    """The top level of the mapping."""

    run: str = "run"
    seed: int = 0
    device: str = "auto"
    code_version: str = ""
    metric: str = "reward"
    trainable: TrainableConfig = field(default_factory=TrainableConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    env: Mapping[str, Any] = field(default_factory=dict)
    sim: SuiteConfig = field(default_factory=SuiteConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    suggestion: Mapping[str, Any] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()


_OF_PROGRAMS = ("plugins", "run", "seed", "device", "code_version", "metric", "trainable", "resources", "suggestion")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run. For a command or a function, everything from `trainer` to `suite` is left at its default and unused.

    Attributes:
        run: id of the run.
        seed: of everything random in training.
        device: auto, cpu or cuda.
        code_version: workers are only reused between runs of the same version.
        metric: name of the score among `metric_names`.
        trainable: what does the training.
        trainer: training settings.
        model: the network.
        curriculum: what is trained on.
        suite: what is evaluated on.
        resources: what the run is given.
        parameters: what a command or function is told, by dotted key.
    """

    run: str
    seed: int
    device: str
    code_version: str
    metric: str
    trainable: TrainableConfig
    trainer: TrainerConfig
    model: ModelConfig
    curriculum: Curriculum
    suite: Suite
    resources: ResourcesConfig
    parameters: Mapping[str, Any]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, strict: bool = True) -> RunSpec:
        """Checked specification of a run.

        Args:
            mapping: resolved configuration; see `known_keys`. With `trainable.kind` command or function, sections that
                are not ours may be in it; what the program is told is `trainable.parameters`, and on top `suggestion`,
                the searched values by dotted path.
            strict: True refuses batch sizes that do not divide evenly, as a person's mistake; False leaves them to be
                rounded by the rules of `trainables.ppo.plan`, as for a point that a search proposed.

        Raises:
            SpecError: with every problem.
        """
        problems: list[str] = []
        is_program = _kind(mapping) != "ppo"
        sections = build(
            _Sections, {k: v for k, v in mapping.items() if k in _OF_PROGRAMS} if is_program else mapping, "", problems
        )
        problems += import_plugins(sections.plugins)
        parameters = parameters_of(sections.trainable, sections.suggestion)
        problems += _section_problems(sections) + program_problems(sections.trainable, parameters)
        if strict and not is_program:
            problems += divisibility_problems(sections.trainer, max(1, sections.resources.world_size))
        curriculum = resolve_curriculum(sections.trainer.curriculum, sections.env, problems)
        suite = (
            resolve_suite(sections.sim, curriculum.paths, sections.env, problems) if curriculum is not None else None
        )
        if curriculum is None or suite is None or problems:
            raise SpecError(tuple(problems))
        if not is_program and (misfits := misfit_problems(curriculum.paths, curriculum.family, suite)):
            raise SpecError(tuple(misfits))
        environment, families = share_observations(curriculum.family, [sim.family for sim in suite.simulations])
        suite = replace(
            suite, simulations=tuple(replace(s, family=f) for s, f in zip(suite.simulations, families, strict=True))
        )
        spec = cls(
            run=sections.run,
            seed=sections.seed,
            device=sections.device,
            code_version=sections.code_version,
            metric=sections.metric,
            trainable=sections.trainable,
            trainer=sections.trainer,
            model=sections.model,
            curriculum=replace(curriculum, family=environment),
            suite=suite,
            resources=sections.resources,
            parameters=parameters,
        )
        names = metric_names(spec)
        if spec.metric in names:
            return spec
        added = custom_names(spec.suite) if not is_program else ()
        if added is not None and spec.metric not in added:
            raise SpecError((f"metric: unknown {spec.metric!r}{nearest(spec.metric, (*names, *added))}",))
        return spec

    @property
    def environment(self) -> Family:
        """What is trained on, without the order in which tasks are played."""
        return self.curriculum.family

    @staticmethod
    def known_keys() -> dict[str, Any]:
        """Dotted key of every setting with its type, those of MettaGrid tasks under `env.` included."""
        keys = known_keys(_Sections)
        del keys["env"], keys["suggestion"]
        return keys | {f"env.{name}": hint for name, hint in env_option_types().items()}


def metric_names(spec: RunSpec) -> tuple[str, ...]:
    """Everything that the run can report as its score, but for what custom metrics add."""
    if spec.trainable.kind != "ppo":
        return tuple(dict.fromkeys(("score", "reward", *spec.trainable.metrics)))
    return suite_metric_names(spec.suite)


def _kind(mapping: Mapping[str, Any]) -> str:
    trainable = mapping.get("trainable")
    return str(trainable.get("kind", "ppo")) if isinstance(trainable, Mapping) else "ppo"


def _section_problems(sections: _Sections) -> list[str]:
    on_gpu = sections.device == "cuda" or (sections.device == "auto" and sections.resources.gpus_per_worker > 0)
    problems = value_problems(sections.trainer, sections.model) + gpu_problems(sections.trainer, on_gpu)
    for key, value, choices in (
        ("trainable.kind", sections.trainable.kind, KINDS),
        ("device", sections.device, DEVICES),
    ):
        if value not in choices:
            problems.append(f"{key}: unknown value {value!r}{nearest(value, choices)}")
    if sections.seed < 0:
        problems.append(f"seed: need at least 0, got {sections.seed}")
    if not sections.run or "/" in sections.run or sections.run in (".", ".."):
        problems.append(f"run: need a name without '/', got {sections.run!r}")
    return problems + _resource_problems(sections.resources, sections.device)


def _resource_problems(resources: ResourcesConfig, device: str) -> list[str]:
    problems = []
    if resources.world_size < 1:
        problems.append(f"resources.world_size: need at least 1, got {resources.world_size}")
    if resources.strategy not in (choices := ("PACK", "STRICT_PACK", "SPREAD", "STRICT_SPREAD")):
        problems.append(
            f"resources.strategy: unknown value {resources.strategy!r}{nearest(resources.strategy, choices)}"
        )
    problems += [
        f"resources.node_labels: need name=value, got {label!r}"
        for label in resources.node_labels
        if not LABEL.fullmatch(label)
    ]
    gpus = resources.gpus_per_worker
    if gpus < 0 or (gpus != int(gpus) and (resources.world_size > 1 or gpus > 1)):
        problems.append(
            f"resources.gpus_per_worker: need 0, 1, 2, ... or a fraction below 1 at world_size 1, got {gpus}"
        )
    if device == "cuda" and gpus == 0:
        problems.append("device: cuda needs resources.gpus_per_worker above 0; set it, or use device=cpu")
    for name in ("cpus_per_worker", "max_restarts", "collective_timeout_seconds", "stall_seconds"):
        if getattr(resources, name) < 0:
            problems.append(f"resources.{name}: need at least 0, got {getattr(resources, name)}")
    return problems
