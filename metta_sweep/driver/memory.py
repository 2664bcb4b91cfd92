"""What a sweep learns from: earlier sweeps of its registry, chosen when it is first started, read whenever it goes on.

The choice stands in the sweep's specification, with how many results of each it takes: what those sweeps do later
changes nothing, and a replay gives the same suggestions.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from metta_sweep.config import tree as trees
from metta_sweep.config.job import AUTO, Remembered, SweepJob, SweepSpec
from metta_sweep.config.spec_text import memory_in, with_memory
from metta_sweep.errors import ConfigError, SpecChanged, UnknownSweep, UnreadableSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.observations import to_searcher
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.registry.records import ObservationRecord, SweepRecord
from metta_sweep.registry.specs import Room, parse_spec, rooms
from searchers import EarlierSweep, Observation, ParamValue, Space
from searchers.distributions import Parameter
from searchers.features import DEFAULT_FIDELITY
from trainables.errors import Problem
from trainables.fields import nearest
from trainables.kinds import kind_of

logger = logging.getLogger(__name__)

MOST = 5  # earlier sweeps that auto takes
LEAST_OVERLAP = 0.5  # of the searched parameters; with less they are hardly the same search
LEAST_SCORED = 4  # runs with a score: fewer fit no model
MOST_SPECS = 100  # newest plausible specifications that are read closely: some 5 ms each; a round number, not tuned
MOST_READ = 20  # candidates whose results are read before auto takes what it has; a round number, not tuned
# What a program is trained on; `program` holds the trainable itself
TRAINED_ON = ("env", "sim", "trainer.curriculum", "trainable.parameters")
KEY = "sweep.memory"  # as messages name it


@dataclass(frozen=True, slots=True)
class PastSweep:
    """An earlier sweep as it was read.

    Attributes:
        observations: with the values that were fixed there and are searched in the new sweep.
        searched: its free parameters, of all phases.
    """

    name: str
    observations: tuple[Observation, ...]
    searched: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """All that a sweep learns from.

    Attributes:
        values: what its own runs hold of parameters that it does not search, by dotted path.
        lost: why a sweep of its specification teaches nothing any more, one line each.
    """

    sweeps: tuple[PastSweep, ...] = ()
    values: Mapping[str, ParamValue] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    def towards(self, space: Space) -> tuple[EarlierSweep, ...]:
        """As the optimiser of a phase with this space takes it."""
        held = {**self.values, **space.fixed}
        return tuple(
            EarlierSweep(
                sweep.observations,
                tuple(one for one in sweep.searched if one.name not in space.names),
                {name: value for name, value in held.items() if name not in space.names},
                sweep.name,
            )
            for sweep in self.sweeps
        )


NOTHING = Past()  # of a sweep that learns from none


def register(job: SweepJob, registry: Registry, *, update: bool) -> SweepJob:
    """Make the sweep, or go on with it. Returns the job with what it learns from, as the registry holds it now.

    Raises:
        ConfigError: `sweep.memory` names what cannot be learned from.
        SpecChanged: the sweep exists with another specification and `update` is false.
    """
    mirror = {"wandb_entity": job.wandb.entity, "wandb_project": job.wandb.project}
    ready = decided(job, registry)
    try:
        registry.create_sweep(job.sweep_name, ready.spec_yaml, **mirror, update=update)
    except SpecChanged:
        again = decided(job, registry)  # another driver may have been first, and have decided
        if again.spec_yaml == ready.spec_yaml:
            raise
        ready = again
        registry.create_sweep(job.sweep_name, ready.spec_yaml, **mirror, update=update)
    return ready


def decided(job: SweepJob, reader: Reader) -> SweepJob:
    """The job with what it learns from: as it was decided when the sweep was first started, or now.

    Raises:
        ConfigError: `sweep.memory` names what cannot be learned from.
    """
    wish = job.sweep.memory
    try:
        registered = reader.get_sweep(job.sweep_name).spec_yaml
    except UnknownSweep:
        registered = ""
    try:
        with readable(job.sweep_name):
            stored = memory_in(registered)
    except UnreadableSweep:
        stored = ()  # somebody planted something, which is another specification
    if registered and wish in (AUTO, tuple(one.sweep for one in stored)):
        remembered = stored
    elif not wish or not job.sweep.remembers:
        remembered = ()
    else:
        records = [one for one in reader.list_sweeps() if one.name != job.sweep_name]
        remembered = most_alike(job, reader, records) if wish == AUTO else named(job, reader, records)
    sweep = replace(job.sweep, remembered=remembered)
    return replace(job, sweep=sweep, spec_yaml=with_memory(job.spec_yaml, remembered))


def named(job: SweepJob, reader: Reader, records: Sequence[SweepRecord]) -> tuple[Remembered, ...]:
    """The sweeps that the user names. Raises `ConfigError`, with everything that is wrong."""
    known, problems, found = {one.name: one for one in records}, list[Problem](), list[Remembered]()
    profile = Profile.of(parse_spec(job.spec_yaml))
    for name in job.sweep.memory:
        record = known.get(name)
        problem = "" if record is None else unfit(profile, record)
        if record is None:
            there = nearest(name, known) or f"; there are {len(known)} others; `status` lists them"
            problem = "a sweep does not learn from itself" if name == job.sweep_name else f"no such sweep here{there}"
        elif not problem:
            observations = reader.observations(name)
            if num_scored(observations) < LEAST_SCORED:
                problem = f"need at least {LEAST_SCORED} runs with a score, it has {num_scored(observations)}"
            else:
                found.append(remembered_as(record, observations))
        problems += [Problem(KEY, f"{name!r}: {problem}")] if problem else []
    if problems:
        raise ConfigError(*problems)
    return tuple(found)


def unfit(profile: Profile, record: SweepRecord) -> str:
    """Why a sweep that the user names cannot teach anything; "" when it can."""
    try:
        with readable(record.name):
            other = Profile.of(parse_spec(record.spec_yaml)) if record.spec_yaml else None
            rooms(record.spec_yaml)
    except UnreadableSweep as error:
        return f"it cannot be read: {error.reason}"
    if other is None:
        return "no driver has described it yet"
    if other.goal != profile.goal:
        return f"its goal is {other.goal}, this one's {profile.goal}"
    return "" if overlap(profile, other) > 0 else "it searched none of the parameters that are searched here"


def most_alike(job: SweepJob, reader: Reader, records: Sequence[SweepRecord]) -> tuple[Remembered, ...]:
    """What auto takes: the most alike first, the newer of equals. Results are read of the best candidates only."""
    profile = Profile.of(parse_spec(job.spec_yaml))
    found: list[Remembered] = []
    for record in candidates(profile, records)[:MOST_READ]:
        try:
            with readable(record.name):
                rooms(record.spec_yaml)
                observations = reader.observations(record.name)
        except (UnreadableSweep, UnknownSweep) as error:
            logger.warning("nothing is learned from sweep %s: %s", record.name, error)
            continue
        if num_scored(observations) >= LEAST_SCORED:
            found.append(remembered_as(record, observations))
        if len(found) == MOST:
            break
    return tuple(found)


def candidates(profile: Profile, records: Sequence[SweepRecord]) -> list[SweepRecord]:
    """Sweeps that auto may take, by their specifications alone."""
    newest = sorted(records, key=lambda one: (-one.created_at, one.name))
    plausible = [one for one in newest if profile.may_be_like(one.spec_yaml)][:MOST_SPECS]
    rated: list[tuple[float, SweepRecord]] = []
    for record in plausible:
        try:
            with readable(record.name):
                other = Profile.of(parse_spec(record.spec_yaml))
        except UnreadableSweep as error:
            logger.warning("%s", error)
            continue
        if (other.goal, other.program) == (profile.goal, profile.program) and overlap(profile, other) >= LEAST_OVERLAP:
            rated.append((likeness(profile, other), record))
    return [record for _, record in sorted(rated, key=lambda one: -one[0])]


@dataclass(frozen=True, slots=True)
class Profile:
    """What tells sweeps apart in their specifications.

    Attributes:
        program: what is trained: our own training, a program, a function.
        task: what it is trained on.
        searched: by dotted path, whether each searched parameter is a choice.
    """

    goal: str
    metric: str
    program: tuple[str, ...]
    task: tuple[Any, ...]
    searched: Mapping[str, bool]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Profile:
        train: Mapping[str, Any] = spec.get("train") or {}
        leaves = [leaf for phase in spec.get("phases") or () for leaf in phase["parameters"].items()]
        searched = {str(name): "choices" in leaf for name, leaf in leaves if "value" not in leaf}
        task = tuple(trees.get(train, trees.split(key)) for key in TRAINED_ON)
        return cls(str(spec.get("goal")), str(spec.get("metric")), program_of(train), task, searched)

    def may_be_like(self, spec_yaml: str) -> bool:
        """Whether a specification is worth reading: its text names the goal and half of the parameters."""
        count = sum(f"{name}:" in spec_yaml for name in self.searched)
        return f"\ngoal: {self.goal}\n" in spec_yaml and count >= LEAST_OVERLAP * len(self.searched)


def program_of(train: Mapping[str, Any]) -> tuple[str, ...]:
    """What is trained: the script, module or function; its arguments belong to the task."""
    trainable = trees.get(train, ("trainable",)) or {}
    kind = str(trainable.get("kind", "ppo"))
    if "command" not in trainable:
        return (kind, str(trainable.get("function", "")))
    command = str(trainable["command"])
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    modules = [after for before, after in pairwise(words) if before == "-m"]
    scripts = [word for word in words if word.endswith((".py", ".sh"))]
    return (kind, next(iter([*modules, *scripts, *words]), ""))


def overlap(one: Profile, other: Profile) -> float:
    """Share of the larger search's parameters that both search, as the same kind of value."""
    both = sum(other.searched.get(name) == is_choice for name, is_choice in one.searched.items())
    return both / max(len(one.searched), len(other.searched), 1)


