"""Ray's token on the machine that launches clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.launch.clusters import ensure_token


def test_a_token_that_others_could_read_is_closed_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "auth_token"
    token.write_text("secret")
    token.chmod(0o644)  # as `ray get-auth-token --generate` leaves it
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    ensure_token()
    assert token.stat().st_mode & 0o777 == 0o600
