"""`searchers` needs no Ray until somebody asks for the adapter to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import searchers

ROOT = Path(__file__).parents[2]
WITHOUT_RAY = """
import sys
sys.modules["ray"] = None  # whoever imports it fails
from searchers import *
try:
    from searchers import ProteinSearch
except ImportError as error:
    print(error)
"""


def test_only_the_adapter_needs_ray() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_RAY], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ray" in done.stdout


def test_a_name_that_is_not_there_is_an_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ProteinSerch'"):
        _ = searchers.ProteinSerch
