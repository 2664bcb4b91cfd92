"""Phases of a sweep: which one a run belongs to, and what it overrides. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class PhaseLength:
    """Name of a phase and how many runs it lasts; None = until the sweep ends."""

    name: str
    num_runs: int | None


def phase_of(number: int, lengths: Sequence[int | None]) -> int:
    """Index of the phase that run `number` belongs to; the last phase goes on.

    Args:
        number: run number at reservation, from 0; failed runs count.
        lengths: `num_runs` of each phase; None = endless.

    Raises:
        ValueError: there is no phase, or the number is negative.
    """
    if not lengths or number < 0:
        raise ValueError(f"phase_of: need a phase and a number >= 0, got {len(lengths)} phases and number {number}")
    first = 0
    for index, length in enumerate(lengths[:-1]):
        if length is None or number < first + length:
            return index
        first += length
    return len(lengths) - 1


Phase = TypeVar("Phase")


def pick_phase(number: int, phases: Sequence[Phase], lengths: Sequence[int | None]) -> Phase:
    """The phase itself; see `phase_of`."""
    return phases[phase_of(number, lengths)]


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge into a new dict: mappings merge key by key, everything else is replaced. Neither argument changes."""
    merged: dict[str, Any] = {
        key: merge(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()
    }
    for key, value in override.items():
        if isinstance(value, Mapping):
            existing = merged.get(key)
            merged[key] = merge(existing if isinstance(existing, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