def likeness(one: Profile, other: Profile) -> float:
    """From 0 to 3: same parameters, same task and same metric count alike; not tuned."""
    same_task: float = sum(mine == theirs for mine, theirs in zip(one.task, other.task, strict=True)) / len(TRAINED_ON)
    return overlap(one, other) + same_task + float(one.metric == other.metric)


def num_scored(observations: Sequence[ObservationRecord]) -> int:
    return sum(record.observation.score is not None for record in observations)


def remembered_as(record: SweepRecord, observations: Sequence[ObservationRecord]) -> Remembered:
    return Remembered(record.name, record.id, len(observations), observations[-1].sequence)


def read_past(reader: Reader, sweep: SweepSpec, spec_yaml: str) -> Past:
    """Everything that the sweep learns from, as its specification says.

    One that was removed, made anew or damaged meanwhile teaches nothing: the sweep goes on without it, and says so.
    """
    if not sweep.remembered or not sweep.remembers:
        return NOTHING
    spec, found, lost = parse_spec(spec_yaml), list[PastSweep](), list[str]()
    lengths = {phase.protein.fidelity or DEFAULT_FIDELITY for phase in sweep.phases}
    names = lengths.union(*(phase.space.names for phase in sweep.phases))
    for one in sweep.remembered:
        try:
            found.append(read_sweep(reader, one, names))
        except (UnknownSweep, UnreadableSweep) as error:
            lost.append(f"nothing is learned from sweep {one.sweep} any more: {error}")
    further = names.union(*((parameter.name for parameter in past.searched) for past in found))
    return Past(tuple(found), fixed_values(spec, (), further), tuple(lost))


