"""Sweeps as jobs of a cluster: what is shipped, and Ray's job API."""

from __future__ import annotations

import json
import logging
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metta_sweep.capacity import PROMISED_NODES, Node
from metta_sweep.config.files import packaged_configs
from metta_sweep.errors import ClusterError, ConfigError
from metta_sweep.launch.cluster_files import python_of, worker_nodes
from trainables.ray_internals import PACKAGING_LOGGERS

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

SWEEP_KEY = "sweep"
TALKATIVE = (*PACKAGING_LOGGERS, "ray.dashboard.modules.dashboard_sdk")  # they tell of every ignored file
API_ADDRESS = "RAY_API_SERVER_ADDRESS"
# Environments, histories, data and caches: large, and of no use to a run. A leading `/` means the shipped directory
# itself: configs/env stays.
EXCLUDES = (
    *(".git", ".hg", ".svn", ".venv", "/venv", "/env", "node_modules", "__pycache__", "*.pyc", "*.egg-info"),
    *("/build", "/dist", "/train_dir", "/outputs", "/wandb", "/artifacts", "*.db", "*.pt", "*.ckpt"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"),
)
# What a run needs to reach WandB and the registry; passed on in the job's environment, written nowhere.
PASSED_ON = (
    *("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE", "WANDB_TAGS"),
    *("METTA_SWEEP_TOKEN", "HYDRA_FULL_ERROR", "NUM_GPUS", "NUM_CPUS"),
)
# A head that has just started takes no jobs for a few seconds, and says so in these words.
NO_AGENT = "No available agent"
AGENT_SECONDS = 60.0
CLUSTER_DATA_DIR = "/shared/metta_sweep"


@dataclass(frozen=True, slots=True)
class Submission:
    """One job.

    Attributes:
        sweep_name: of the sweep.
        entrypoint: command line on the head.
        runtime_env: what is shipped and the environment, as Ray takes it.
    """

    sweep_name: str
    entrypoint: str
    runtime_env: Mapping[str, Any]


def make_submission(
    sweep_name: str, overrides: Sequence[str], code: Path, environ: Mapping[str, str], config: Mapping[str, Any] | None
) -> Submission:
    """The job that runs a sweep on a cluster.

    Args:
        overrides: of `run`; `data_dir` becomes the cluster's shared directory unless one is given.
        code: working directory that is shipped.
        environ: environment of the user.
        config: the cluster's file, None when others keep it: `auto` in the configuration means the size of its workers.

    Raises:
        ConfigError: our own packages cannot be shipped from there.
    """
    words = list(overrides)
    if not any(word.lstrip("+").startswith("data_dir=") for word in words):
        words.append(f"data_dir={CLUSTER_DATA_DIR}")
    passed_on = {name: environ[name] for name in PASSED_ON if environ.get(name)}
    environment = environment_of(worker_nodes(config) if config else []) | passed_on
    shipped = {"working_dir": str(code), "excludes": list(EXCLUDES), "env_vars": environment}
    if packages := packages_outside(code):
        shipped["py_modules"] = [str(path) for path in packages]
    python = python_of(config) if config else "python"
    return Submission(sweep_name, f"{python} -m metta_sweep.cli.head {shlex.join(words)}", shipped)


def environment_of(nodes: Sequence[Node]) -> dict[str, str]:
    """What `auto` in the configuration means for these workers, and how many may come; empty where only Ray knows."""
    if not nodes:
        return {}
    size = nodes[0].resources
    return {
        "NUM_CPUS": f"{size['CPU']:.0f}",
        "NUM_GPUS": f"{size.get('GPU', 0):.0f}",
        PROMISED_NODES: json.dumps([asdict(node) for node in nodes]),
    }


def packages_outside(code: Path) -> list[Path]:
    """Our three packages when the shipped directory does not hold them.

    Raises:
        ConfigError: they come from a checkout elsewhere, whose `configs/` would stay behind.
    """
    root = Path(__file__).resolve().parents[2]
    if (code / "metta_sweep" / "launch").is_dir():
        return []
    if packaged_configs().parent == root:
        raise ConfigError(
            f"{code}: does not hold metta_sweep, which comes from the checkout {root}; run the command there, or "
            "install metta_sweep as a wheel"
        )
    return [root / name for name in ("metta_sweep", "searchers", "trainables")]


@contextmanager
def job_client(address: str, token: str) -> Iterator[JobSubmissionClient]:
    """Ray's job API at this address.

    Raises:
        ClusterError: it does not answer, refuses the token, or says no to a request inside the block.
    """
    from ray.job_submission import JobSubmissionClient

    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Ray reads RAY_ADDRESS even when it is told an address; this variable alone comes first.
    before = os.environ.get(API_ADDRESS)
    os.environ[API_ADDRESS] = address
    try:
        yield JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"} if token else None)
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(f"Ray's job API at {address}: {error}") from error
    finally:
        os.environ.pop(API_ADDRESS)
        if before is not None:
            os.environ[API_ADDRESS] = before


def submit(client: JobSubmissionClient, submission: Submission) -> str:
    """Start the job; it goes on when this machine goes away. Returns its id.

    Raises:
        ConfigError: the sweep runs on this cluster already.
    """
    name = submission.sweep_name
    before = [job for job in sweep_jobs(client) if job.metadata[SWEEP_KEY] == name]
    for job in filter(is_running, before):
        where = f"job {job.submission_id} runs it on this cluster already"
        raise ConfigError(f"sweep_name={name}: {where}; see `cluster status`")
    job_id = f"{name}-{len(before) + 1}"
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            client.submit_job(
                entrypoint=submission.entrypoint,
                submission_id=job_id,
                runtime_env=dict(submission.runtime_env),
                metadata={SWEEP_KEY: name},
            )
            return job_id
        except RuntimeError as error:
            if NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def sweep_jobs(client: JobSubmissionClient) -> list[JobDetails]:
    """Jobs of this cluster that run or ran sweeps, oldest first."""
    jobs = [job for job in client.list_jobs() if job.submission_id and SWEEP_KEY in (job.metadata or {})]
    return sorted(jobs, key=lambda job: job.start_time or 0)


def is_running(job: JobDetails) -> bool:
    return not job.status.is_terminal()


def follow(client: JobSubmissionClient, job_id: str, poll_seconds: float = 1.0) -> Iterator[str]:
    """The job's output as it comes, until the job ends."""
    shown = 0
    while True:
        ended = client.get_job_status(job_id).is_terminal()
        logs = client.get_job_logs(job_id)
        if len(logs) > shown:
            yield logs[shown:]
            shown = len(logs)
        if ended:
            return
        time.sleep(poll_seconds)
