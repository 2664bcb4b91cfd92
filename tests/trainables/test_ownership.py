"""A run's directory is the run's, by sweep, id, parameters and configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trainables.disk import replacing
from trainables.ownership import claim_run, run_mark

RUN: dict[str, Any] = {
    "run": "s.r.0",
    "seed": 1,
    "trainer": {"optimizer": {"learning_rate": 0.1}, "num_workers": 2},
    "resources": {"world_size": 1},
}


def claim(directory: Path, mapping: dict[str, Any] = RUN, sweep: str = "a") -> Path | None:
    return claim_run(directory, run_mark(sweep, "s.r.0", mapping), mapping)


def leave_a_result(directory: Path) -> None:
    (directory / "checkpoints").mkdir()
    (directory / "sweep_eval_results.yaml").write_text("score: 5.118")


OTHERS = [
    (RUN, "b"),
    ({**RUN, "seed": 2}, "a"),
    ({**RUN, "trainer": {"optimizer": {"learning_rate": 0.2}, "num_workers": 2}}, "a"),
    ({**RUN, "suggestion": {"x": 1.0}}, "a"),
]


@pytest.mark.parametrize(("mapping", "sweep"), OTHERS)
def test_what_is_of_another_sweep_or_configuration_is_moved_aside(
    mapping: dict[str, Any], sweep: str, tmp_path: Path
) -> None:
    assert claim(tmp_path / "r") is None
    leave_a_result(tmp_path / "r")
    assert claim(tmp_path / "r", mapping, sweep) == tmp_path / "r" / "earlier-1"
    assert [path.name for path in sorted((tmp_path / "r").iterdir())] == ["belongs_to.json", "earlier-1"]
    assert (tmp_path / "r" / "earlier-1" / "sweep_eval_results.yaml").read_text() == "score: 5.118"
    leave_a_result(tmp_path / "r")
    assert claim(tmp_path / "r") == tmp_path / "r" / "earlier-2"


def test_what_a_driver_is_writing_at_this_moment_is_left_to_it(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    directory.mkdir()
    with replacing(directory / "train_config_overrides.yaml") as file:
        file.write(b"seed: 1\n")
        assert claim(directory) is None
    assert (directory / "train_config_overrides.yaml").read_text() == "seed: 1\n"


def test_the_same_run_keeps_its_directory_on_another_machine(tmp_path: Path) -> None:
    claim(tmp_path / "r")
    leave_a_result(tmp_path / "r")
    machine = {"device": "cuda", "resources": {"world_size": 4}}
    elsewhere = {**RUN, **machine, "trainer": {**RUN["trainer"], "num_workers": 8}}
    assert claim(tmp_path / "r", elsewhere) is None


def test_a_directory_of_the_version_before_is_judged_by_the_configuration_in_it(tmp_path: Path) -> None:
    for name, learning_rate in (("same", 0.1), ("other", 0.2)):
        (tmp_path / name).mkdir()
        leave_a_result(tmp_path / name)
        trained = {**RUN, "trainer": {"optimizer": {"learning_rate": learning_rate}}}
        (tmp_path / name / "train_config_overrides.yaml").write_text(yaml.safe_dump(trained))
    assert claim(tmp_path / "same") is None
    assert claim(tmp_path / "other") == tmp_path / "other" / "earlier-1"


def test_what_the_driver_wrote_for_this_run_stays(tmp_path: Path) -> None:
    leave = ["protein_suggestion.yaml", "train_config_overrides.yaml"]
    for name in [*leave, "report_1.rank0.jsonl"]:
        (tmp_path / name).write_text("{}")
    assert claim(tmp_path) == tmp_path / "earlier-1"
    assert [path.name for path in (tmp_path / "earlier-1").iterdir()] == ["report_1.rank0.jsonl"]
    assert all((tmp_path / name).exists() for name in leave)


def test_a_mark_that_a_crash_cut_short_is_nobodys(tmp_path: Path) -> None:
    claim(tmp_path / "r")
    leave_a_result(tmp_path / "r")
    (tmp_path / "r" / "belongs_to.json").write_text('{"sweep": "a", "ru')
    assert claim(tmp_path / "r") is not None
