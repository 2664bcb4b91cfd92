"""Share of branches that the tests took: `python -m tests.branches coverage.json`, after `pytest --cov
--cov-report=json`; fails where a package is below its floor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Other processes are not counted, so the floors of driver and trainables are what their own tests without Ray take: 356
# of 484, and 534 of 764.
FLOORS = {"searchers": 0.95, "metta_sweep/registry": 0.95, "metta_sweep/driver": 0.72, "trainables": 0.69}


def shares(report: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(package, branches taken, branches)."""
    for package in FLOORS:
        files = [file["summary"] for name, file in report["files"].items() if name.startswith(f"{package}/")]
        yield package, sum(file["covered_branches"] for file in files), sum(file["num_branches"] for file in files)


def missing(report: dict[str, Any]) -> Iterator[str]:
    """Where a branch was not taken: file, the line it leaves and the one it goes to (negative: out of a function)."""
    for name, file in report["files"].items():
        yield from (f"{name}:{start} -> {end}" for start, end in file["missing_branches"])


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    print(*missing(report), sep="\n")
    rows = list(shares(report))
    for package, taken, count in rows:
        print(f"{package}: {taken} of {count} branches, {taken / count:.1%}")
    if any(taken < FLOORS[package] * count for package, taken, count in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