def read_sweep(reader: Reader, one: Remembered, names: set[str]) -> PastSweep:
    """One earlier sweep, whose runs get their fixed values of these parameters.

    Raises `UnknownSweep`, `UnreadableSweep`.
    """
    record = reader.get_sweep(one.sweep)
    if record.id != one.id:
        raise UnknownSweep(f"sweep_name={one.sweep!r}: removed, and made anew")
    with readable(one.sweep):
        known, spec = rooms(record.spec_yaml), parse_spec(record.spec_yaml)
        fixed = {room.phase: fixed_values(spec, (room,), names) for room in known}
        records = [each for each in reader.observations(one.sweep) if each.sequence <= one.until]
        observations = tuple(
            replace(observation, params={**fixed.get(phase, {}), **observation.params})
            for phase, observation in usable(records)
        )
    searched = {parameter.name: parameter for room in known for parameter in room.parameters}
    return PastSweep(one.sweep, observations, tuple(searched.values()))


def usable(records: Sequence[ObservationRecord]) -> Iterator[tuple[str, Observation]]:
    """(phase, result) of each that says something to an optimiser."""
    for record in records:
        try:
            yield record.phase, to_searcher(record)
        except (TypeError, ValueError) as error:
            logger.warning("result %d of %s is ignored: %s", record.sequence, record.run_id, error)


def fixed_values(spec: Mapping[str, Any], phase: Sequence[Room], names: set[str]) -> dict[str, ParamValue]:
    """Values that all runs (of a phase) of a sweep have, of these names; what is searched there has none."""
    train: Mapping[str, Any] = spec.get("train") or {}
    parameters: Mapping[str, Any] = trees.get(train, ("trainable", "parameters")) or {}
    sections = train if kind_of(train).plays_suite else {}  # a program does not read them
    places = [spec.get("fixed") or {}, *(room.fixed for room in phase), parameters]
    searched = {parameter.name for room in phase for parameter in room.parameters}
    found: dict[str, ParamValue] = {}
    for name in sorted(names - searched):
        told = (place[name] for place in places if name in place)
        path = trees.split(name)
        value = next(told, trees.get(parameters, path, trees.get(sections, path)))
        found |= {name: value} if isinstance(value, int | float | str | bool) else {}
    return found
