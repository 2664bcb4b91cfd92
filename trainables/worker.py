"""One rank, living in one process for many runs: joins the group, trains, evaluates.

Knows nothing of Ray; `worker_group.py` makes an actor of it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import psutil
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore  # the public name is not typed

from trainables import checkpoint as checkpoints
from trainables.checkpoint import Checkpoint
from trainables.distributed import DistributedContext
from trainables.environments.workers import EnvironmentWorkers
from trainables.errors import CodeFailure, InfrastructureFailure
from trainables.failures import Failure, classify
from trainables.last_words import note_exits
from trainables.messages import EvaluatedShare, RankAssignment, RankPlace, Rendezvous, RunRequest, Trained
from trainables.metering import Meter
from trainables.ppo.policy import Policy
from trainables.ppo.trainer import make_policy
from trainables.pulse import Beat, Pulse
from trainables.rank_run import RankRun
from trainables.result import Progress
from trainables.run_files import output_to
from trainables.simulation import replay
from trainables.simulation.aggregate import PlayedEpisode, metrics
from trainables.simulation.play import Share, play
from trainables.spec import RunSpec

logger = logging.getLogger(__name__)
T = TypeVar("T")


class RankWorker:
    """State that survives from run to run: the process group, loaded modules and the processes that step environments.
    Everything else is made anew.
    """

    def __init__(self) -> None:
        note_exits()
        self._context = DistributedContext()
        self._environments = EnvironmentWorkers()
        # The first run pays for the imports.
        self._meter: Meter | None = Meter.from_process_start("setup", self._cpu_seconds)
        self._store: TCPStore | None = None
        self._stop = threading.Event()
        self._progress = ProgressBox()
        self._pulse = Pulse()
        self._policy: tuple[str, Policy] | None = None

    def place(self, node: str, address: str) -> RankPlace:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return RankPlace(node, socket.gethostname(), address, os.getpid(), tuple(gpus.split(",")) if gpus else ())

    def open_rendezvous(self, rendezvous: Rendezvous, world_size: int) -> int:
        """Rank 0 listens on a port that the system picks and keeps it open: nobody can take it before the others
        come.

        The store serves whoever connects, and by itself listens on every address of the node: here on the one alone
        at which the ranks meet, which is the loopback interface on a Ray of the sweep's own.
        """
        timeout = timedelta(seconds=rendezvous.timeout_seconds)
        family = socket.AF_INET6 if ":" in rendezvous.address else socket.AF_INET
        with socket.socket(family) as listener:
            listener.bind((rendezvous.address, 0))
            port = int(listener.getsockname()[1])
            self._store = TCPStore(
                rendezvous.address,
                port,
                world_size,
                is_master=True,
                wait_for_workers=False,
                timeout=timeout,
                master_listen_fd=listener.detach(),  # the store closes it
            )
        return port

    def free_port(self) -> int:
        """A port of this node that is free now."""
        with socket.socket() as listener:
            listener.bind(("", 0))
            return int(listener.getsockname()[1])

    def join(self, assignment: RankAssignment, rendezvous: Rendezvous) -> None:
        """Joins the group of ranks; returns when all have."""
        torch.set_num_threads(1)  # two threads on busy cores were 8 to 25 times slower
        device = device_for(assignment.device, assignment.gpus_per_worker, assignment.local_rank)
        guard_memory(device, assignment.gpus_per_worker)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._context = DistributedContext(assignment.rank, assignment.local_rank, assignment.world_size, device)
        size = assignment.world_size
        if size == 1:
            return
        timeout = timedelta(seconds=rendezvous.timeout_seconds)
        if dist.is_initialized():  # an earlier attempt got this far on some ranks
            dist.destroy_process_group()
        store = self._store if assignment.rank == 0 else None
        if store is None:
            place = (rendezvous.address, rendezvous.port, size)
            store = TCPStore(*place, is_master=False, wait_for_workers=False, timeout=timeout)
        _use_interface_of(rendezvous.address)
        # Costs and decisions lie on the host, which NCCL does not serve.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=assignment.rank, world_size=size, timeout=timeout)
        # Ranks that have played wait for those that still play; whether these hang is seen by who asks for their beats.
        patient = dist.new_group(backend="gloo", timeout=timedelta(days=1))
        self._context = replace(self._context, patient=patient)

    def train(self, request: RunRequest) -> Trained | Failure:
        """Trains the run to its end, or until `request_stop`."""
        os.umask(request.umask)
        request.claim_directory()  # nodes may have disks of their own
        return self._guarded(request, lambda: self._train(request))

    def _train(self, request: RunRequest) -> Trained:
        meter = self._begin(request)
        self._stop.clear()
        self._pulse.beat()
        self._progress.take()

        def keep(policy: Policy) -> None:
            self._policy = (request.mark["hash"], policy)

        run = RankRun(
            request, self._context, meter, self._stop, self._progress.put, self._pulse, keep, self._environments
        )
        return run.train()

    def evaluate(self, request: RunRequest) -> EvaluatedShare | Failure:
        """Plays this rank's share of the held-out episodes with the policy at the end of training."""
        return self._guarded(request, lambda: self._evaluate(request))

    def _evaluate(self, request: RunRequest) -> EvaluatedShare:
        spec, meter = request.spec, self._begin(request)
        meter.switch("evaluate")
        self._pulse.beat()
        if self._policy is None or self._policy[0] != request.mark["hash"]:
            found = checkpoints.load_newest(request.files.checkpoints)
            self._policy = (request.mark["hash"], load_policy(spec, self._context, found))
        share = Share(self._context.rank, self._context.world_size)
        directory = spec.trainer.simulation.replay_dir if self._context.is_main else ""
        trajectories: dict[str, replay.Trajectory] | None = {} if directory else None
        episodes = play(spec.suite, self._policy[1], share, trajectories, self._pulse, self._environments)
        self._pulse.beat()
        if trajectories is not None:
            paths = replay.write(request.files.directory / directory, spec.run, spec.suite, trajectories)
            logger.info("replays: %s", ", ".join(map(str, paths)))
        meter.stop()
        return EvaluatedShare(tuple(episodes), meter.spent())

    def measure(self, request: RunRequest, episodes: list[PlayedEpisode]) -> dict[str, float] | Failure:
        """All metrics of the whole evaluation."""
        suite = request.spec.suite
        self._pulse.beat(suite.name)
        return self._guarded(request, lambda: metrics(suite, episodes))

    def _begin(self, request: RunRequest) -> Meter:
        torch.set_num_threads(1)  # per thread of this process, and Ray calls from any
        meter, self._meter = self._meter or Meter("setup", cpu=self._cpu_seconds), None
        spec = request.spec
        spec.load_plugins()
        self._environments.resize(spec.trainer.num_workers if spec.kind.plays_suite else 0, spec.plugins)
        return meter

    def _guarded(self, request: RunRequest, work: Callable[[], T]) -> T | Failure:
        """Runs the work with its output in the rank's log; an exception becomes data: it ends the run, not us."""
        os.umask(request.umask)
        with output_to(request.files.log(self._context.rank)):
            try:
                return work()
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # a trial ends here
                if hasattr(error, "ray_terminate_msg"):  # Ray's own SystemExit: somebody ends this process
                    raise
                sys.stderr.flush()
                said = last_line(request.files.log_tail(self._context.rank)) if isinstance(error, SystemExit) else ""
                logger.exception("rank %d failed", self._context.rank)
                return classify(error, said)
            finally:
                self._pulse.rest()
                give_memory_back()

    def request_stop(self) -> None:
        """Ends training after the current update, with a checkpoint."""
        self._stop.set()

    def poll(self) -> list[Progress]:
        """What is new since the last call: every curve point, and the latest progress."""
        return self._progress.take()

    def beat(self) -> Beat:
        """What this rank does, and since when it has not come forward."""
        return replace(self._pulse.read(), waiting_for=self._environments.waiting_for)

    def memory_bytes(self) -> int:
        """Resident memory of this process and of those that step its environments."""
        return int(psutil.Process().memory_info().rss) + self._environments.memory_bytes()

    def _cpu_seconds(self) -> float:
        return time.process_time() + self._environments.cpu_seconds()


