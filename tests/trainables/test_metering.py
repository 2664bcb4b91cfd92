"""Where the seconds go."""

from __future__ import annotations

from trainables.metering import Meter, add, over_ranks
from trainables.result import Costs, Span


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_every_second_belongs_to_exactly_one_part() -> None:
    wall, cpu = FakeClock(), FakeClock()
    meter = Meter("setup", wall, cpu)
    for part, seconds in (("train", 3.0), ("curve", 10.0), ("train", 1.0), ("evaluate", 5.0)):
        wall.now, cpu.now = wall.now + seconds, cpu.now + seconds / 2
        meter.switch(part)
    meter.stop()
    wall.now += 100.0
    spent = meter.spent()
    assert (spent.setup, spent.train, spent.curve) == (Span(3.0, 1.5), Span(15.0, 7.5), Span(1.0, 0.5))
    assert spent.total.wall_seconds == 19.0


def test_ranks_run_side_by_side_but_burn_cpu_each() -> None:
    ranks = [Costs(train=Span(10.0, 9.0)), Costs(train=Span(12.0, 11.0))]
    assert over_ranks(ranks, num_gpus=2.0).train == Span(12.0, 20.0, 24.0)


def test_costs_add_part_by_part() -> None:
    total = add(Costs(train=Span(1.0, 2.0, 3.0)), Costs(train=Span(1.0, 1.0, 1.0), evaluate=Span(5.0)))
    assert (total.train, total.evaluate) == (Span(2.0, 3.0, 4.0), Span(5.0))
