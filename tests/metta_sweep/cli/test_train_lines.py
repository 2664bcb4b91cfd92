"""What `train` prints while it trains."""

from __future__ import annotations

import io

from rich.console import Console

from metta_sweep.cli.train import Reporter
from trainables.result import Point, Progress, Span


def test_a_line_for_each_tenth_and_for_each_point_of_the_curve() -> None:
    out = io.StringIO()
    report = Reporter(Console(file=out, width=120))
    for env_steps in (1, 2, 150, 160):
        report(Progress(env_steps=env_steps, total_env_steps=1000, steps_per_second=5.0))
    report(Progress(env_steps=170, total_env_steps=1000, steps_per_second=5.0, point=Point(170, Span(), 2.5)))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert [line[0] for line in lines] == ["1", "150", "170"]
    assert lines[-1][-2:] == ["score", "2.5"]
