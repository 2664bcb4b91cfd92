"""A training program that knows Hydra-style overrides and `report`, and misbehaves on request."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from trainables.report import report

NO_SCORES = {"nan": float("nan")}


def main(arguments: list[str]) -> None:
    settings = dict(argument.lstrip("+-").replace("'", "").split("=", 1) for argument in arguments)
    rate, steps = float(settings.get("optim.lr", "0.1")), int(settings.get("steps", "4"))
    does = settings.get("does", "")
    if does == "spawn":  # a helper that would outlive us
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print("child", child.pid, flush=True)
    for step in range(1, steps + 1):
        report(score=step * rate, step=step * 100, accuracy=0.5)
        time.sleep(float(settings.get("seconds", "0")))
        if does in NO_SCORES:
            report(score=NO_SCORES[does], step=step * 100 + 1)
        if does == "raise":
            raise ValueError(f"no data for {rate}")
        if does == "torch nan":
            raise ValueError(
                "Expected parameter logits to satisfy a constraint, but found invalid values:\ntensor([[nan, nan]])"
            )
        if does == "out of memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if does in ("be killed", "crash"):
            os.kill(os.getpid(), 9 if does == "be killed" else 11)
        if does == "exit":
            sys.exit("usage: toy.py")
    if does == "ranks":
        print(
            "rank",
            os.environ["RANK"],
            "of",
            os.environ["WORLD_SIZE"],
            "at",
            os.environ["MASTER_ADDR"],
            os.environ["MASTER_PORT"],
            flush=True,
        )


main(sys.argv[1:])
