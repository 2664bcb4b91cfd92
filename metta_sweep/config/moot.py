"""Keys that are right and still do nothing, or harm, because another key says so: each gets a line before the start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from metta_sweep.config import tree as trees
from metta_sweep.config.tree import Path
from searchers.config import idle_settings
from trainables.kinds import kind_of, unread_settings

OUR_TRAINING = (("trainer",), ("model",), ("env",), ("sim",))


def moot_notes(tree: Mapping[str, Any], written: Collection[Path], at: Callable[[str, str], str]) -> tuple[str, ...]:
    """A line for each key without effect.

    Args:
        tree: the resolved configuration.
        written: keys that a person wrote, on the command line or in a file.
        at: (dotted key, text) -> the line, with the place where the key stands.
    """
    text = str(tree)
    found = [(path, why) for prefixes, why in _rules(tree) for path in sorted(written) if _is_below(path, prefixes)]
    idle = tuple(at(".".join(path), f"no effect: {why}") for path, why in found if not _is_mentioned(text, path))
    return idle + _idle_in_phases(tree, at) + _last_phase(tree, at) + _crowded(tree, at) + _user(tree, at)


def _rules(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[Path, ...], str]]:
    """What does nothing, and why: everything below these prefixes."""
    kind = kind_of(tree)
    why = f"trainable.kind is {kind.name}"
    if not kind.plays_suite:
        yield OUR_TRAINING, f"{why}, which has its own parameters (trainable.parameters)"
    yield tuple(("trainable", name) for name in unread_settings(kind)), why
    method = trees.get(tree, ("sweep", "method")) or "bayes"
    if method != "bayes":
        idle = (("sweep", "protein"), ("sweep", "early_stopping"), ("sweep", "memory"))
        yield idle, f"sweep.method is {method}, which learns nothing"
    if "sweep" not in tree:
        single = (("wandb",), ("resources", "max_concurrent_runs"))
        yield single, "there is no sweep: a single run is not mirrored to WandB"
    if searcher := trees.get(tree, ("sweep", "searcher")):
        yield (("sweep", "method"), ("sweep", "memory")), f"sweep.searcher is {searcher}"
    for name, why in _idle(trees.get(tree, ("sweep", "protein"), {})).items():
        yield (("sweep", "protein", name),), f"sweep.protein.{why}"


def _idle(settings: Any) -> dict[str, str]:
    """Settings of the optimiser that change no suggestion beside the others, and why."""
    told = settings if isinstance(settings, Mapping) else {}
    return idle_settings(str(told.get("objective", "pareto")), str(told.get("acquisition", "auto")))


def _idle_in_phases(tree: Mapping[str, Any], at: Callable[[str, str], str]) -> tuple[str, ...]:
    """Settings of a phase that do nothing there."""
    base = trees.get(tree, ("sweep", "protein"), {})
    phases = trees.get(tree, ("sweep", "schedule", "phases"), [])
    found = []
    for index, phase in enumerate(phases if isinstance(phases, list) else []):
        own = trees.get(phase, ("sweep", "protein"), {}) if isinstance(phase, Mapping) else {}
        if not isinstance(own, Mapping) or not isinstance(base, Mapping):
            continue
        inside = f"sweep.schedule.phases.{index}.sweep.protein"
        idle = _idle({**base, **own})
        found += [at(f"{inside}.{name}", f"no effect: {why}") for name, why in idle.items() if name in own]
    return tuple(found)


def _is_below(path: Path, prefixes: Iterable[Path]) -> bool:
    return any(path[: len(prefix)] == prefix for prefix in prefixes)


def _is_mentioned(text: str, path: Path) -> bool:
    """Whether an interpolation uses the key, or a section above it."""
    return any(f"${{{'.'.join(path[:length])}}}" in text for length in range(1, len(path) + 1))


def _last_phase(tree: Mapping[str, Any], at: Callable[[str, str], str]) -> tuple[str, ...]:
    """The length of the last phase ends nothing; unless another rule ends the sweep there, that is told."""
    phases = trees.get(tree, ("sweep", "schedule", "phases"))
    entries = phases if isinstance(phases, list) else []
    written = [phase.get("num_runs") for phase in entries if isinstance(phase, Mapping)]
    lengths = [length for length in written if isinstance(length, int)]
    if not lengths or len(lengths) < len(written) or trees.get(tree, ("sweep", "num_samples")) == sum(lengths):
        return ()
    key = f"sweep.schedule.phases.{len(lengths) - 1}.num_runs"
    fix = f"sweep.num_samples={sum(lengths)} would end it there"
    return (at(key, f"no effect of {lengths[-1]}: the last phase goes on until a stop rule; {fix}"),)


def _crowded(tree: Mapping[str, Any], at: Callable[[str, str], str]) -> tuple[str, ...]:
    """More processes than cores: they step no faster, and take the cores of other runs."""
    workers, cpus = (trees.get(tree, trees.split(key)) for key in ("trainer.num_workers", "resources.cpus_per_worker"))
    if not isinstance(workers, int) or not isinstance(cpus, int | float) or not kind_of(tree).plays_suite:
        return ()
    needed = workers + 1 if tree.get("device") == "cuda" else workers
    if needed <= max(1, cpus):
        return ()
    return (
        at(
            "trainer.num_workers",
            f"{workers} processes of a rank share resources.cpus_per_worker={cpus:g} with other runs; use "
            f"resources.cpus_per_worker={needed}, or auto",
        ),
    )


def _user(tree: Mapping[str, Any], at: Callable[[str, str], str]) -> tuple[str, ...]:
    """`+user=name` of the pages chooses a file when there is one."""
    name = tree.get("user")
    return (at("user", f"no effect of {name}: there is no file user/{name}.yaml"),) if isinstance(name, str) else ()
