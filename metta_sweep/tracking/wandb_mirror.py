"""The mirror: replays what is in the registry and on disk into WandB. Live mirroring and `sync` are this one class.

A run's cursor moves only when WandB has confirmed the run (`finish` returned). A mirror that is killed leaves the
cursor where it was, and the next one replays from there: the same rows have the same steps, so a server that already
has them drops them, and a torn offline folder is deleted.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import wandb

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import IMPORTED_FROM, ObservationRecord, RunRecord, RunState
from metta_sweep.tracking import presentation
from metta_sweep.tracking.cursor import Cursor, CursorFile
from metta_sweep.tracking.history import MetricsFile, Position, Times, new_rows
from metta_sweep.tracking.job import MirrorJob

logger = logging.getLogger(__name__)

# WandB refused a run or could not be reached. Whatever else it raises ends the process, which starts afresh after a
# pause.
WANDB_FAILURES = (wandb.Error, OSError)
RETRY_SECONDS = 60.0
CHECK_SECONDS = 0.2
# Summary key that says how much WandB must have: `finish` returns before an offline file is written and even when the
# server refused every row.
RECEIPT = "mirror_receipt"
BLOCK_BYTES, BLOCK_HEADER_BYTES = 32768, 7


@dataclass(slots=True)
class OpenRun:
    """A run that WandB shows as running."""

    wandb_run: Any
    metrics: MetricsFile
    points: MetricsFile
    position: Position
    times: Times = field(default_factory=Times)


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did: runs that WandB confirmed, runs that it had already, and why others have to be tried again."""

    mirrored: tuple[str, ...] = ()
    up_to_date: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)


