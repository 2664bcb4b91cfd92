"""A run's specification is read once, by its driver, and goes from process to process as it is."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from trainables.environments.mettagrid_tasks import TASKS
from trainables.errors import SpecError
from trainables.kinds import KINDS
from trainables.messages import RunRequest, Trained
from trainables.spec import RunSpec, spec_of_point
from trainables.worker import RankWorker

DICE = "tests.trainables.programs.dice"
HERE = {"run": "s.r.0", "trainable": {"kind": "function", "function": "tests.trainables.test_request:train"}}


def train(config: dict[str, Any], context: Any) -> float:
    del config, context
    return 4.0


def cartpole() -> dict[str, Any]:
    return {"run": "s.r.0", "trainer": {"curriculum": "/env/gymnasium/CartPole-v1"}, "sim": {"episodes": 4}}


MAPPINGS = [*({"trainer": {"curriculum": f"/env/mettagrid/{path}"}} for path in TASKS), cartpole(), HERE]


@pytest.mark.parametrize("mapping", MAPPINGS, ids=str)
def test_a_specification_survives_the_way_to_another_process(mapping: dict[str, Any]) -> None:
    spec = RunSpec.from_mapping(mapping)
    for again in (pickle.loads(pickle.dumps(spec)), copy.deepcopy(spec)):
        assert again == spec
        assert again.mapping == mapping


def test_a_rank_reads_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = RunRequest(RunSpec.from_mapping(HERE), tmp_path)
    monkeypatch.setattr(RunSpec, "from_mapping", lambda *args, **rest: pytest.fail("read once more"))
    trained = RankWorker().train(request)
    assert isinstance(trained, Trained), trained
    assert trained.reported["score"] == 4.0


def test_a_process_that_gets_a_specification_imports_its_plugins(tmp_path: Path) -> None:
    before = dict(KINDS)
    try:
        dice = {"kind": "dice", "parameters": {"sides": 6}}
        spec = RunSpec.from_mapping({"run": "s.r.0", "plugins": [DICE], "trainable": dice})
        KINDS.clear()
        KINDS.update(before)
        del sys.modules[DICE]  # as in another process
        trained = RankWorker().train(RunRequest(spec, tmp_path))
        assert isinstance(trained, Trained), trained
    finally:
        KINDS.clear()
        KINDS.update(before)
        sys.modules.pop(DICE, None)


def test_a_plugin_that_a_worker_lacks_is_named(tmp_path: Path) -> None:
    spec = RunSpec.from_mapping(HERE)
    object.__setattr__(spec, "plugins", ("nosuch.plugin",))
    failure = RankWorker().train(RunRequest(spec, tmp_path))
    assert not isinstance(failure, Trained)
    assert "plugins: cannot import 'nosuch.plugin'" in failure.message


def test_the_mark_of_a_directory_is_that_of_the_configuration(tmp_path: Path) -> None:
    first, second = (RunSpec.from_mapping({**HERE, "seed": seed}) for seed in (1, 2))
    marks = [RunRequest(spec, tmp_path, sweep_id="s").mark["hash"] for spec in (first, first, second)]
    assert marks[0] == marks[1] != marks[2]


def test_a_point_that_makes_no_run_is_told_and_not_raised() -> None:
    error = spec_of_point({**cartpole(), "metric": "rewrd"})
    assert isinstance(error, SpecError)
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems == ("metric: unknown 'rewrd'; did you mean reward?",)
