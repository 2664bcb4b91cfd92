"""How three processes share the suite (`pytest --numprocesses 3`): two run what starts a real Ray, beside them the
third runs the rest. A Ray mostly waits, so that two cores are enough.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Before numpy is imported: the matrices of searchers are small, and threads on cores that others use make them ten
# times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Other programs may take both cores: no example is wrong because it took long.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


class RayApart(LoadScopeScheduling):
    """Many Rays that start at once on a small machine keep each other waiting: at most two do, a driver's and another.

    Modules stay whole, for what their tests share. The marks of `--dist loadgroup` do not reach the scheduler under
    pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        if not has_ray(self.config.rootpath / module):
            return module
        return "ray of the driver" if "/driver/" in module else "ray elsewhere"


@cache
def has_ray(module: Path) -> bool:
    """Whether tests of this file start a Ray."""
    return "mark.ray" in module.read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> RayApart:
    return RayApart(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest as a whole begins first where several processes share the suite."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not has_ray(item.path))
