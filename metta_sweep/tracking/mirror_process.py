"""The mirror in a process of its own, so that neither WandB's server nor its library can hold up a sweep.

The parent holds the other end of the child's standard input: when it closes it, the child makes a last pass and ends
within `shutdown_seconds`; when it dies, within 5 s. One lock per sweep directory keeps two mirrors from writing at the
same time.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import metta_sweep
from metta_sweep.errors import RegistryError, SweepError
from metta_sweep.tracking.job import MirrorJob

if TYPE_CHECKING:
    from metta_sweep.tracking.wandb_mirror import Mirror

logger = logging.getLogger(__name__)

INIT_TIMEOUT_SECONDS = "30"
LOCK_POLL_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 5.0
LAST_PAUSE_SECONDS = 300.0
LET_GO = b"let go\n"  # what a parent says that waits for the last pass; one that died says nothing
ORPHAN_SECONDS = 5.0
BUSY = 75  # EX_TEMPFAIL of sysexits.h


class MirrorBusy(SweepError):
    """Another process mirrors this sweep on this machine right now."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `sync` did.

    Attributes:
        mode: online, offline or off.
        mirrored: runs that WandB has confirmed now.
        up_to_date: runs that it had already.
        failed: reason by run id.
    """

    mode: str
    mirrored: tuple[str, ...] = ()
    up_to_date: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)


class MirrorProcess:
    """Live mirror of one sweep: `with MirrorProcess(job):`, or `start()` and `stop()`. Does nothing in mode `off`.

    A child that ends by itself has met something it could not handle; it is started afresh after a pause.
    """

    def __init__(self, job: MirrorJob) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the present child, also its process group; None before `start` and in mode `off`."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Returns at once; WandB is imported in the child."""
        if self._job.mode == "off" or self._process is not None:
            return
        self._process = _spawn(self._job, "live", stdout=None)
        threading.Thread(target=self._keep_alive, name="wandb-mirror", daemon=True).start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """Let the child make its last pass, and kill it when it takes longer. Returns whether it ended well.

        What could not be sent stays for the next `run` or `sync`.

        Args:
            timeout_seconds: None = the job's `shutdown_seconds`.
        """
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is None:
            return True
        _close_input(process, LET_GO)
        try:
            is_done = process.wait(self._job.shutdown_seconds if timeout_seconds is None else timeout_seconds) == 0
        except subprocess.TimeoutExpired:
            _kill(process)
            is_done = False
        if not is_done:
            logger.warning("the WandB mirror did not end well; `sync` sends the rest (see %s)", self._job.log_path)
        return is_done

    def _keep_alive(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while self._process is not None:
            code = self._process.wait()
            if self._stopping.wait(pause_seconds):
                return
            logger.info("the WandB mirror ended with code %d, starting it again (see %s)", code, self._job.log_path)
            pause_seconds = min(2 * pause_seconds, LAST_PAUSE_SECONDS)
            with self._lock:
                if self._stopping.is_set():
                    return
                _close_input(self._process)
                self._process = _spawn(self._job, "live", stdout=None)

    def __enter__(self) -> MirrorProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def sync(job: MirrorJob, *, replay: bool = False) -> SyncReport:
    """Bring every finished run of the sweep to WandB and wait for it, in a process of its own.

    Args:
        replay: forget what was confirmed and send everything again, as after a project was deleted.

    Raises:
        MirrorBusy: a live mirror of this sweep runs on this machine; it sends the runs itself.
        SweepError: the process failed; its log says why.
    """
    if job.mode == "off":
        return SyncReport("off")
    with _spawn(job, "replay" if replay else "sync", stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            output = process.stdout.read()  # its standard input stays open: the child ends when we do
            process.wait()
        except BaseException:
            _kill(process)
            raise
    if process.returncode == BUSY:
        advice = "wait for it, or stop the sweep"
        raise MirrorBusy(f"{job.sweep_name}: another process mirrors this sweep to WandB right now; {advice}")
    if process.returncode != 0:
        raise SweepError(f"{job.sweep_name}: the mirror ended with code {process.returncode}; see {job.log_path}")
    fields = json.loads(output.splitlines()[-1])
    return SyncReport(job.mode, tuple(fields["mirrored"]), fields["up_to_date"], fields["failed"])


def _spawn(job: MirrorJob, task: str, stdout: int | None) -> subprocess.Popen[bytes]:
    """Start the child, its noise in the log file, in a session of its own so that Ctrl-C does not reach it."""
    job.directory.mkdir(parents=True, exist_ok=True)
    source = str(Path(metta_sweep.__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}
    environ.setdefault("WANDB_INIT_TIMEOUT", INIT_TIMEOUT_SECONDS)
    environ.setdefault("WANDB_ERROR_REPORTING", "false")  # WandB's reports about itself go to its makers
    environ.pop("WANDB_MODE", None)  # decided already; WandB would prefer it over what we say
    environ.pop("WANDB_SERVICE", None)  # of a driver that uses WandB itself: the runs that it has open are in use
    with job.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "metta_sweep.tracking.mirror_process", task],
            stdin=subprocess.PIPE,
            stdout=log if stdout is None else stdout,
            stderr=log,
            start_new_session=True,
            env=environ,
        )
    assert process.stdin is not None
    process.stdin.write(job.to_json().encode() + b"\n")
    process.stdin.flush()
    return process


def _close_input(process: subprocess.Popen[bytes], last_word: bytes = b"") -> None:
    if process.stdin is None or process.stdin.closed:
        return
    with suppress(BrokenPipeError), process.stdin:  # it may have ended by itself
        process.stdin.write(last_word)


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def sweep_lock(directory: Path) -> Iterator[bool]:
    """Hold the sweep's mirror lock; yields False when somebody else has it.

    The system frees it when the holder dies.
    """
    with (directory / "wandb_mirror.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main(task: str) -> int:
    """The child: reads its job as one line, then works until its standard input ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    job = MirrorJob.from_json(sys.stdin.readline())
    stop = threading.Event()
    threading.Thread(target=_watch_parent, args=(stop, job.shutdown_seconds), daemon=True).start()
    if task == "live":
        return _live(job, stop)
    with sweep_lock(job.directory) as mine:
        if not mine:
            return BUSY
        report = _open_mirror(job, replay=task == "replay").sync()
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0


def _open_mirror(job: MirrorJob, *, replay: bool = False) -> Mirror:
    # Imported here: the parent uses this module, too, and WandB takes a second to import.
    from metta_sweep.registry.open import open_registry
    from metta_sweep.tracking.wandb_mirror import Mirror

    return Mirror(job, open_registry(job.data_dir, job.sweep_server_uri), os.environ, replay=replay)


def _live(job: MirrorJob, stop: threading.Event) -> int:
    """Wait for the sweep's lock, then mirror until it should stop."""
    while True:
        with sweep_lock(job.directory) as mine:
            if mine:
                return _mirror_until(stop, job)
        if stop.wait(LOCK_POLL_SECONDS):
            return 0


def _mirror_until(stop: threading.Event, job: MirrorJob) -> int:
    """Returns 0 when nothing is left to send."""
    mirror: Mirror | None = None
    is_last = is_complete = False
    while not is_last:
        is_last = stop.wait(job.poll_seconds)
        try:
            mirror = mirror or _open_mirror(job)
            is_complete = not mirror.live_pass().failed
        except RegistryError as error:  # the service is away, or the sweep is not registered yet
            logger.warning("registry: %s", error)
    if mirror is not None:
        mirror.close()
    return 0 if is_complete else 1


def _watch_parent(stop: threading.Event, shutdown_seconds: float) -> None:
    """Standard input ends when the parent asks for it or dies: from then on time is limited, an orphan's more so."""
    is_asked = sys.stdin.read().encode() == LET_GO
    stop.set()
    threading.Event().wait(shutdown_seconds if is_asked else min(shutdown_seconds, ORPHAN_SECONDS))
    os._exit(1)


def _run(task: str) -> None:
    """End without WandB's own exit handler, which would wait for its server after a failure; all is confirmed now."""
    code = 1
    try:
        # WandB makes temporary files at its import and removes them in an exit handler of its own.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            tempfile.tempdir = directory
            code = main(task)
    except Exception:  # a process ends here
        logger.exception("the mirror ends")
    finally:
        sys.stdout.flush()
        logging.shutdown()
        os._exit(code)


if __name__ == "__main__":
    _run(sys.argv[1])
