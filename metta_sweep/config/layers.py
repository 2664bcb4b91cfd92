"""Which keys of the composed files another file replaced: a value that somebody wrote and nobody uses is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from metta_sweep.config import files, names
from metta_sweep.config import tree as trees
from metta_sweep.config.overrides import Assignment
from metta_sweep.config.tree import Path

KEYS_IN_FULL = 3  # of one file that another replaces; more are told in one line


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a composition.

    Attributes:
        config: its name on the search path, such as `sweep/quick`.
        package: path under which its content is placed.
        parents: the files in whose defaults lists it stands, the nearest first.
        is_typed: whether the command line names it.
        is_above: whether it lies above every `sweep_job_overrides`, as what the command line adds does.
    """

    file: FilePath
    config: str
    package: Path
    parents: tuple[str, ...] = ()
    is_typed: bool = False
    is_above: bool = False


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it was written; `layer` is None for an environment variable, whose text is `origin`.

    `place` is its canonical key, `key` the one that stands in the file.
    """

    place: Path
    key: Path
    value: Any
    origin: str
    layer: Layer | None


def read(layers: Iterable[Layer]) -> tuple[Value, ...]:
    """All values of the files, in their order."""
    return tuple(value for layer in layers for value in _values_of(layer))


def replaced(values: Iterable[Value], environment: Iterable[Assignment]) -> tuple[str, ...]:
    """A line for each key that a person's file holds and another file, or an environment variable, sets otherwise.

    Our own defaults are there to be replaced, and so is what a file takes from its defaults list; neither is told.
    """
    by_files: dict[tuple[Layer | None, Layer | None], list[tuple[Value, Value]]] = {}
    for gone, winner in _losses(_in_order(values, environment)):
        if _is_surprising(gone, winner):
            by_files.setdefault((gone.layer, winner.layer), []).append((gone, winner))
    return tuple(line for (old, new), losses in by_files.items() for line in _told(losses, old, new))


def written(values: Iterable[Value]) -> frozenset[Path]:
    """Places of all values in files that are not ours."""
    ours = files.packaged_configs()
    theirs = [(value, value.layer) for value in values if value.layer and not value.layer.file.is_relative_to(ours)]
    return frozenset(_final_place(value.place) for value, layer in theirs if not _is_default(value, layer))


def _in_order(values: Iterable[Value], environment: Iterable[Assignment]) -> list[Value]:
    # The lowest first: files, what sweep files say of the job, overrides for all runs, the command line's, variables.
    variables = [Value(word.path, word.path, word.value, word.text, None) for word in environment]
    return [*sorted(values, key=_rank), *variables]


def _values_of(layer: Layer) -> Iterator[Value]:
    lines = dict(files.key_lines(layer.file))
    shown = files.display(layer.file)
    for path, value in trees.leaves(trees.remove(files.read_yaml(layer.file), ("defaults",))):
        place = names.canonical((*layer.package, *path))
        if place and value not in ({}, None, "???"):
            line = next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 1)
            yield Value(place, path, value, f"{shown}:{line}", layer)


def _rank(value: Value) -> tuple[bool, bool, bool]:
    layer = value.layer
    is_hoisted = layer is not None and layer.package[:1] == ("sweep",) and value.place[0] != "sweep"
    return (layer is not None and layer.is_above, value.place[0] == "sweep_job_overrides", is_hoisted)


def _losses(values: Sequence[Value]) -> Iterator[tuple[Value, Value]]:
    """(the value that is gone, the one in its place)."""
    last: dict[Path, Value] = {}
    gone: list[Value] = []
    for value in values:
        place = _final_place(value.place)
        gone += [last.pop(other) for other in list(last) if _overlap(place, other)]
        last[place] = value
    for old in gone:
        place = _final_place(old.place)
        new = next((last[other] for other in last if _overlap(place, other)), None)
        if new is not None and new.value != old.value:
            yield old, new


def _overlap(one: Path, other: Path) -> bool:
    return other[: len(one)] == one or one[: len(other)] == other


def _final_place(place: Path) -> Path:
    return place[1:] if place[0] == "sweep_job_overrides" and len(place) > 1 else place


def _is_surprising(old: Value, new: Value) -> bool:
    layer = old.layer
    if layer is None:
        return False
    stands_on_it = new.layer is not None and new.layer.config in layer.parents
    return layer.is_typed or not (stands_on_it or _is_default(old, layer))


def _is_default(value: Value, layer: Layer) -> bool:
    """Whether our own file of this name says the same."""
    own = files.find([files.packaged_configs()], layer.config)
    if own is None:
        return False
    return layer.file == own or trees.get(files.read_yaml(own), value.key) == value.value


def _told(losses: Sequence[tuple[Value, Value]], old: Layer | None, new: Layer | None) -> Iterator[str]:
    if len(losses) <= KEYS_IN_FULL or old is None or new is None:
        for loser, winner in losses:
            what = f"{winner.origin} sets {winner.value!r}" if winner.layer else winner.origin
            yield f"{loser.origin}: {'.'.join(loser.place)}={loser.value!r} has no effect: {what}"
        return
    keys = ", ".join(".".join(loser.place) for loser, _ in losses)
    yield f"{files.display(old.file)}: {keys} have no effect: {files.display(new.file)} sets them"


def suite_note(values: Iterable[Value], suite: str | None) -> tuple[str, ...]:
    """A line for each `sim_name` that is not the suite in use."""
    said = [value for value in values if value.place in (("sim_name",), ("sweep", "sim_name")) and value.value != suite]
    return tuple(f"{value.origin}: sim_name={value.value!r} has no effect: the suite is {suite}" for value in said)


def body_of(layer: Layer) -> Mapping[str, Any]:
    """A file's content in its place, without its defaults list."""
    body = trees.remove(files.read_yaml(layer.file), ("defaults",))
    return names.canonical_tree(trees.put({}, layer.package, body) if layer.package else body)
