"""How a training program tells a sweep what it has reached: one JSON line per call, appended to a file.

Needs only the standard library.

A program that cannot import this does the same in any language: it appends `{"score": 1.5, "step": 1000}` and a newline
to the file that the environment variable METTA_SWEEP_REPORT names.
"""

from __future__ import annotations

import json
import os
import time

PATH_VARIABLE = "METTA_SWEEP_REPORT"  # where a program finds the file that it reports to


def report(
    score: float | None = None, step: int | None = None, score_se: float | None = None, **metrics: float
) -> None:
    """Appends one report. Outside a sweep, where nobody listens, it does nothing.

    Args:
        score: how good the policy is now; the last one is the result of the run, those before it are its learning
            curve.
        step: how far training is, in the program's own unit.
        score_se: standard error of the score, over the episodes of its evaluation; the search trusts a score the more
            the smaller it is. What other seeds would add is no part of it: that the search learns by itself.
        metrics: further numbers, by name; a sweep can use any of them as its `metric`, when it is declared.
    """
    path = os.environ.get(PATH_VARIABLE)
    if not path:
        return
    line = {"time": time.time(), "step": step, "score": score, "score_se": score_se, **metrics}
    line = {name: value if name == "step" or value is None else float(value) for name, value in line.items()}
    if score_se is None:
        del line["score_se"]
    # One write of one short line: ranks and threads that report at once do not mix theirs.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)
