"""Specifications and points as data that somebody else wrote: bounded, checked on their way in, read without trust."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from metta_sweep.errors import InvalidRequest, first_line
from metta_sweep.registry.names import check_sweep_name
from searchers.config import still_settings
from searchers.distributions import Parameter
from searchers.errors import SpaceError
from searchers.membership import foreign
from searchers.observation import ParamValue
from searchers.space_config import only_written, parse_space

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster
MAX_SPEC_CHARACTERS = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_PHASES = 100
MAX_MEMORY = 100
LARGEST_COUNT = 2**53  # a whole number that every reader holds
MAX_PARAMETERS = 256
MAX_NAME_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 10_000
MAX_NUMBER_CHARACTERS = 400  # YAML 1.1 reads 59:59:59... as one number, in quadratic time
NUMBER = re.compile(r"[-+0-9a-fA-F_:.xo]+")
WORD = (str,)
# Keys of a specification as `metta_sweep.config.spec_text.spec_yaml` writes it, with the types of their values.
SPEC_KEYS: Mapping[str, tuple[type, ...]] = {
    "sweep_name": WORD,
    "seed": (int,),
    "metric": WORD,
    "goal": WORD,
    "method": WORD,
    "cost": WORD,
    "early_stopping": (bool,),
    "searcher": (str, type(None)),
    "fixed": (dict,),
    "phases": (list,),
    "choices": (dict,),
    "train": (dict,),
    "memory": (list,),
}
MEMORY_KEYS: Mapping[str, tuple[type, ...]] = {"sweep": WORD, "id": WORD, "observations": (int,), "until": (int,)}
PHASE_KEYS: Mapping[str, tuple[type, ...]] = {
    "name": WORD,
    "num_runs": (int, type(None)),
    "auto": (bool,),
    "parameters": (dict,),
    "constraints": (list,),
    "protein": (dict,),
}
GOALS = ("maximize", "minimize")


@dataclass(frozen=True, slots=True)
class Room:
    """Where the points of one phase may lie: its free parameters, and its fixed values by name."""

    phase: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, ParamValue]


def parse_spec(text: str) -> dict[str, Any]:
    """The mapping that a specification holds: plain data, however its author meant it.

    Raises:
        InvalidRequest: no YAML mapping, or one that is too large, too deep, or grows when its aliases are followed.
    """
    if len(text) > MAX_SPEC_CHARACTERS:
        raise InvalidRequest(f"spec_yaml: {len(text)} characters; a specification has at most {MAX_SPEC_CHARACTERS}")
    try:
        _measure(text)
        spec = yaml.load(text, Loader=LOADER)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest(f"spec_yaml: not YAML ({first_line(error)[:300]})") from error
    if not isinstance(spec, dict):
        what = "need a mapping with keys such as metric and phases"
        raise InvalidRequest(f"spec_yaml: {what}, got {type(spec).__name__}")
    return spec


def as_written_now(text: str) -> str:
    """The specification without settings that are none any more and had no effect, and without centres that nobody
    wrote.
    """
    spec = parse_spec(text)
    phases = [_phase_as_written_now(phase) for phase in spec.get("phases", ())]
    return yaml.safe_dump({**spec, "phases": phases}, sort_keys=True, allow_unicode=True)


def _phase_as_written_now(phase: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        name: leaf if "value" in leaf else only_written(leaf) for name, leaf in phase.get("parameters", {}).items()
    }
    return {**phase, "parameters": parameters, "protein": still_settings(phase.get("protein", {}))}


def check_spec(text: str) -> None:
    """Refuse (`InvalidRequest`) what no driver would write; parts may be missing, and "" is one not described yet."""
    if not text:
        return
    spec = parse_spec(text)
    _check_keys(spec, SPEC_KEYS, "spec_yaml")
    if spec.get("goal", GOALS[0]) not in GOALS:
        raise InvalidRequest(f"spec_yaml.goal: need maximize or minimize, got {spec['goal']!r}")
    for key in ("choices", "fixed"):
        for name, value in spec.get(key, {}).items():
            if not (isinstance(name, str) and isinstance(value, int | float | str | bool)):
                what = "need a number, text or truth value under a text"
                raise InvalidRequest(f"spec_yaml.{key}.{str(name)[:80]}: {what}")
    check_memory(spec.get("memory", ()))
    rooms(text)


def check_memory(entries: Any) -> Sequence[Mapping[str, Any]]:
    """The earlier sweeps that a specification names. Raises `InvalidRequest` for what no driver would write."""
    if not isinstance(entries, list | tuple) or len(entries) > MAX_MEMORY:
        raise InvalidRequest(f"spec_yaml.memory: need a list of at most {MAX_MEMORY} sweeps")
    for index, entry in enumerate(entries):
        where = f"spec_yaml.memory.{index}"
        if not isinstance(entry, dict) or set(entry) != set(MEMORY_KEYS):
            raise InvalidRequest(f"{where}: need a mapping with {', '.join(MEMORY_KEYS)}")
        _check_keys(entry, MEMORY_KEYS, where)
        check_sweep_name(entry["sweep"])
        if not (0 <= entry["observations"] <= entry["until"] <= LARGEST_COUNT):
            raise InvalidRequest(f"{where}: need 0 <= observations <= until <= {LARGEST_COUNT}")
    return entries


@lru_cache(maxsize=16)
def rooms(text: str) -> tuple[Room, ...]:
    """The rooms of a specification's phases; none when it does not say them. Raises `InvalidRequest`."""
    phases = parse_spec(text).get("phases", ()) if text else ()
    if not isinstance(phases, list | tuple) or len(phases) > MAX_PHASES:
        raise InvalidRequest(f"spec_yaml.phases: need a list of at most {MAX_PHASES} phases")
    return tuple(_room(phase, f"spec_yaml.phases.{index}") for index, phase in enumerate(phases))


