"""What a mirror has to know, and where it writes: plain values that travel to its own process as JSON."""

from __future__ import annotations

import json
import netrc
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from metta_sweep.errors import ConfigError, WandbUnreachable

if TYPE_CHECKING:
    from metta_sweep.config.job import SweepJob

DEFAULT_SERVER = "https://api.wandb.ai"
CONNECT_SECONDS = 5.0  # a guess: a server that is there answers sooner, and a person waits


@dataclass(frozen=True, slots=True)
class MirrorJob:
    """One sweep and its place in WandB.

    Attributes:
        sweep_name: also the WandB group.
        data_dir: absolute directory that holds registry and runs.
        sweep_server_uri: registry service; None = the SQLite file under `data_dir`.
        mode: online, offline or off, as resolved by `resolve_mode`.
        entity: WandB entity; "" = the key's default.
        project: WandB project.
        tags: the user's own tags.
        poll_seconds: how often a live mirror looks for news.
        finish_seconds: how long WandB may take to confirm one run.
        shutdown_seconds: how long it may go on after it should stop.
    """

    sweep_name: str
    data_dir: Path
    sweep_server_uri: str | None
    mode: str
    entity: str = ""
    project: str = "metta"
    tags: tuple[str, ...] = ()
    poll_seconds: float = 2.0
    finish_seconds: float = 20.0
    shutdown_seconds: float = 30.0

    @classmethod
    def of(cls, job: SweepJob, environ: Mapping[str, str]) -> MirrorJob:
        """The mirror of a sweep, in the mode that this environment allows."""
        wandb, where = job.wandb, (job.sweep_name, job.data_dir, job.settings.sweep_server_uri)
        return cls(*where, resolve_mode(wandb.mode, environ), wandb.entity, wandb.project, wandb.tags)

    @property
    def directory(self) -> Path:
        """`{data_dir}/sweep/{sweep_name}`."""
        return self.data_dir / "sweep" / self.sweep_name

    def run_directory(self, run_id: str) -> Path:
        return self.directory / "runs" / run_id

    @property
    def log_path(self) -> Path:
        """Where the mirror and WandB itself write what they have to say."""
        return self.directory / "wandb_mirror.log"

    def destination(self, environ: Mapping[str, str]) -> str:
        """Name of the place that cursors count for."""
        if self.mode == "offline":
            return "offline"
        return f"{environ.get('WANDB_BASE_URL', DEFAULT_SERVER).rstrip('/')}/{self.entity}/{self.project}"

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "data_dir": str(self.data_dir)})

    @classmethod
    def from_json(cls, text: str) -> MirrorJob:
        fields = json.loads(text)
        return cls(**{**fields, "data_dir": Path(fields["data_dir"]), "tags": tuple(fields["tags"])})


def resolve_mode(mode: str, environ: Mapping[str, str]) -> str:
    """`auto` follows WANDB_MODE when it is set, else is online with a key (WANDB_API_KEY or netrc) and offline without.

    Raises:
        ConfigError: an unknown mode.
    """
    from metta_sweep.config.environment import MODES, wandb_mode  # Hydra comes with it, which the mirror does without

    if mode not in MODES:
        raise ConfigError(f"wandb.mode: need one of {', '.join(MODES)}, got {mode!r}")
    if mode != "auto":
        return mode
    return wandb_mode(environ) or ("online" if has_key(environ) else "offline")


def check_wandb_answers(environ: Mapping[str, str]) -> None:
    """Raises `WandbUnreachable` when nobody listens where WandB's server should be; its client would try for minutes.

    Behind a proxy that the environment names, only the client itself can tell.
    """
    server = environ.get("WANDB_BASE_URL", DEFAULT_SERVER)
    parts = urlsplit(server)
    if getproxies().get(parts.scheme) or not parts.hostname:
        return
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        advice = "nothing was sent, and nothing is lost: the same command sends it when there is a network"
        raise WandbUnreachable(f"WandB at {server} does not answer ({error}); {advice}") from error


def has_key(environ: Mapping[str, str]) -> bool:
    """Whether WandB would find a key for its server, without importing WandB."""
    if environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(environ.get("WANDB_BASE_URL", DEFAULT_SERVER)).hostname or ""
    path = Path(environ.get("NETRC") or Path(environ.get("HOME", "~")).expanduser() / ".netrc")
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
