"""What the trainable itself would say about a run, asked before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from metta_sweep.config import tree as trees
from metta_sweep.config.job import SweepSpec
from metta_sweep.config.whole import rounded
from searchers.features import DEFAULT_FIDELITY
from searchers.observation import Params
from searchers.space import Space
from trainables.errors import Problem, SpecError
from trainables.fields import nearest
from trainables.kinds import kind_of
from trainables.spec import RunSpec

TOTAL_STEPS = ("trainable", "total_steps")
DRAWN_POINTS = 128  # so many find what 3 of 100 points have


def spec_problems(run: Mapping[str, Any], is_written: bool) -> list[Problem]:
    """What is wrong with a run's resolved mapping: unknown keys, wrong values, a metric that its suite does not report.

    Args:
        is_written: whether a person wrote it; sizes that do not divide are refused then, and rounded in a point that a
            search proposed.
    """
    problems: list[Problem] = []
    read_spec(run, problems, is_written=is_written)
    return problems


def read_spec(run: Mapping[str, Any], problems: list[Problem], *, is_written: bool) -> RunSpec | None:
    """The run; None, with what is wrong added to the problems. Arguments as of `spec_problems`."""
    try:
        return RunSpec.from_mapping(run, strict=is_written)
    except SpecError as error:
        problems += error.keyed
        return None


def parameter_problems(run: Mapping[str, Any], space: Space, inside: str) -> list[Problem]:
    """Searched parameters that no run has, or whose values it does not take.

    Args:
        run: a mapping without problems.
        inside: key of the block that holds `parameters`.
    """
    known = {".".join(path) for path, _ in trees.leaves(run)} | set(RunSpec.known_keys())
    config = space.to_config()
    missing = {name: problem for name in config if (problem := _missing(run, name, known))}
    problems = [Problem(f"{inside}.parameters.{name}", problem) for name, problem in missing.items()]
    for key, values in _extremes({name: leaf for name, leaf in config.items() if name not in missing}):
        point = with_params(run, rounded(values, run) if key in ("min", "max") else values)
        refused = [problem for problem in spec_problems(point, is_written=False) if problem.key in values]
        problems += [Problem(f"{inside}.parameters.{one.key}.{key}", one.text) for one in refused]
    return list(dict.fromkeys(problems or _point_problems(run, space, inside)))


def _point_problems(run: Mapping[str, Any], space: Space, inside: str) -> list[Problem]:
    """What the trainable does not take of points from all over the space; of each key the first that is refused."""
    found: dict[str, str] = {}
    for params in _sample(space):
        for problem in spec_problems(with_params(run, rounded(params, run)), is_written=False):
            near = _near(problem.key, params)
            found.setdefault(problem.key, f"{problem.text}; so with {near}. Narrow the ranges, or add a constraint")
    named = {key: f"{inside}.parameters{f'.{key}' if key in space.names else ''}" for key in found}
    return [Problem(named[key], text if key in space.names else f"{key}: {text}") for key, text in found.items()]


def _sample(space: Space) -> Iterator[Params]:
    """The centre, the ends, and feasible points from all over."""
    yield space.center()
    if not space.dimension:
        return
    ends = np.array([np.full(space.dimension, -1.0), np.full(space.dimension, 1.0)])
    rng = np.random.default_rng(0)
    ratio = 1.0
    for _ in range(30):  # towards ratio ** (d + 1) == ratio + 1
        ratio = (1.0 + ratio) ** (1.0 / (space.dimension + 1))

    def draw(count: int) -> np.ndarray:
        # Multiples of irrational numbers fill the space evenly; importing a Sobol sequence takes longer than all
        # checks together. Source: Roberts 2018, "The unreasonable effectiveness of quasirandom sequences".
        steps = np.arange(count)[:, None] / ratio ** np.arange(1, space.dimension + 1)
        return np.asarray(2 * ((steps + rng.random(space.dimension)) % 1) - 1)

    drawn = space.sample(DRAWN_POINTS, draw)
    for point in np.concatenate([ends[space.feasible(ends)], drawn]):
        yield space.from_unit(point)


def _near(key: str, params: Params) -> str:
    """The values of a point that a key may depend on: those of its own section, or all."""
    section = key.split(".")[0]
    own = {name: value for name, value in params.items() if name.split(".")[0] == section} or params
    return ", ".join(f"{name}={value!r}" for name, value in own.items())


def _missing(run: Mapping[str, Any], name: str, known: Collection[str]) -> str | None:
    """Why no run has a parameter of this name."""
    path = trees.split(name)
    present = trees.get(run, path)
    if isinstance(present, Mapping) and present:
        below = [key for key in known if key.startswith(f"{name}.")]
        return f"names a section of the training configuration, not a value{nearest(name, below)}"
    is_program = not kind_of(run).plays_suite  # knows its own parameters
    is_open = is_program or (path[0] == "env" and len(path) > 1)  # the environment knows its own options
    if present is not None or name in known or is_open:
        return None
    return f"no such parameter in the training configuration{nearest(name, known)}"


def _extremes(config: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Params]]:
    """(key, values by name): all minima at once, all maxima at once, ...; one question to the trainable each."""
    for key in ("min", "max", "value"):
        values = {name: leaf[key] for name, leaf in config.items() if key in leaf}
        if values:
            yield key, values
    choices = {name: leaf["choices"] for name, leaf in config.items() if "choices" in leaf}
    for index in range(max(map(len, choices.values()), default=0)):
        yield "choices", {name: known[index] for name, known in choices.items() if index < len(known)}


def with_params(run: Mapping[str, Any], params: Params) -> trees.Tree:
    """The mapping of a run with a suggestion."""
    point = dict(run)
    for name, value in params.items():
        point = trees.put(point, trees.split(name), value)
    return {**point, "suggestion": {**run["suggestion"], **params}} if "suggestion" in run else point


def length_problems(run: Mapping[str, Any], sweep: SweepSpec) -> list[Problem]:
    """What is wrong with how a program's training length is said; our own training knows its own."""
    if kind_of(run).plays_suite or not sweep.remembers:
        return []
    problems = []
    for (inside, name, searched), phase in zip(_lengths(sweep), sweep.phases, strict=True):
        if phase.protein.fidelity is None:
            continue
        if name not in searched:
            text = f"{name} is not searched, so that it cannot say how long a run is{nearest(name, searched)}"
            problems.append(Problem(f"{inside}.protein.fidelity", text))
        elif total := trees.get(run, TOTAL_STEPS):
            problems.append(
                Problem(".".join(TOTAL_STEPS), f"{total}, but {name} sets the length of a run; leave it out")
            )
    return list(dict.fromkeys(problems))


def length_doubts(run: Mapping[str, Any], sweep: SweepSpec) -> list[Problem]:
    """Early stopping compares runs at the same share of their length: without one it stops nothing."""
    is_told = trees.get(run, TOTAL_STEPS) or all(name in searched for _, name, searched in _lengths(sweep))
    if kind_of(run).plays_suite or not (sweep.early_stopping and sweep.remembers) or is_told:
        return []
    text = "stops no run whose length nobody knows: set trainable.total_steps to the last step that the program reports"
    return [Problem("sweep.early_stopping", f"{text}, or protein.fidelity to the searched parameter that says it")]


def _lengths(sweep: SweepSpec) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(key of its block, name of the parameter that sets the training length, what is searched) of each phase."""
    for index, phase in enumerate(sweep.phases):
        inside = f"sweep.schedule.phases.{index}.sweep" if phase.name else "sweep"
        yield inside, phase.protein.fidelity or DEFAULT_FIDELITY, phase.space.to_config()
