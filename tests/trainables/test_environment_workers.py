"""Environments that other processes step: the same training, and nothing left when somebody dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from tests.trainables.odd_environments import Odd
from tests.trainables.test_trainer import Recorder
from trainables.distributed import DistributedContext
from trainables.environments.catalog import GymnasiumFamily
from trainables.environments.vector import EnvironmentVector, VectorOptions, groups_of, split
from trainables.environments.workers import EnvironmentWorkers
from trainables.errors import InfrastructureFailure, RunError, WorkerEnded
from trainables.failures import Failure, classify
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer
from trainables.result import FailureKind
from trainables.seeding import TrainingSeeds
from trainables.simulation.play import Share, play
from trainables.spec import RunSpec

ODD = "tests.trainables.odd_environments:Odd-v0"
ARENA = {"env": {"max_steps": 16}, "sim": {"episodes": 3}}
TASKS = {"/env/mettagrid/arena/basic": 1, "/env/mettagrid/arena/advanced": 1}
RUNS: dict[str, dict[str, Any]] = {
    "two groups": {**ARENA, "trainer": {"num_envs": 256, "batch_size": 4096}},
    "lstm in two groups": {**ARENA, "trainer": {"num_envs": 256, "batch_size": 4096}, "model": {"type": "lstm"}},
    "one group": {**ARENA, "trainer": {"num_envs": 7, "batch_size": 448}},
    "fewer environments than workers": {**ARENA, "trainer": {"num_envs": 3, "batch_size": 192}},
    "curriculum": {
        **ARENA,
        "trainer": {
            "num_envs": 6,
            "batch_size": 480,
            "curriculum": {"tasks": TASKS, "sampling": "learning_progress"},
        },
    },
    "continuous": {"trainer": {"num_envs": 4, "batch_size": 256, "curriculum": "/env/gymnasium/Pendulum-v1"}},
    "one generator for all": {
        "trainer": {"num_envs": 4, "batch_size": 256, "curriculum": "/env/gymnasium/CartPole-v1"},
        "sim": {"episodes": 2},
    },
}


def spec_of(run: dict[str, Any], workers: int) -> RunSpec:
    trainer = {
        **run["trainer"],
        "num_workers": workers,
        "total_timesteps": 3 * run["trainer"]["batch_size"],
        "minibatch_size": run["trainer"]["batch_size"] // 2,
        "update_epochs": 1,
        "simulation": {"curve_points": 1, "curve_episodes": 2},
    }
    return RunSpec.from_mapping({**run, "seed": 5, "trainer": trainer})


@contextmanager
def pool(count: int) -> Iterator[EnvironmentWorkers]:
    workers = EnvironmentWorkers(count)
    try:
        yield workers
    finally:
        workers.close()


def train(spec: RunSpec, workers: EnvironmentWorkers, meter: Meter | None = None) -> tuple[PpoTrainer, Recorder]:
    torch.set_num_threads(1)
    host = Recorder()
    trainer = PpoTrainer(spec, DistributedContext(), meter or Meter("setup"), workers=workers)
    trainer.train(host)
    return trainer, host


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[int, EnvironmentWorkers]]:
    """Warm workers: starting some costs seconds."""
    made = {count: EnvironmentWorkers(count) for count in (0, 1, 2, 5)}
    yield made
    for workers in made.values():
        workers.close()


@pytest.mark.parametrize("name", RUNS)
def test_the_same_seed_gives_the_same_weights_for_any_number_of_workers(
    name: str, pools: dict[int, EnvironmentWorkers]
) -> None:
    found = []
    for count, workers in pools.items():
        trainer, host = train(spec_of(RUNS[name], count), workers)
        scores = [progress.losses.get("training_score") for progress in host.progress]
        found.append((trainer.learner.parameters.values.detach(), scores, [point.score for point in trainer.curve]))
    for weights, scores, curve in found[1:]:
        assert torch.equal(weights, found[0][0])
        assert (scores, curve) == found[0][1:]


def test_a_suite_has_the_same_episodes_for_any_number_of_workers(pools: dict[int, EnvironmentWorkers]) -> None:
    trainer, _ = train(spec_of(RUNS["one group"], 0), pools[0])
    found = [play(trainer._spec.suite, trainer.policy, Share(), workers=workers) for workers in pools.values()]
    assert found[0][0].stats  # everything that the simulator counts
    assert found[1:] == [found[0]] * 3


def test_how_a_vector_is_cut_does_not_depend_on_the_workers() -> None:
    assert groups_of(256, 4, is_divisible=True) == (slice(0, 128), slice(128, 256))
    assert groups_of(255, 4, is_divisible=True) == (slice(0, 255),)
    assert groups_of(4096, 4, is_divisible=False) == (slice(0, 4096),)
    assert groups_of(1, 4096, is_divisible=True) == (slice(0, 1),)
    assert split(slice(2, 9), 3) == [slice(2, 4), slice(4, 6), slice(6, 9)]
    assert split(slice(0, 2), 5) == [slice(0, 1), slice(1, 2)]


def test_cpu_seconds_of_the_workers_are_part_of_the_costs() -> None:
    run = {"trainer": {"num_envs": 64, "batch_size": 8192}, **ARENA}
    costs = []
    for count in (0, 0, 2):  # the first pays for what a process loads once
        with pool(count) as workers:
            meter = Meter("setup", cpu=lambda: time.process_time() + workers.cpu_seconds())
            costs.append(train(spec_of(run, count), workers, meter)[1].progress[-1].costs)
    _, alone, shared = costs
    # The same work, wherever it is done; what else a loaded machine adds is less than the environments' own share.
    assert shared.train.cpu_seconds > 0.75 * alone.train.cpu_seconds
    assert shared.setup.cpu_seconds > alone.setup.cpu_seconds  # starting the workers


def test_what_workers_spent_stays_spent_when_they_are_gone() -> None:
    with pool(1) as workers:
        vector_of(workers, {}).close()
        before = workers.cpu_seconds()
        workers.close()
        assert workers.cpu_seconds() >= before > 0


def test_a_number_of_workers_that_is_not_the_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="num_workers=2"):
        PpoTrainer(spec_of(RUNS["one group"], 2), DistributedContext(), Meter("setup"))


def vector_of(workers: EnvironmentWorkers, does: dict[str, Any], num_envs: int = 4) -> EnvironmentVector:
    env = EnvironmentVector(
        GymnasiumFamily(ODD, does), VectorOptions(num_envs, TrainingSeeds(0, 0, 0)), workers if workers.count else None
    )
    env.reset()
    return env


def failure_of(workers: EnvironmentWorkers, does: dict[str, Any]) -> tuple[Failure, RunError | BaseException]:
    env = vector_of(workers, does)
    actions = np.zeros(4, dtype=np.int64)
    with pytest.raises((Exception, SystemExit, KeyboardInterrupt)) as caught:
        list(map(env.step, [actions] * 50))
    env.close()
    return classify(caught.value), caught.value


@pytest.mark.parametrize("does", ["raise", "exit", "interrupt", "out of memory"])
def test_an_exception_in_an_environment_is_the_same_failure_as_in_the_learner_itself(
    does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool(2) as workers:
        there, error = failure_of(workers, {"does": does, "after": 10})
    monkeypatch.setattr(Odd, "steps_in_process", 0)
    here, _ = failure_of(EnvironmentWorkers(0), {"does": does, "after": 10})
    assert there == here
    assert "odd_environments.py" in str(error.__cause__)  # the traceback


def test_an_environment_that_cannot_be_closed_is_the_same_failure_as_in_the_learner_itself() -> None:
    failures = []
    for count in (0, 1):
        with pool(count) as workers:
            env = vector_of(workers, {"does": "fail to close"}, num_envs=1)
            env.step(np.zeros(1, dtype=np.int64))
            with pytest.raises((KeyError, RunError)) as caught:
                env.close()
            failures.append(classify(caught.value))
    assert failures[0] == failures[1]
    assert failures[0].kind is FailureKind.CODE


def test_what_an_environment_prints_is_in_the_log_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with pool(1) as workers:
        env = vector_of(workers, {"does": "print", "after": 1})
        env.step(np.zeros(4, dtype=np.int64))
        assert capfd.readouterr().out.splitlines() == ["step 1"] * 4


def test_workers_that_failed_are_replaced_by_fresh_ones() -> None:
    with pool(1) as workers:
        failure_of(workers, {"does": "raise", "after": 10})
        env = vector_of(workers, {"does": "nothing"})
        env.step(np.zeros(4, dtype=np.int64))
        env.close()


@pytest.mark.parametrize(
    ("does", "how", "signature"),
    [
        ("be killed", "was killed by SIGKILL", False),
        ("crash", "ended with SIGSEGV", True),
        ("die", "ended with exit code 1", True),
    ],
)
def test_a_worker_that_dies_is_named_and_is_infrastructure(does: str, how: str, signature: bool) -> None:
    with pool(2) as workers:
        failure, error = failure_of(workers, {"does": does, "after": 10})
    assert failure.kind is FailureKind.INFRASTRUCTURE
    assert failure.message.startswith("environment worker ")
    assert failure.message.endswith(f") {how}")
    assert isinstance(error, WorkerEnded) == signature  # twice in a row it is the code


def test_a_dead_worker_is_seen_though_its_child_lives(tmp_path: Path) -> None:
    file = tmp_path / "child"
    with pool(1) as workers:
        _, error = failure_of(workers, {"does": "fork and die", "after": 10, "once": str(file)})
    child = psutil.Process(int(file.read_text()))  # else it has kept the learner waiting to its own end
    child.kill()
    assert isinstance(error, WorkerEnded)


def test_a_worker_killed_between_steps_is_seen_at_the_next_one() -> None:
    with pool(2) as workers:
        env = vector_of(workers, {})
        os.kill(workers._workers[1].process.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(InfrastructureFailure, match=r"environment worker 1 \(environments 2 to 3\) was killed"):
            env.step(np.zeros(4, dtype=np.int64))
        assert time.monotonic() - began < 30  # at once; the machine may be busy
        env.close()


def test_a_worker_that_hangs_is_named_while_the_learner_waits() -> None:
    program = f"""
        import threading, time, numpy as np
        from tests.trainables.test_environment_workers import EnvironmentWorkers, vector_of
        workers = EnvironmentWorkers(2)
        env = vector_of(workers, {{"does": "hang", "after": 1}})
        threading.Thread(target=env.step, args=(np.zeros(4, dtype=np.int64),), daemon=True).start()
        while not workers.waiting_for:
            time.sleep(0.05)
        print(workers.waiting_for, flush=True)
        import os; os.kill(os.getpid(), {signal.SIGKILL:d})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("environment worker 0 (environments 0 to 1) has not answered for ")


