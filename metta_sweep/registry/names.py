"""Sweep names and run ids."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from metta_sweep.errors import InvalidRequest, UnknownRun

SWEEP_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def check_sweep_name(name: str) -> None:
    """Raises `InvalidRequest` for what cannot safely be a directory, a group in WandB and a part of a URL."""
    if not re.fullmatch(SWEEP_NAME, name) or ".." in name:
        raise InvalidRequest(
            f"sweep_name={name[:120]!r}: need 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit, without '..'"
        )


def run_id(sweep: str, number: int) -> str:
    return f"{sweep}.r.{number}"


def sweep_of(run: str) -> str:
    """Sweep that a run id belongs to; `UnknownRun` when it is none."""
    sweep, _, number = run.rpartition(".r.")
    if not sweep or not re.fullmatch("[0-9]{1,9}", number):
        raise UnknownRun(f"run {run[:120]!r}: no run id; they read my_sweep.r.0")
    return sweep


def did_you_mean(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(nearest)}?" if nearest else ""
