"""The private parts of Ray that we lean on: a Ray that moved one fails here, by name, before a sweep does."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest
import ray
from packaging.requirements import Requirement
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray.tune.execution.tune_controller import TuneController

ROOT = Path(__file__).parents[2]
PARTS = (
    ("ray._private.state", "state.get_draining_nodes"),
    ("ray._private.state", "actors"),
    ("ray._private.ray_constants", "ENABLE_RAY_CLUSTER"),
    ("ray._raylet", "Config.initialize"),
    ("ray._raylet", "AuthenticationTokenLoader.instance"),
    ("ray._raylet", "AuthenticationTokenLoader.reset_cache"),
    ("ray._private.node", "Node.dead_processes"),
    ("ray._private.node", "Node.gcs_address"),
    ("ray.autoscaler._private.util", "prepare_config"),
    ("ray.autoscaler._private.util", "validate_config"),
    ("ray.autoscaler._private.kuberay.autoscaling_config", "_derive_autoscaling_config_from_ray_cr"),
    ("ray._private.runtime_env.packaging", "default_logger"),
    ("ray._private.runtime_env.working_dir", "default_logger"),
    ("ray.air.execution._internal.actor_manager", "RayActorManager.get_actor_resources"),
)
PARAMETERS = (
    (
        RayParams.__init__,
        *("node_ip_address", "temp_dir", "num_cpus", "num_gpus", "include_dashboard", "dashboard_host"),
        *("dashboard_port", "dashboard_agent_listen_port", "include_log_monitor", "no_monitor"),
    ),
    (Node.__init__, "head", "shutdown_at_exit", "spawn_reaper"),
    (Node.kill_all_processes, "check_alive", "allow_graceful", "wait"),
)


def moved(what: str) -> str:
    return f"Ray {ray.__version__} has no {what}; mend trainables/ray_internals.py, then raise the bound"


@pytest.mark.parametrize(("module", "path"), PARTS)
def test_this_ray_has_each_private_part(module: str, path: str) -> None:
    found = importlib.import_module(module)
    for name in path.split("."):
        assert hasattr(found, name), moved(f"{module}.{path}")
        found = getattr(found, name)


@pytest.mark.parametrize(("function", "names"), [(row[0], row[1:]) for row in PARAMETERS])
def test_this_ray_takes_each_private_parameter(function: object, names: tuple[str, ...]) -> None:
    missing = set(names) - set(inspect.signature(function).parameters)
    assert not missing, moved(f"{function}: {sorted(missing)}")


@pytest.mark.parametrize("attribute", ["_trial_to_actor", "_actor_manager"])
def test_tunes_controller_keeps_its_actors_where_we_look(attribute: str) -> None:
    assert f"self.{attribute}" in inspect.getsource(TuneController.__init__), moved(f"TuneController.{attribute}")


def test_the_ray_that_is_installed_is_one_that_we_ask_for() -> None:
    words = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = next(word for word in map(Requirement, words) if word.name == "ray")
    assert ray.__version__ in wanted.specifier
    assert any(bound.operator == "<" for bound in wanted.specifier), "a newer Ray may have moved what we touch"