@pytest.mark.parametrize("does", ["nothing", "hang"])
def test_a_learner_that_is_killed_leaves_no_process_and_no_memory(does: str) -> None:
    program = f"""
        import sys, numpy as np, psutil
        from tests.trainables.test_environment_workers import EnvironmentWorkers, vector_of
        env = vector_of(EnvironmentWorkers(3), {{"does": "{does}", "after": 2}})
        print(*[child.pid for child in psutil.Process().children()], flush=True)
        env.step(np.zeros(4, dtype=np.int64))
        sys.stdin.read()
    """
    learner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert learner.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in learner.stdout.readline().split()]
    assert len(workers) == 3
    for pid in (learner.pid, *(process.pid for process in workers)):
        maps = Path(f"/proc/{pid}/maps")
        assert not maps.exists() or "/dev/shm" not in maps.read_text()  # what has no name cannot be left behind
    time.sleep(0.3)  # in the midst of a step that never ends, or waiting for one
    learner.kill()
    learner.communicate()
    _, alive = psutil.wait_procs(workers, timeout=2.0)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_memory_of_a_warm_worker_stays_flat() -> None:
    with pool(1) as workers:
        sizes = []
        for _ in range(30):
            env = EnvironmentVector(
                spec_of(RUNS["one group"], 1).environment, VectorOptions(16, TrainingSeeds(0, 0, 0)), workers
            )
            env.reset()
            for _ in range(20):
                env.step(np.zeros(64, dtype=np.int64))
            env.close()
            sizes.append(workers.memory_bytes())
    assert sizes[-1] < 1.05 * sizes[9]


def test_workers_import_no_torch() -> None:
    program = "import sys, trainables.environments.worker, trainables.environments.mettagrid_block as m; "
    program += "import trainables.environments.gymnasium_block; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
