"""Environments that misbehave, as gymnasium ids `tests.trainables.odd_environments:Name-v0`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from trainables import faults


class Odd(gymnasium.Env[np.ndarray, int]):
    """Two numbers in, two actions out, ten steps long; after `after` steps in this process it does what `does` says."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    steps_in_process = 0

    def __init__(self, does: str = "nothing", after: int = 200, seconds: float = 0.0, once: str = "") -> None:
        self._does, self._after, self._seconds, self._once = does, after, seconds, once
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        Odd.steps_in_process += 1
        self._step += 1
        time.sleep(self._seconds)
        reward = float(action)
        if Odd.steps_in_process >= self._after:
            if self._does == "raise":
                raise KeyError("the environment lost its map")
            if self._does == "out of memory":
                import torch  # slow, and few tests need it

                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            if self._does == "hang":
                time.sleep(1000)
            if self._does == "print":
                sys.stdout.write(f"step {self._step}\n")
            self._end_process()
            reward = float("nan") if self._does == "nan" else reward
        return np.zeros(2, dtype=np.float32), reward, self._step >= 10 and self._does != "never end", False, {}

    def close(self) -> None:
        does, self._does = self._does, "nothing"
        if does == "fail to close" and self._step:
            raise KeyError("the window is gone")

    def _end_process(self) -> None:
        if self._does == "fork and die":
            if child := os.fork():
                Path(self._once).write_text(str(child))
                os._exit(1)
            time.sleep(60)
            os._exit(0)
        if self._does == "die":
            os._exit(1)
        if self._does == "fill the disk" and not Path(self._once).exists():
            Path(self._once).write_text(str(os.getpid()))
            faults.activate("run.checkpoint:disk_full@1")
        if self._does == "crash":
            ctypes.string_at(0)
        if self._does == "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._does == "exit":
            raise SystemExit("usage: env.py")  # sys.exit is not Python's own where a library put itself in its place
        if self._does == "interrupt":
            raise KeyboardInterrupt


gymnasium.register("Odd-v0", entry_point=Odd)
