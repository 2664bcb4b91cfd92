"""Where randomness comes from: every stream is named by what it is for, so no two parts of a run share one.

A stream is a `numpy.random.SeedSequence` over integers. Nothing has to be stored in a checkpoint: a resumed run opens
new streams, named by the step at which it resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

EpisodeSeeds = Callable[
    [int, int], np.random.SeedSequence
]  # (environment index, episode number) -> stream of that episode


class Purpose(IntEnum):
    """First word of every stream: training and evaluation never see the same episode."""

    TRAIN_EPISODE = 1
    EVAL_EPISODE = 2
    CURVE_EPISODE = 3
    ACTION = 4
    WEIGHTS = 5
    MINIBATCH = 6
    EVAL_ACTION = 7
    CURRICULUM = 8


def stream(purpose: Purpose, *words: int) -> np.random.SeedSequence:
    """The stream of this purpose; words are non-negative integers."""
    return np.random.SeedSequence([int(purpose), *words])


def stream_seed(purpose: Purpose, *words: int) -> int:
    """One 63-bit integer from the stream, for generators that are seeded with a number."""
    return int(stream(purpose, *words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def simulator_seed(stream: np.random.SeedSequence) -> int:
    """One number of 31 bits from the stream, as simulators take it."""
    return int(stream.generate_state(1)[0] >> np.uint32(1))


@dataclass(frozen=True, slots=True)
class TrainingSeeds:
    """Streams of training episodes.

    Attributes:
        seed: of the run.
        first_env: global index of this rank's first environment.
        start_step: where training (re)started.
    """

    seed: int
    first_env: int
    start_step: int

    def __call__(self, env: int, episode: int) -> np.random.SeedSequence:
        return stream(Purpose.TRAIN_EPISODE, self.seed, self.start_step, self.first_env + env, episode)


@dataclass(frozen=True, slots=True)
class EvaluationSeeds:
    """Streams of held-out episodes: environment i plays `episodes[i]`, later episodes of it are never looked at.

    Attributes:
        seed: of the suite.
        episodes: indices of the held-out episodes, one for each environment.
        purpose: EVAL_EPISODE or CURVE_EPISODE.
    """

    seed: int
    episodes: tuple[int, ...]
    purpose: Purpose = Purpose.EVAL_EPISODE

    def __call__(self, env: int, episode: int) -> np.random.SeedSequence:
        return stream(self.purpose, self.seed, self.episodes[env % len(self.episodes)] + episode * 1_000_003)
