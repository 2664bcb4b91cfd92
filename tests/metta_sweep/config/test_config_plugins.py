"""`plugins`: modules of the user's own, imported before their words are looked up, and never because a record says
so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from metta_sweep.config import load_sweep_job, load_train_job, resolve_run, validate_file
from metta_sweep.config.registered import load_location, read_spec
from metta_sweep.errors import ConfigError, InvalidRequest
from searchers.distributions import DISTRIBUTIONS
from trainables.spec import RunSpec

MODULE = """
import gymnasium
import numpy as np
from searchers import Distribution, register_distribution

register_distribution(Distribution("square_root", np.sqrt, np.square))
pole = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"
gymnasium.register("OwnPole-v0", entry_point=pole, max_episode_steps=50)
"""
SWEEP = {
    "plugins": ["own_words"],
    "parameters": {"trainer.ppo.ent_coef": {"distribution": "square_root", "min": 0.0, "max": 0.09}},
    "sweep_job_overrides": {
        "trainer": {"curriculum": "/env/gymnasium/OwnPole-v0"},
        "sim": {"simulations": {"pole": {"env": "/env/gymnasium/OwnPole-v0"}}},
    },
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a module and a sweep file that needs it; what it registered is forgotten afterwards."""
    import gymnasium

    (tmp_path / "own_words.py").write_text(MODULE)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "own.yaml").write_text(yaml.safe_dump(SWEEP))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for registry, name in (
        (sys.modules, "own_words"),
        (DISTRIBUTIONS, "square_root"),
        (gymnasium.registry, "OwnPole-v0"),
    ):
        registry.pop(name, None)


def test_a_sweep_file_brings_its_own_distribution_and_environment(directory: Path) -> None:
    job = load_sweep_job(["sweep_name=x", "sweep=own"], {}, [directory])
    assert job.sweep.phases[0].space.center() == {
        "trainer.ppo.ent_coef": pytest.approx(0.0225)
    }  # the middle of the roots
    assert validate_file(directory / "sweep" / "own.yaml", [], {}).sweep.metric == "reward"


def test_the_workers_import_them_before_they_read_a_run(directory: Path) -> None:
    job = load_sweep_job(["sweep_name=x", "sweep=own"], {}, [directory])
    run = resolve_run(job.train, "x.r.0", {"trainer.ppo.ent_coef": 0.01}, seed=1)
    del sys.modules["own_words"]
    __import__("gymnasium").registry.pop("OwnPole-v0")
    DISTRIBUTIONS.pop("square_root")
    assert RunSpec.from_mapping(run).environment.task_names == ("OwnPole-v0",)


def test_the_command_line_names_them_for_a_single_run_and_for_readers(directory: Path) -> None:
    words = ["trainer.curriculum=/env/gymnasium/OwnPole-v0", "sim=cartpole"]
    with pytest.raises(ConfigError, match="unknown gymnasium environment 'OwnPole-v0'"):
        load_train_job(["run=x", *words], {})
    assert load_train_job(["run=x", "plugins=[own_words]", *words], {}).run == "x"
    sys.modules.pop("own_words")
    __import__("gymnasium").registry.pop("OwnPole-v0")
    load_location(["sweep_name=x", "plugins=[own_words]"], {})
    assert "own_words" in sys.modules


def test_a_record_of_the_registry_imports_nothing(directory: Path) -> None:
    job = load_sweep_job(["sweep_name=x", "sweep=own"], {}, [directory])
    assert "own_words" not in job.spec_yaml
    spec = yaml.safe_load(job.spec_yaml)
    spec["train"]["plugins"] = ["this"]
    sys.modules.pop("this", None)
    assert read_spec(yaml.safe_dump(spec)).sweep.metric == "reward"
    with pytest.raises(InvalidRequest, match=r"spec_yaml\.plugins: unknown key"):
        read_spec(yaml.safe_dump({**spec, "plugins": ["this"]}))
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[no_such_module]", r"plugins: cannot import 'no_such_module' .*PYTHONPATH"),
        ("own_words", "plugins: need a list of texts, got 'own_words'"),
        ("[3]", r"plugins: need a list of texts, got \[3\]"),
        ("[broken_words]", r"plugins: 'broken_words' fails when it is imported \(ZeroDivisionError: "),
    ],
)
def test_one_that_cannot_be_imported_is_refused(directory: Path, text: str, message: str) -> None:
    (directory / "broken_words.py").write_text("1 / 0\n")
    for load in (lambda: load_sweep_job(["sweep_name=x", "sweep=quick", f"plugins={text}"], {}),
                 lambda: load_train_job(["run=x", f"plugins={text}"], {})):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            load()
