"""What a driver makes of signals, without Ray."""

from __future__ import annotations

import io
import signal
import time

import pytest
from rich.console import Console

from metta_sweep.driver.display import ECHO_SECONDS, stop_signals
from metta_sweep.driver.messages import Event, StopAsked
from metta_sweep.driver.rules import STOPPED_BY_USER


def test_a_signal_that_comes_twice_at_once_is_one_request_and_a_later_one_is_the_second() -> None:
    events: list[Event] = []
    with stop_signals(events.append, Console(file=io.StringIO())):
        for _ in range(2):  # timeout(1) signals its child, and then the group that the child is in
            signal.raise_signal(signal.SIGTERM)
        assert events == [StopAsked(STOPPED_BY_USER, now=True, by_user=True)]
        time.sleep(ECHO_SECONDS * 1.2)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
