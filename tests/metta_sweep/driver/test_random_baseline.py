"""The score of a random policy: measured once, and only where there is one. Measuring would start a Ray."""

from __future__ import annotations

from pathlib import Path

from metta_sweep.driver.files import write_yaml
from metta_sweep.driver.single import RandomBaseline, evaluation_hash


def test_what_was_measured_for_this_evaluation_is_not_measured_again(tmp_path: Path) -> None:
    config = {"env": {}, "sim": {"episodes": 3}, "trainer": {"curriculum": "/env/gymnasium/CartPole-v1"}}
    known = {"score": 21.5, "standard_error": 0.5, "of": evaluation_hash(config)}
    write_yaml(tmp_path / "random_policy.yaml", known)
    assert RandomBaseline(tmp_path, config).score() == (21.5, 0.5)


def test_a_program_has_no_random_policy(tmp_path: Path) -> None:
    config = {"trainable": {"kind": "command", "command": "train"}}
    assert RandomBaseline(tmp_path, config).score() is None
    assert list(tmp_path.iterdir()) == []
