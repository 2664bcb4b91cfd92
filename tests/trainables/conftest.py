"""What tests of trainables share: one small local Ray, and runs that take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray_token import use_ray_token

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> None:
    """As ranks do it: a second thread on a busy machine makes small networks many times slower."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def local_ray() -> Iterator[None]:
    """A private Ray with 4 slots on this machine."""
    import ray

    process = pytest.MonkeyPatch()
    use_ray_token(process)

    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment}
    )
    yield
    ray.shutdown()
    process.undo()


@pytest.fixture
def cartpole() -> dict[str, Any]:
    """Mapping of a run that trains for about a second."""
    return {
        "run": "s.r.0",
        "seed": 1,
        "trainer": {
            "curriculum": "/env/gymnasium/CartPole-v1",
            "total_timesteps": 4096,
            "batch_size": 512,
            "minibatch_size": 256,
            "num_envs": 8,
            "simulation": {"curve_points": 1, "curve_episodes": 2},
        },
        "sim": {"episodes": 4},
    }
