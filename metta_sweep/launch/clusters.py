"""Clusters brought up, reached and taken down, with Ray's launcher or kubectl; output goes to the user's terminal."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from metta_sweep.errors import ClusterError, ConfigError
from metta_sweep.launch.cluster_files import name_of, provider_of, start_option

logger = logging.getLogger(__name__)

RAY = (sys.executable, "-m", "ray.scripts.scripts")
SSH_OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
DASHBOARD_PORT = 8265
REACH_SECONDS = 60.0


class ProviderCluster(Protocol):
    """One cluster, described by a rendered file."""

    def up(self) -> None: ...

    def status(self) -> str:
        """Nodes and demand, as the provider's own tool says it."""

    def down(self) -> None: ...

    def token(self) -> str:
        """Ray's authentication token of this cluster."""

    def tunnel_command(self, port: int) -> list[str]:
        """A command that forwards the local port to the head's dashboard for as long as it runs."""


def open_cluster(path: Path) -> ProviderCluster:
    """The cluster that a rendered file describes.

    Raises:
        ConfigError: there is no such file.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path}: no such cluster; bring one up with `cluster up`, or name another with --name or --cluster-file"
        )
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if provider_of(config) == "kuberay":
        return KubernetesCluster(path, name_of(config), str(config["metadata"].get("namespace", "default")))
    if provider_of(config) == "local":
        return OwnCluster(path, config)
    return CloudCluster(path)


@dataclass(frozen=True, slots=True)
class CloudCluster:
    """Machines that Ray's launcher rents."""

    path: Path

    def up(self) -> None:
        ensure_token()
        execute([*RAY, "up", "--yes", "--no-config-cache", str(self.path)])

    def status(self) -> str:
        return captured([*RAY, "exec", str(self.path), "RAY_AUTH_MODE=token ray status"])

    def down(self) -> None:
        execute([*RAY, "down", "--yes", str(self.path)])

    def token(self) -> str:
        return token_path().read_text(encoding="utf-8").strip()

    def tunnel_command(self, port: int) -> list[str]:
        return [*RAY, "dashboard", str(self.path), "--port", str(port), "--remote-port", str(DASHBOARD_PORT)]


@dataclass(frozen=True, slots=True)
class OwnCluster(CloudCluster):
    """Machines of the user's own; going down ends this cluster's processes and no others."""

    config: dict[str, Any]

    def status(self) -> str:
        head, path = self.config["provider"]["head_ip"], start_option(self.config, "PATH=")
        address = f"{head}:{start_option(self.config, '--port=')}"
        return captured(self._ssh(head, f"RAY_AUTH_MODE=token PATH={path} ray status --address={address}"))

    def down(self) -> None:
        """The head first, for its autoscaler would bring workers back; `ray down` would end everybody's Ray there."""
        stop = self.config["head_start_ray_commands"][0].removesuffix("/head")
        for address in (self.config["provider"]["head_ip"], *self.config["provider"]["worker_ips"]):
            execute(self._ssh(address, stop))
        Path(f"/tmp/ray/cluster-{self.config['cluster_name']}.state").unlink(missing_ok=True)

    def tunnel_command(self, port: int) -> list[str]:
        head, remote = self.config["provider"]["head_ip"], start_option(self.config, "--dashboard-port=")
        forward = ("-o", "ExitOnForwardFailure=yes", "-L", f"{port}:127.0.0.1:{remote}")
        return self._ssh(head, "while true; do sleep 3600; done", *forward)

    def _ssh(self, address: str, command: str, *options: str) -> list[str]:
        auth = self.config["auth"]
        key = ["-i", os.path.expanduser(auth["ssh_private_key"])] if auth.get("ssh_private_key") else []
        known = [word for option in SSH_OPTIONS for word in ("-o", option)]
        return ["ssh", *known, *key, *options, f"{auth['ssh_user']}@{address}", command]


@dataclass(frozen=True, slots=True)
class KubernetesCluster:
    """A RayCluster object, kept by the KubeRay operator."""

    path: Path
    name: str
    namespace: str

    def up(self) -> None:
        execute(["kubectl", "apply", "--filename", str(self.path)])

    def status(self) -> str:
        return captured(self._kubectl("get", "raycluster,pods", "--selector", f"ray.io/cluster={self.name}"))

    def down(self) -> None:
        execute(["kubectl", "delete", "--filename", str(self.path)])

    def token(self) -> str:
        secret = json.loads(captured(self._kubectl("get", "secret", self.name, "--output", "json")))
        return base64.b64decode(secret["data"]["auth_token"]).decode()

    def tunnel_command(self, port: int) -> list[str]:
        return self._kubectl("port-forward", f"service/{self.name}-head-svc", f"{port}:{DASHBOARD_PORT}")

    def _kubectl(self, *words: str) -> list[str]:
        return ["kubectl", "--namespace", self.namespace, *words]


def execute(command: Sequence[str]) -> None:
    """Run a command in the user's terminal.

    Raises:
        ClusterError: it failed.
    """
    logger.info("%s", " ".join(command))
    done = subprocess.run(command, env=launch_environment(), check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(command)}` ended with {done.returncode}; its own message is above")


def captured(command: Sequence[str]) -> str:
    """What a command prints.

    Raises:
        ClusterError: it failed; with its message.
    """
    done = subprocess.run(command, env=launch_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        message = (done.stderr or done.stdout).strip()[-500:]
        raise ClusterError(f"`{' '.join(command)}` ended with {done.returncode}: {message}")
    return done.stdout


def launch_environment() -> dict[str, str]:
    """Clusters that we launch ask for a token."""
    return {"RAY_USAGE_STATS_ENABLED": "0", **os.environ, "RAY_AUTH_MODE": "token"}


def token_path() -> Path:
    """Where Ray looks for its token, and `ray up` takes it from."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def ensure_token() -> None:
    """Make Ray's token when there is none, readable by its owner only."""
    if token_path().exists():
        token_path().chmod(0o600)  # Ray's own command leaves it as open as the umask says
        return
    make = [*RAY, "get-auth-token", "--generate"]
    subprocess.run(make, env=launch_environment(), stdout=subprocess.DEVNULL, umask=0o077, check=True)


@contextmanager
def tunnel(cluster: ProviderCluster) -> Iterator[str]:
    """Address of the cluster's dashboard on this machine, for the length of the block.

    Raises:
        ClusterError: it cannot be reached.
    """
    port = free_port()
    command = cluster.tunnel_command(port)
    silent: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, env=launch_environment(), start_new_session=True, **silent)
    try:
        wait_for_dashboard(f"http://127.0.0.1:{port}", process, " ".join(command))
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_dashboard(address: str, process: subprocess.Popen[bytes], command: str) -> None:
    """Until it answers, if only to refuse us."""
    deadline = time.monotonic() + REACH_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
    raise ClusterError(f"the cluster's dashboard does not answer; is it up? (`cluster status`; tried `{command}`)")