def check_point(spec_yaml: str, phase: str, params: Mapping[str, Any]) -> None:
    """Refuse a point that is none of the sweep's search space.

    Args:
        spec_yaml: the sweep's specification; one without phases knows no space, and any plain point is taken.
        phase: the point's phase; a name that the specification does not know ("import") may lie in any of them.

    Raises:
        InvalidRequest: names what does not belong there.
    """
    _check_plain(params)
    if problems := outside(rooms(spec_yaml), phase, params):
        raise InvalidRequest(f"params: outside the search space: {'; '.join(problems[:5])}")


def outside(known: Sequence[Room], phase: str, params: Mapping[str, Any]) -> list[str]:
    """Why a point lies in no room (of that name, if there is one); empty when it lies in one, or none is known."""
    named = [room for room in known if room.phase == phase] or known
    found = [foreign(room.parameters, room.fixed, params) for room in named]
    return min(found, key=len, default=[])


def _room(phase: Any, where: str) -> Room:
    if not isinstance(phase, dict):
        raise InvalidRequest(f"{where}: need a mapping, got {type(phase).__name__}")
    _check_keys(phase, PHASE_KEYS, where)
    try:
        free, fixed, _, _ = parse_space(phase.get("parameters", {}), phase.get("constraints", ()))
    except (SpaceError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"{where}: {first_line(error)[:300]}") from error
    if len(free) + len(fixed) > MAX_PARAMETERS:
        raise InvalidRequest(f"{where}.parameters: {len(free) + len(fixed)}; a space has at most {MAX_PARAMETERS}")
    _check_plain({parameter.name: 0 for parameter in free} | fixed, where)
    return Room(str(phase.get("name", "")), free, fixed)


def _check_keys(mapping: Mapping[Any, Any], known: Mapping[str, tuple[type, ...]], where: str) -> None:
    for key, value in mapping.items():
        if key not in known:
            raise InvalidRequest(f"{where}.{str(key)[:80]}: unknown key; known: {', '.join(sorted(known))}")
        if not isinstance(value, known[key]) or (isinstance(value, bool) and bool not in known[key]):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in known[key])
            raise InvalidRequest(f"{where}.{key}: need {names}, got {type(value).__name__}")
        if isinstance(value, str) and len(value) > MAX_NAME_CHARACTERS:
            raise InvalidRequest(f"{where}.{key}: {len(value)} characters; at most {MAX_NAME_CHARACTERS}")


def _check_plain(params: Mapping[str, Any], where: str = "params") -> None:
    """Names are dotted words, values numbers, texts and truth values: nothing that a template or a shell would read."""
    if len(params) > MAX_PARAMETERS:
        raise InvalidRequest(f"{where}: {len(params)} parameters; at most {MAX_PARAMETERS}")
    for name, value in params.items():
        if not _is_name(name):
            advice = "names are words joined with dots"
            raise InvalidRequest(f"{where}: {ascii(name)[:100]} is not a parameter name; {advice}")
        if isinstance(value, str):
            is_plain = len(value) <= MAX_TEXT_CHARACTERS and "\0" not in value and _is_unicode(value)
        else:
            is_plain = isinstance(value, int | float) and _is_finite(value)
        if not is_plain:
            what = "need a finite number, a text or a truth value"
            raise InvalidRequest(f"{where}.{name}: {what}, got a {type(value).__name__} that is none")


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        return False
    return name.isprintable() and all(name.split(".")) and "${" not in name


def _is_unicode(text: str) -> bool:
    """Whether it can be sent and stored: no lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


def _measure(text: str) -> None:
    """Bound depth and size before anything is built; an alias counts as all that it stands for: a merge can copy it."""
    sizes: dict[str, int] = {}  # by anchor, once it is complete
    opened: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, total))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes |= {anchor: total - before + 1} if anchor else {}
        elif isinstance(event, yaml.NodeEvent):
            total += _size(event, sizes)
        total += 1
        if total > MAX_NODES or len(opened) > MAX_DEPTH:
            raise InvalidRequest(f"spec_yaml: more than {MAX_NODES} values or {MAX_DEPTH} levels, aliases followed")


def _size(event: yaml.NodeEvent, sizes: dict[str, int]) -> int:
    """How many values a scalar or an alias adds beside itself; notes a scalar's anchor."""
    anchor = event.anchor or ""
    if isinstance(event, yaml.AliasEvent):
        if anchor not in sizes:
            raise InvalidRequest(f"spec_yaml: alias *{anchor[:40]} stands for nothing that is complete")
        return sizes[anchor]
    value = event.value if isinstance(event, yaml.ScalarEvent) else ""
    if len(value) > MAX_NUMBER_CHARACTERS and NUMBER.fullmatch(value):
        raise InvalidRequest(f"spec_yaml: a number of {len(value)} characters")
    sizes |= {anchor: 1} if anchor else {}
    return 0
