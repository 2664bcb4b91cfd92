"""How long a run has before its node goes."""

from __future__ import annotations

import pytest

from trainables.preemption import NO_DEADLINE_SECONDS, RESERVE_SECONDS, seconds_until


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [(1_110_000, 110.0 - RESERVE_SECONDS), (1_001_000, 0.0), (990_000, 0.0), (0, NO_DEADLINE_SECONDS)],
)
def test_a_checkpoint_has_the_time_of_the_notice_less_what_the_result_needs_on_its_way(
    deadline: int, seconds: float
) -> None:
    assert seconds_until(deadline, now=1000.0) == seconds
