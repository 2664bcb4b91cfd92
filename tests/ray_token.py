"""Token authentication for the Rays that tests start themselves: no other user of the machine may run code there
meanwhile.
"""

from __future__ import annotations

import secrets

import pytest

from trainables.ray_internals import read_credentials


def use_ray_token(environ: pytest.MonkeyPatch) -> None:
    """A new token in the environment; the Ray of this process knows it afterwards, and what it starts inherits it."""
    environ.setenv("RAY_AUTH_MODE", "token")
    environ.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    read_credentials()