class Mirror:
    """Replays one sweep into WandB.

    Args:
        registry: only read.
        environ: decides the server.
        replay: take nothing for confirmed and send everything again.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        job: MirrorJob,
        registry: Registry,
        environ: Mapping[str, str],
        *,
        replay: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._registry = registry
        self._sweep = registry.get_sweep(job.sweep_name)
        self._destination = job.destination(environ)
        self._replay = replay
        self._clock = clock
        self._open: dict[str, OpenRun] = {}
        self._owed: dict[str, ObservationRecord] = {}
        self._sequence = 0
        self._retry_at: dict[str, float] = {}

    def live_pass(self) -> PassReport:
        """Send what is new of the runs whose directory is here; a run that failed rests for `RETRY_SECONDS`."""
        self._owe(lambda record: self._job.run_directory(record.run_id).is_dir())
        failed: dict[str, str] = {}
        for run in self._registry.runs(self._job.sweep_name, states=(RunState.RUNNING,)):
            if self._job.run_directory(run.id).is_dir():
                failed |= self._guarded(run.id, partial(self._stream, run))
        report = self._settle()
        return replace(report, failed={**failed, **report.failed})

    def sync(self) -> PassReport:
        """Bring every finished run of the sweep to WandB, wherever it ran, but those that were imported from there."""
        self._owe(lambda record: True)
        return self._settle()

    def close(self) -> None:
        """End the runs that are still open; WandB shows them as preempted until their next attempt."""
        for run_id, open_run in list(self._open.items()):
            self._guarded(run_id, partial(self._leave, run_id, open_run))

    def _owe(self, wanted: Callable[[ObservationRecord], bool]) -> None:
        """Note new observations; of a run that was retried only the last one counts."""
        for record in self._registry.observations(self._job.sweep_name, after=self._sequence):
            self._sequence = record.sequence
            if wanted(record):
                self._owed[record.run_id] = record

    def _settle(self) -> PassReport:
        mirrored: list[str] = []
        failed: dict[str, str] = {}
        up_to_date = 0
        for run_id, record in list(self._owed.items()):
            is_confirmed = self._cursor(run_id).sequence >= record.sequence
            if is_confirmed or IMPORTED_FROM in self._registry.get_run(run_id).explanation:
                up_to_date += 1
            elif problem := self._guarded(run_id, partial(self._finish, record)):
                failed |= problem
                continue
            else:
                mirrored.append(run_id)
            del self._owed[run_id]
        return PassReport(tuple(mirrored), up_to_date, failed)

    def _stream(self, run: RunRecord, record: ObservationRecord | None = None) -> OpenRun:
        """Send the run's new rows, opening it in WandB first if need be; `record` when it ended."""
        open_run = self._open.get(run.id) or self._start(run)
        self._open[run.id] = open_run
        curve, metrics = self._registry.curve(run.id), open_run.metrics.read_new()
        open_run.times.note([*metrics, *open_run.points.read_new()])
        open_run.times.span = span_of(run, record)
        for row in new_rows(metrics, curve, open_run.position, open_run.times):
            moment = {} if row.time is None else {"_timestamp": row.time}
            open_run.wandb_run.log({**row.values, **moment}, step=row.step, commit=True)
            open_run.position = row.position
        return open_run

    def _finish(self, record: ObservationRecord) -> None:
        """Send all that is known of a run that ended, and wait for WandB's word."""
        run = self._registry.get_run(record.run_id)
        open_run = self._stream(run, record)
        for key, value in presentation.summary(run, record).items():
            open_run.wandb_run.summary[key] = value
        self._confirm(run.id, open_run, presentation.exit_code(record.observation), record.sequence)

    def _leave(self, run_id: str, open_run: OpenRun) -> None:
        open_run.wandb_run.mark_preempting()
        self._confirm(run_id, open_run, 1, self._cursor(run_id).sequence)

    def _confirm(self, run_id: str, open_run: OpenRun, exit_code: int, sequence: int) -> None:
        wandb_run = open_run.wandb_run
        folder, path = Path(wandb_run.settings.sync_dir), wandb_run.path
        receipt = f"mirrored:{sequence}.{open_run.position.step}"
        wandb_run.summary[RECEIPT] = receipt
        del self._open[run_id]  # whatever happens now, this handle is used up
        wandb_run.finish(exit_code=exit_code)
        confirmed = self._cursor(run_id).directories
        if self._job.mode == "offline":
            self._wait_for(lambda: receipt in offline_text(folder), f"{folder} is incomplete")
            confirmed = (*confirmed, folder.name)
        else:
            api = wandb.Api(timeout=int(self._job.finish_seconds) + 1)
            self._wait_for(
                lambda: read_summary(api, path).get(RECEIPT) == receipt,
                "the server does not show the whole run; was its project deleted?",
            )
        self._cursors(run_id).save(self._destination, Cursor(open_run.position, sequence, confirmed))

    def _wait_for(self, is_there: Callable[[], bool], complaint: str) -> None:
        deadline = self._clock() + self._job.finish_seconds
        while not is_there():
            if self._clock() > deadline:
                raise TimeoutError(f"{complaint} (after {self._job.finish_seconds:.0f} s)")
            time.sleep(CHECK_SECONDS)

    def _start(self, run: RunRecord) -> OpenRun:
        directory = self._job.run_directory(run.id)
        cursor = self._cursor(run.id)
        if self._job.mode == "offline":
            self._delete_torn(run.id, cursor)
        directory.mkdir(parents=True, exist_ok=True)
        wandb_run = wandb.init(
            id=run.id,
            name=run.id,
            group=run.sweep,
            job_type=run.phase or None,
            entity=self._job.entity or None,
            project=self._job.project,
            tags=presentation.tags(self._sweep, self._job.tags),
            dir=str(directory),
            mode="offline" if self._job.mode == "offline" else "online",
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,  # it would describe this process, not the run
                finish_timeout=self._job.finish_seconds,
                finish_timeout_raises=True,
            ),
        )
        wandb_run.config.update(presentation.config(run), allow_val_change=True)
        wandb_run.define_metric("curve/*", step_metric="curve/env_steps")
        metrics, points = (MetricsFile(directory / name) for name in ("metrics.jsonl", "curve.jsonl"))
        return OpenRun(wandb_run, metrics, points, cursor.position)

    def _delete_torn(self, run_id: str, cursor: Cursor) -> None:
        """Offline folders that no mirror confirmed: all that is in them will be written again."""
        for folder in (self._job.run_directory(run_id) / "wandb").glob("offline-run-*"):
            if folder.name not in cursor.directories:
                logger.info("%s: replaces the unfinished copy %s", run_id, folder.name)
                shutil.rmtree(folder)

    def _cursor(self, run_id: str) -> Cursor:
        return Cursor() if self._replay else self._cursors(run_id).load(self._destination)

    def _cursors(self, run_id: str) -> CursorFile:
        return CursorFile(self._job.run_directory(run_id) / "wandb")

    def _guarded(self, run_id: str, action: Callable[[], object]) -> dict[str, str]:
        """Do it, or say by run id why WandB failed and let the run rest; its next try starts from the cursor."""
        if self._clock() < self._retry_at.get(run_id, 0.0):
            return {run_id: "failed a moment ago"}
        try:
            action()
        except WANDB_FAILURES as error:
            logger.warning("%s: WandB failed, next try in %.0f s: %s", run_id, RETRY_SECONDS, error)
            self._open.pop(run_id, None)
            self._retry_at[run_id] = self._clock() + RETRY_SECONDS
            return {run_id: str(error)}
        return {}


def span_of(run: RunRecord, record: ObservationRecord | None) -> tuple[float, float, int] | None:
    """When a run that ended began to train and stopped doing so, as far as the registry knows, and its env steps."""
    if record is None or run.started_at is None:
        return None
    end = run.ended_at or record.created_at
    return run.started_at, max(end, run.started_at), record.observation.env_steps


def read_summary(api: Any, path: str) -> Mapping[str, Any]:
    """Summary of a run as its server has it now; empty when there is no such run."""
    api.flush()
    try:
        summary: Mapping[str, Any] = api.run(path).summary
    except ValueError:  # WandB's word for an unknown run
        return {}
    return summary


def offline_text(folder: Path) -> str:
    """What an offline folder's log holds, its records joined over the log's blocks."""
    data = b"".join(path.read_bytes() for path in folder.glob("*.wandb"))
    blocks = (data[start + BLOCK_HEADER_BYTES : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES))
    return b"".join(blocks).decode(errors="replace")
