"""Which numbers of a program's output make a report."""

from __future__ import annotations

import pytest

from trainables.pattern import PatternReader

TABLE = r"ep_rew_mean +\| (?P<score>\S+)|total_timesteps +\| (?P<step>\d+)"
BLOCKS = r"'agent_steps': (?P<step>\d+)|'loss': (?P<loss>\S+),|'reward': \[(?P<score>[-\d.]+)"


def reports(pattern: str, text: str) -> list[dict[str, str]]:
    reader = PatternReader(pattern)
    return [*(found for line in text.splitlines() for found in reader.read(line)), *reader.rest()]


def test_a_line_with_step_and_score_is_a_report() -> None:
    assert reports(r"step=(?P<step>\d+) return=(?P<score>\S+)", "step=5 return=1.5\nnothing\nstep=9 return=2") == [
        {"step": "5", "score": "1.5"},
        {"step": "9", "score": "2"},
    ]


def test_a_score_has_the_step_of_the_line_before_where_the_pattern_has_that_order() -> None:
    text = "'agent_steps': 64\n'agent_steps': 96\n'loss': 3,\n'reward': [0.5]\n'reward': [0.7]\n'agent_steps': 128"
    assert reports(BLOCKS, text) == [{"step": "96", "loss": "3", "score": "0.5"}, {"step": "96", "score": "0.7"}]


def test_a_score_waits_for_the_step_after_it_where_the_pattern_has_that_order() -> None:
    text = "ep_rew_mean  | 20.5\nfps | 9\ntotal_timesteps | 256\nep_rew_mean | 21\ntotal_timesteps | 512\n"
    assert reports(TABLE, text) == [{"score": "20.5", "step": "256"}, {"score": "21", "step": "512"}]


def test_a_score_whose_step_never_comes_counts_all_the_same() -> None:
    assert reports(TABLE, "ep_rew_mean | 1\nep_rew_mean | 2") == [{"score": "1"}, {"score": "2"}]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(?:step=(?P<step>\d+) )?return=(?P<score>\S+)", "step=5 return=1\nreturn=2"),
        (r"return=(?P<score>\S+)(?: step=(?P<step>\d+))?", "return=1 step=5\nreturn=2"),
    ],
)
def test_a_step_that_a_line_may_lack_is_not_that_of_another_line(pattern: str, text: str) -> None:
    assert reports(pattern, text) == [{"step": "5", "score": "1"}, {"score": "2"}]


def test_a_further_metric_is_a_report_of_its_own_where_no_line_has_a_step() -> None:
    assert reports(r"score=(?P<score>\S+)|loss=(?P<loss>\S+)", "loss=3\nscore=1") == [{"loss": "3"}, {"score": "1"}]
