"""Our own training of one run on one rank: from the newest checkpoint to the end, or until it is asked to stop."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from trainables import checkpoint as checkpoints
from trainables.checkpoint import Checkpoint
from trainables.messages import Trained
from trainables.ppo.trainer import PpoTrainer, SilentHost
from trainables.rank_run import RankRun
from trainables.result import Progress
from trainables.run_files import append_json_line

logger = logging.getLogger(__name__)


def train(run: RankRun) -> Trained:
    """The whole training."""
    start = checkpoints.load_newest(run.request.files.checkpoints, run.request.mark["hash"])
    trainer = PpoTrainer(run.spec, run.context, run.meter, start, run.pulse, run.environments)
    complete = trainer.train(RankZeroHost(run) if run.context.is_main else SilentHost())
    run.keep(trainer.policy)
    return Trained(complete, trainer.env_steps, run.meter.spent(), trainer.base_costs, tuple(trainer.curve))


class RankZeroHost:
    """Writes what rank 0 has to tell: progress, metrics, checkpoints."""

    def __init__(self, run: RankRun) -> None:
        self._files, self._keep, self._stop, self._tell = (
            run.request.files,
            run.spec.trainer.checkpoint.keep,
            run.stop,
            run.tell,
        )
        self._hash = run.request.mark["hash"]
        self._next_log = 0.0

    def wants_stop(self) -> bool:
        return self._stop.is_set()

    def report(self, progress: Progress) -> None:
        self._tell(progress)
        row = {
            "time": time.time() if progress.time is None else progress.time,
            "env_steps": progress.env_steps,
            "steps_per_second": progress.steps_per_second,
            "train_seconds": progress.costs.train.wall_seconds,
            **progress.losses,
        }
        append_json_line(self._files.metrics, row | ({"score": progress.point.score} if progress.point else {}))
        if (
            (now := time.monotonic()) >= self._next_log
            or progress.env_steps >= progress.total_env_steps
            or progress.point
        ):
            self._next_log = now + 5.0
            losses = " ".join(f"{name}={value:.4g}" for name, value in progress.losses.items())
            score = f" score={progress.point.score:.4g}" if progress.point else ""
            logger.info(
                "%d/%d steps, %.0f/s%s %s",
                progress.env_steps,
                progress.total_env_steps,
                progress.steps_per_second,
                score,
                losses,
            )

    def save(self, checkpoint: Checkpoint) -> None:
        path = checkpoints.save(self._files.checkpoints, replace(checkpoint, belongs_to=self._hash), self._keep)
        logger.info("checkpoint %s", path.name)