class ProgressBox:
    """Hands progress from the training thread to whoever polls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Progress] = []

    def put(self, progress: Progress) -> None:
        with self._lock:
            self._waiting = [earlier for earlier in self._waiting if earlier.point is not None] + [progress]

    def take(self) -> list[Progress]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting


def load_policy(spec: RunSpec, context: DistributedContext, checkpoint: Checkpoint | None) -> Policy:
    """The policy of a checkpoint.

    Raises:
        InfrastructureFailure: there is none.
    """
    if checkpoint is None:
        raise InfrastructureFailure("no checkpoint to evaluate; train the run first")
    policy = make_policy(spec, context, spec.suite.simulations[0].family.describe())
    policy.load_state_dict(dict(checkpoint.policy))
    return policy


def device_for(wanted: str, gpus: float, local_rank: int) -> torch.device:
    """Device of a rank.

    Raises:
        CodeFailure: a GPU is asked for and this process sees none.
    """
    use_gpu = wanted == "cuda" or (wanted == "auto" and gpus > 0)
    if not use_gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        remedy = "install a CUDA build of torch or use device=cpu"
        raise CodeFailure(f"device: {wanted} with a GPU reserved, but torch sees none here; {remedy}")
    # Ray shows each worker its own GPUs only; a launcher that shows all of them needs the local rank.
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def guard_memory(device: torch.device, gpus: float) -> None:
    """Runs that share a GPU get their share of its memory: one that wants more fails alone, as "hyperparameters"."""
    if device.type == "cuda" and 0.0 < gpus < 1.0:
        torch.cuda.set_per_process_memory_fraction(gpus, device)


def give_memory_back() -> None:
    """Returns what a run freed to the system, where the allocator can (glibc): a rollout's buffer that lies below
    something that lives on would stay in a warm worker.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def last_line(text: str) -> str:
    """The last line with something in it; argparse prints its complaint there and ends with a number."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _use_interface_of(address: str) -> None:
    """Tells gloo and NCCL at which network interface the ranks meet; host names may resolve to another."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
