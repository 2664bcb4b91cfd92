"""How two processes share the suite (`pytest --numprocesses 2`): one runs all that starts a real Ray, beside it the
other runs the rest.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Before numpy is imported: the matrices of searchers are small, and threads on cores that others use make them ten
# times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class RayApart(LoadScopeScheduling):
    """Two Rays that start at once on a small machine keep each other waiting; one and a test without Ray do not.

    Modules stay whole, for what their tests share. The marks of `--dist loadgroup` do not reach the scheduler under
    pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        return "ray" if self._has_ray(module) else module

    @cache  # noqa: B019  # lives as long as the run
    def _has_ray(self, module: str) -> bool:
        return "mark.ray" in (self.config.rootpath / module).read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> RayApart:
    return RayApart(config, log)
