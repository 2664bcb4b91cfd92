"""The password of a service's database: where it may stand, and that nobody is shown it."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from metta_sweep.cli.main import main
from metta_sweep.errors import RegistryError
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.trouble import without_password

ROOT = Path(__file__).parents[3]
SECRET = "hunter2"
AWAY = "127.0.0.1:1/none?connect_timeout=2"


@pytest.mark.parametrize("command", [["serve"], ["token", "list"]])
@pytest.mark.parametrize(
    "url", [f"postgresql+psycopg://u:{SECRET}@h/d", f"postgresql+psycopg://u@h/d?password={SECRET}"]
)
def test_a_password_on_the_command_line_is_refused_with_the_way_out(
    command: list[str], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--database-url", url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "METTA_SWEEP_DATABASE_URL, or into a file" in line
    assert SECRET not in line


@pytest.mark.parametrize("full_error", ["0", "1"])
@pytest.mark.parametrize(
    "rest", [f":{SECRET}@{AWAY}", f"@{AWAY}&password={SECRET}", f":a@{SECRET}@{AWAY}", f":{SECRET}@[::/none"]
)
def test_no_message_shows_it(
    rest: str, full_error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
    monkeypatch.setenv("METTA_SWEEP_DATABASE_URL", f"postgresql+psycopg://u{rest}")
    assert main(["token", "list"]) == 5
    said = capsys.readouterr().err
    assert said
    assert SECRET not in said


def test_a_file_may_hold_it_and_one_that_others_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "url"
    file.write_text(f"sqlite:///{tmp_path}/registry.db\n")
    file.chmod(0o644)
    assert main(["token", "list", "--database-url-file", str(file)]) == 0
    told = capsys.readouterr()
    assert told.out == "[]\n"
    assert f"note: {file}: others may read it; chmod 600" in told.err
    file.chmod(0o600)
    assert main(["token", "list", "--database-url-file", str(file)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "--database-url: missing"),
        (["--database-url", "sqlite:////x", "--database-url-file", "y"], "give one of them"),
        (["--database-url-file", "two_lines"], "need one line"),
        (["--database-url-file", "nowhere"], "No such file"),
    ],
)
def test_what_is_missing_or_double_is_told(
    words: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METTA_SWEEP_DATABASE_URL", raising=False)
    (tmp_path / "two_lines").write_text("a\nb\n")
    assert main(["token", "list", *words]) in (1, 2)
    assert text in capsys.readouterr().err


def test_the_documented_way_shows_nothing_in_the_list_of_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{SECRET}.db"  # stands for the password: PostgreSQL is not needed to see what `ps` sees
    command = [sys.executable, "-m", "metta_sweep", "serve", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "METTA_SWEEP_DATABASE_URL": url}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        said = service.stdout.readline()
        shown = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(service.pid)], capture_output=True, text=True, check=True
        ).stdout
        service.terminate()
    assert said.startswith("registry at http://127.0.0.1:")
    assert "metta_sweep serve" in shown
    assert SECRET not in shown + said


def test_drivers_do_not_show_the_password_of_their_service_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    heard: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        heard.append(request.headers["Authorization"])
        return httpx.Response(200, json={"items": [], "next": None})

    HttpRegistry(f"http://u:{SECRET}@h", transport=httpx.MockTransport(answer)).list_sweeps()
    assert heard == ["Basic " + base64.b64encode(f"u:{SECRET}".encode()).decode()]
    assert "http://h/sweeps" in caplog.text
    assert SECRET not in caplog.text
    service = HttpRegistry(f"http://u:{SECRET}@127.0.0.1:1", patience_seconds=0.0)
    with pytest.raises(RegistryError, match=r"http://\*\*\*@127.0.0.1:1: ConnectError") as away:
        service.list_sweeps()
    with pytest.raises(RegistryError, match="need http") as wrong:
        open_registry(tmp_path, f"postgresql+psycopg://u:{SECRET}@h/d")
    assert SECRET not in f"{away.value}{wrong.value}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://h:1/x", "http://h:1/x"),
        ("http://u:p@h:1", "http://***@h:1"),
        ("postgresql://u:p@q@h/d?password=p", "postgresql://***@h/d"),
        ("ftp", "ftp"),
    ],
)
def test_an_address_is_shown_without_password(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_the_password_of_a_store_is_in_none_of_its_texts() -> None:
    with pytest.raises(RegistryError) as away:
        SqlRegistry(f"postgresql+psycopg://u:{SECRET}@{AWAY}")
    assert "postgresql+psycopg://u:***@127.0.0.1:1/none" in str(away.value)
    assert SECRET not in f"{away.value!r}{away.value.__cause__!r}"
