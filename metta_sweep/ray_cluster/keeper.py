"""The process that a private Ray hangs on: it starts the daemons, and leaves nothing of them, however its driver ends.

`python -m metta_sweep.ray_cluster.keeper` reads one line of JSON (`KeeperRequest`) and answers with one: Ray's address.
It ends when its standard input ends, for then its driver let go or is dead, on SIGTERM, and when a daemon died that Ray
cannot do without.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from trainables.ray_internals import start_head
from trainables.supervisor import adopt_orphans, end_descendants

if TYPE_CHECKING:
    from trainables.ray_internals import Node

VITAL = ("raylet", "gcs_server")  # Ray does without the others, such as its dashboard
LET_GO = b"let go\n"  # a driver that was killed says nothing: its pipe just ends
CHECK_SECONDS = 0.5  # a guess: a daemon's death is news soon, and looking costs a few `waitpid`
GRACE_SECONDS = 30.0  # a guess: programs of runs may write something big when the driver lets go
SHORT_GRACE_SECONDS = 3.0  # a guess: nobody waits for the programs of a dead driver, and its next one needs their place


@dataclass(frozen=True, slots=True)
class KeeperRequest:
    """What a driver asks for.

    Attributes:
        directory: of this Ray alone, readable by its owner only; removed at the end.
        token_path: file with the token that every process of this Ray asks for.
        python_path: PYTHONPATH of the driver, which this process needs another one than.
        num_cpus, num_gpus: what runs may use.
    """

    directory: str
    token_path: str
    python_path: str | None
    num_cpus: float
    num_gpus: float
    has_dashboard: bool

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main() -> int:
    """Keeps Ray; see the module."""
    adopt_orphans()
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    order = KeeperRequest(**json.loads(sys.stdin.buffer.readline()))
    is_orderly = False
    try:
        node = start_node(order)
        sys.stdout.write(json.dumps({"address": node.gcs_address}) + "\n")
        sys.stdout.flush()
        is_orderly = wait(node, lambda: bool(asked))
        node.kill_all_processes(check_alive=False, allow_graceful=is_orderly, wait=True)
    finally:
        end_descendants(GRACE_SECONDS if is_orderly else SHORT_GRACE_SECONDS)
        shutil.rmtree(order.directory, ignore_errors=True)
    return 0 if is_orderly else 1


def start_node(order: KeeperRequest) -> Node:
    """Ray's daemons, with this driver's token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": order.token_path, "RAY_AUTH_TOKEN": None}
    set_variables({**token, "PYTHONPATH": order.python_path})
    # `ray` is a directory that Ray opens to everybody; ours around it is not.
    return start_head(f"{order.directory}/ray", order.num_cpus, order.num_gpus, has_dashboard=order.has_dashboard)


def set_variables(values: Mapping[str, str | None]) -> None:
    """Of this process's environment; None takes one away."""
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def wait(node: Node, is_asked: Callable[[], bool]) -> bool:
    """Until it should end; whether the driver let go in order."""
    while not is_asked():
        dead = [kind for kind, _ in node.dead_processes() if kind in VITAL]
        if dead:
            sys.stderr.write(f"its {dead[0]} died\n")
            return False
        readable, _, _ = select.select([0], [], [], CHECK_SECONDS)
        if readable:
            return os.read(0, len(LET_GO)) == LET_GO
    return False


if __name__ == "__main__":
    sys.exit(main())
