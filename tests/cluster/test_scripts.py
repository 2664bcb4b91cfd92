"""The shell scripts that run on nodes, run here: against processes and a metadata service of our own."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"


def daemon(session: Path) -> subprocess.Popen[bytes]:
    """A process that names its session directory on its command line, as Ray's daemons do."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"--session-dir={session}"])


def test_stop_ends_the_processes_of_one_cluster_and_no_others(tmp_path: Path) -> None:
    ours, theirs = daemon(tmp_path / "ours" / "session_1"), daemon(tmp_path / "theirs" / "session_1")
    try:
        subprocess.run(["bash", str(CLUSTER / "stop.sh"), str(tmp_path / "ours")], check=True, timeout=30)
        assert ours.wait(timeout=5) < 0
        assert theirs.poll() is None
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()


def test_stop_is_content_when_nothing_runs(tmp_path: Path) -> None:
    subprocess.run(["bash", str(CLUSTER / "stop.sh"), str(tmp_path)], check=True, timeout=30)


class Metadata(http.server.BaseHTTPRequestHandler):
    """What the providers' metadata services answer; `notice` is when the machine has been given notice."""

    notice = threading.Event()

    def do_PUT(self) -> None:
        self.answer(200, "session-token")

    def do_GET(self) -> None:
        if self.path.startswith("/latest"):
            has_token = self.headers["X-aws-ec2-metadata-token"] == "session-token"
            self.answer(200 if has_token and self.notice.is_set() else 404, "{}")
        else:
            self.answer(
                200 if self.headers["Metadata-Flavor"] == "Google" else 403, "TRUE" if self.notice.is_set() else "FALSE"
            )

    def answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def metadata_url() -> Iterator[str]:
    Metadata.notice.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("provider", "seconds"), [("aws", 110), ("gcp", 25)])
def test_a_preemption_notice_becomes_a_drain_request_and_nothing_before_it_does(
    provider: str, seconds: int, metadata_url: str, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    ray = tmp_path / "ray"
    ray.write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    ray.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "METADATA_URL": metadata_url,
        "POLL_SECONDS": "0.05",
    }
    watcher = subprocess.Popen(["bash", str(CLUSTER / "watch_preemption.sh"), provider, "head:6379"], env=environment)
    try:
        time.sleep(0.5)
        assert watcher.poll() is None
        assert not said.exists()
        Metadata.notice.set()
        assert watcher.wait(timeout=10) == 0
        words = said.read_text().split()
        assert words[:2] == ["drain-node", "--address=head:6379"]
        assert "--reason=DRAIN_NODE_REASON_PREEMPTION" in words
        assert f"--deadline-remaining-seconds={seconds}" in words
    finally:
        watcher.kill()
        watcher.wait()


def test_an_unknown_provider_is_said_at_once() -> None:
    done = subprocess.run(
        ["bash", str(CLUSTER / "watch_preemption.sh"), "azure", "h:1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert done.returncode == 2
    assert "azure" in done.stderr
