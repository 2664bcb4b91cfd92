"""Sweep names, run ids and idempotency keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from metta_sweep.errors import InvalidRequest, UnknownRun

KEY = "[!-~]{1,128}"
SWEEP_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
EVENT_KIND = "[a-z_]{1,64}"


def check_sweep_name(name: str) -> None:
    """Raises `InvalidRequest` for what cannot safely be a directory, a group in WandB and a part of a URL."""
    if not re.fullmatch(SWEEP_NAME, name) or ".." in name:
        need = "1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit, without '..'"
        raise InvalidRequest(f"sweep_name={name[:120]!r}: need {need}")


def check_key(key: str) -> None:
    """Raises `InvalidRequest` for what is no idempotency key."""
    if not re.fullmatch(KEY, key):
        need = "an idempotency key of 1 to 128 ASCII characters without blanks, such as uuid.uuid4().hex"
        raise InvalidRequest(f"key={key[:40]!r}: need {need}")


def check_lease(seconds: float) -> None:
    """Raises `InvalidRequest` for what is no length of a lease; `math.inf` is one."""
    if not seconds > 0:
        raise InvalidRequest(f"lease_seconds: need a number > 0, got {seconds!r}")


def run_id(sweep: str, number: int) -> str:
    return f"{sweep}.r.{number}"


def sweep_of(run: str) -> str:
    """Sweep that a run id belongs to; `UnknownRun` when it is none."""
    sweep, _, number = run.rpartition(".r.")
    if not sweep or not re.fullmatch("[0-9]{1,9}", number):
        raise UnknownRun(f"run {run[:120]!r}: not a run id; run ids look like my_sweep.r.0")
    return sweep


def check_run_id(run: str) -> None:
    """Raises `InvalidRequest` for what is no run id, and therefore no safe directory."""
    if not re.fullmatch(rf"{SWEEP_NAME}\.r\.[0-9]{{1,9}}", run) or ".." in run:
        raise InvalidRequest(f"run {run[:120]!a}: not a run id; run ids look like my_sweep.r.0")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(nearest)}?" if nearest else ""
