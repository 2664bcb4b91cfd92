"""What a rank spends, part by part, by two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from trainables.result import Costs, Span

PARTS = tuple(field.name for field in fields(Costs))  # of the costs of a run


class Meter:
    """Books every second to exactly one part of `Costs`: from its creation to `switch`, from `switch` to `switch`, to
    `stop`.

    Args:
        part: where booking begins.
        wall: wall clock, in seconds.
        cpu: CPU time of this process, all threads, and of those that work for it, in seconds.
    """

    def __init__(
        self, part: str, wall: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._wall, self._cpu = wall, cpu
        self._spent = {name: Span() for name in PARTS}
        self._part: str | None = part
        self._since = (wall(), cpu())

    @classmethod
    def from_process_start(cls, part: str, cpu: Callable[[], float] = time.process_time) -> Meter:
        """Books what the process did before, too: imports, mostly.

        It may have idled before that, so wall time is taken to be CPU time.
        """
        meter = cls(part, cpu=cpu)
        now = meter._since
        meter._since = (now[0] - now[1], 0.0)
        return meter

    def switch(self, part: str) -> None:
        """From now on, time belongs to `part`."""
        self._book()
        self._part = part

    def stop(self) -> None:
        """From now on, time belongs to nobody."""
        self._book()
        self._part = None

    def spent(self) -> Costs:
        """Everything so far, GPU seconds left at 0."""
        self._book()
        return Costs(**self._spent)

    def _book(self) -> None:
        now = (self._wall(), self._cpu())
        if self._part is not None:
            self._spent[self._part] += Span(now[0] - self._since[0], now[1] - self._since[1])
        self._since = now


def over_ranks(ranks: Sequence[Costs], num_gpus: float) -> Costs:
    """Costs of a run from those of its ranks: wall of the slowest, CPU summed, GPU = wall times the GPUs held."""
    return Costs(**{part: _over_ranks([getattr(costs, part) for costs in ranks], num_gpus) for part in PARTS})


def _over_ranks(spans: Sequence[Span], num_gpus: float) -> Span:
    wall = max((span.wall_seconds for span in spans), default=0.0)
    return Span(wall, sum(span.cpu_seconds for span in spans), wall * num_gpus)


def add(first: Costs, second: Costs) -> Costs:
    """Part by part."""
    return Costs(**{part: getattr(first, part) + getattr(second, part) for part in PARTS})


def costs_from_vector(values: Sequence[float], walls: Mapping[str, float], num_gpus: float) -> Costs:
    """Costs from CPU seconds summed over ranks, in the order of `PARTS`, and wall seconds by part."""
    return Costs(
        **{part: Span(walls[part], cpu, walls[part] * num_gpus) for part, cpu in zip(PARTS, values, strict=True)}
    )
