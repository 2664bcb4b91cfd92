"""One driver of a sweep of recorded runs, watched: `... watched_driver ADDRESS DIR FIGURES [override ...]`.

What is timed is timed by wrappers around the driver's own methods, and by SQLAlchemy's events around each statement.
Writes its figures as JSON, and what it prints to its standard output.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, event

from metta_sweep.driver import workers
from metta_sweep.driver.suggestions import SweepOptimiser
from metta_sweep.driver.sweep import RunCommand
from metta_sweep.registry.store import SqlRegistry
from tests.benchmarks.orchestration.measure import Memory
from tests.benchmarks.orchestration.recorded import RecordedTrainable
from tests.metta_sweep.driver.drive import drive

Times = dict[str, list[tuple[float, float]]]  # wall and CPU milliseconds of each call, in order, by name


@dataclass
class Watch:
    """How long what took."""

    calls: Times = field(default_factory=dict)
    statements: Times = field(default_factory=dict)
    examples: dict[str, Any] = field(default_factory=dict)  # parameters of each statement, once

    @contextlib.contextmanager
    def time(self, times: Times, name: str) -> Iterator[None]:
        """CPU time is that of the thread: what others do with this process or machine is not in it."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            took = ((time.perf_counter() - wall) * 1000.0, (time.thread_time() - cpu) * 1000.0)
            times.setdefault(name, []).append(took)

    def around(self, owner: Any, method: str, name: Callable[..., str]) -> None:
        """Time all calls from now on."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.time(self.calls, name(*args)):
                return original(*args, **kwargs)

        setattr(owner, method, timed)

    def around_statements(self) -> None:
        @event.listens_for(Engine, "before_cursor_execute")
        def before(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            context.began = time.perf_counter(), time.thread_time()

        @event.listens_for(Engine, "after_cursor_execute")
        def after(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            wall, cpu = context.began
            took = ((time.perf_counter() - wall) * 1000.0, (time.thread_time() - cpu) * 1000.0)
            self.statements.setdefault(statement, []).append(took)
            if statement not in self.examples and not many:
                self.examples[statement] = parameters


def watched() -> Watch:
    """The driver's methods, timed from now on."""
    watch = Watch()
    watch.around(SweepOptimiser, "suggest", lambda *args: "suggest")
    watch.around(SqlRegistry, "_perform", lambda self, operation, arguments: f"registry.{operation.name}")
    watch.around(SqlRegistry, "heartbeat", lambda *args: "registry.heartbeat")
    watch.around(workers, "step", lambda *args: "step")
    watch.around_statements()
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("directory", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    watch, memory = watched(), Memory()
    with memory.sampled():
        command = RunCommand(RecordedTrainable)
        outcome = drive(args.directory, *args.overrides, environ={"RAY_ADDRESS": args.address}, command=command)
    used = psutil.Process().cpu_times()
    figures = {
        "exit_code": outcome.exit_code,
        "reason": outcome.reason,
        "cpu_seconds": used.user + used.system,
        "memory": memory.samples[:: max(len(memory.samples) // 1000, 1)],
        "calls": watch.calls,
        "statements": [[text, watch.examples.get(text), times] for text, times in watch.statements.items()],
    }
    args.figures.write_text(json.dumps(figures, default=str))


if __name__ == "__main__":
    main()
