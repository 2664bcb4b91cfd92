"""How the suite is shared out: tests with a real Ray one after the other in one process, beside them all others in a second."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two Rays that start at once on a small machine keep each other waiting; one and a test without Ray do not."""
    for item in items:
        if item.get_closest_marker("ray") is not None:
            item.add_marker(pytest.mark.xdist_group("ray"))
