"""One run, fully specified: the plain mapping that a configuration resolves to becomes frozen data, and every problem
is reported at once.

Needs neither torch nor a simulator, so that a command can check a configuration without delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any

from trainables.environments.catalog import Family, env_option_types, share_observations
from trainables.environments.curriculum import Curriculum, resolve_curriculum
from trainables.errors import Problem, SpecError
from trainables.fields import Count, Table, Text, Texts, build, in_range, known_keys, nearest, one_of
from trainables.kinds import KINDS, TrainableKind, kind_of
from trainables.plugins import plugin_problems
from trainables.ppo.config import ModelConfig, TrainerConfig, divisibility_problems, gpu_problems
from trainables.programs import TrainableConfig, parameters_of, program_problems
from trainables.resources import Resources, resource_problems
from trainables.simulation.aggregate import custom_names
from trainables.simulation.aggregate import metric_names as suite_metric_names
from trainables.simulation.config import Suite, SuiteConfig, misfit_problems, resolve_suite

# What is said of a metric that no suite reports
UNREPORTED = " is not reported by this suite; use reward, {suite}/{simulation}/reward or a counter such as heart.gained"


def is_name(run: str) -> bool:
    """Whether a run's name can name its directory."""
    return bool(run) and "/" not in run and run not in (".", "..")


@dataclass(frozen=True, slots=True)
class _Sections:
    """The top level of the mapping."""

    run: Annotated[Text, in_range("a name without '/'", is_name)] = "run"
    seed: Count = 0
    device: Annotated[str, one_of("auto", "cpu", "cuda")] = "auto"
    code_version: Text = ""
    metric: Text = "reward"
    trainable: TrainableConfig = field(default_factory=TrainableConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    env: Table = field(default_factory=dict)
    sim: SuiteConfig = field(default_factory=SuiteConfig)
    resources: Resources = field(default_factory=Resources)
    suggestion: Table = field(default_factory=dict)
    plugins: Texts = ()


# Keys that a run without PPO has
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
        plugins: modules that every process of the run imports first.
        mapping: the configuration that it was read from; it says whose a directory or a checkpoint is.
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
    resources: Resources
    parameters: Mapping[str, Any]
    plugins: tuple[str, ...] = ()
    mapping: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

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
        problems: list[Problem] = []
        problems += plugin_problems(mapping.get("plugins"))
        kind = kind_of(mapping)
        own = mapping if kind.plays_suite else {name: mapping[name] for name in _OF_PROGRAMS if name in mapping}
        sections = build(_Sections, own, "", problems, cls.known_keys())
        parameters = parameters_of(sections.trainable, sections.suggestion)
        problems += _section_problems(sections) + program_problems(sections.trainable, parameters)
        problems += kind.problems(sections.trainable, parameters)
        if strict and kind.plays_suite:
            problems += divisibility_problems(sections.trainer, max(1, sections.resources.world_size))
        curriculum = resolve_curriculum(sections.trainer.curriculum, sections.env, problems)
        suite = (
            resolve_suite(sections.sim, curriculum.paths, sections.env, problems) if curriculum is not None else None
        )
        if curriculum is None or suite is None or problems:
            raise SpecError(*problems)
        if kind.plays_suite and (misfits := misfit_problems(curriculum.paths, curriculum.family, suite)):
            raise SpecError(*misfits)
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
            plugins=sections.plugins,
            mapping=mapping,
        )
        names = metric_names(spec)
        if spec.metric in names:
            return spec
        added = custom_names(spec.suite) if kind.plays_suite else ()
        if added is not None and spec.metric not in added:
            raise SpecError(
                Problem("metric", f"unknown {spec.metric!r}{nearest(spec.metric, (*names, *added)) or UNREPORTED}")
            )
        return spec

    def load_plugins(self) -> None:
        """For a process that got the specification from another one.

        Raises:
            SpecError: one cannot be imported here.
        """
        if problems := plugin_problems(self.plugins):
            raise SpecError(*problems)

    @property
    def kind(self) -> TrainableKind:
        """What `trainable.kind` means."""
        return KINDS[self.trainable.kind]

    @property
    def environment(self) -> Family:
        """What is trained on, without the order in which tasks are played."""
        return self.curriculum.family

    @staticmethod
    @cache
    def known_keys() -> dict[str, Any]:
        """Dotted key of every setting with its type, those of MettaGrid tasks under `env.` included."""
        keys = known_keys(_Sections)
        del keys["env"], keys["suggestion"]
        return keys | {f"env.{name}": hint for name, hint in env_option_types().items()}


def spec_of_point(mapping: Mapping[str, Any]) -> RunSpec | SpecError:
    """The run of a point that a search proposed. What is wrong with it is no error of its driver: its trial tells it,
    and the run fails as the point's own fault.
    """
    try:
        return RunSpec.from_mapping(mapping, strict=False)
    except SpecError as error:
        return error


def metric_names(spec: RunSpec) -> tuple[str, ...]:
    """Everything that the run can report as its score, but for what custom metrics add."""
    if not spec.kind.plays_suite:
        return tuple(dict.fromkeys(("score", "reward", *spec.trainable.metrics)))
    return suite_metric_names(spec.suite)


def _section_problems(sections: _Sections) -> list[Problem]:
    on_gpu = sections.device == "cuda" or (sections.device == "auto" and sections.resources.gpus_per_worker > 0)
    problems = gpu_problems(sections.trainer, on_gpu) + resource_problems(sections.resources, sections.device)
    if (kind := sections.trainable.kind) not in KINDS:
        problems.append(Problem("trainable.kind", f"unknown value {kind!r}{nearest(kind, KINDS)}"))
    return problems
