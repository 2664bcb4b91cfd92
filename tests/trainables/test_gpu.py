"""What only a GPU can show; two ranks on one GPU speak NCCL to each other as if they sat on two machines."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.trainables.synthetic import make_learner, make_policy, make_rollout
from trainables import checkpoint as checkpoints
from trainables.distributed import DistributedContext
from trainables.launch import evaluate_once, run_once
from trainables.messages import EvaluatedShare, RankAssignment, Rendezvous, RunRequest, Trained
from trainables.metering import Meter
from trainables.ppo.rollout import Rollout
from trainables.ppo.trainer import PpoTrainer, SilentHost
from trainables.result import Progress, RunResult
from trainables.run_files import RunFiles
from trainables.spec import RunSpec
from trainables.worker import RankWorker

pytestmark = [pytest.mark.ray, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")]
GPU = DistributedContext(device=torch.device("cuda", 0)) if torch.cuda.is_available() else DistributedContext()
ARENA: dict[str, Any] = {
    "run": "s.r.0",
    "device": "cuda",
    "resources": {"gpus_per_worker": 1, "max_restarts": 1},
    "trainer": {
        "total_timesteps": 8192,
        "batch_size": 1024,
        "minibatch_size": 512,
        "num_envs": 8,
        "simulation": {"curve_episodes": 2},
    },
    "env": {"max_steps": 40},
    "sim": {"episodes": 4},
}


class Witness(SilentHost):
    """Keeps what every update reports, and the last checkpoint."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.checkpoint: checkpoints.Checkpoint | None = None

    def report(self, progress: Progress) -> None:
        self.seen.append(progress)

    def save(self, checkpoint: checkpoints.Checkpoint) -> None:
        self.checkpoint = checkpoint


def moved(rollout: Rollout) -> Rollout:
    return Rollout(**{name: getattr(rollout, name).to(GPU.device) for name in Rollout.__slots__})


def parameters_after_updates(
    kind: str, context: DistributedContext, **trainer: Any
) -> tuple[torch.Tensor, dict[str, float]]:
    """Parameters of the same policy after three updates with the same random experience, and the last losses."""
    policy = make_policy(kind)
    rollout = make_rollout(policy)
    learner = make_learner(policy.to(context.device), context, rows=8, num_minibatches=2, **trainer)
    shuffling = torch.Generator().manual_seed(0)
    for _ in range(3):
        losses = learner.update(moved(rollout) if context is GPU else rollout, 1e-3, shuffling)
    return learner.parameters.values.detach().cpu(), losses


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_updates_on_the_gpu_are_those_of_the_cpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # cuDNN's memory would keep ten bits of a product
    expected, losses = parameters_after_updates(kind, DistributedContext())
    found, found_losses = parameters_after_updates(kind, GPU)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert found_losses == pytest.approx(losses, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize(
    "faster",
    [
        {"compile": True},
        {"compile": True, "cuda_graphs": True},
        {"compile": True, "cuda_graphs": True, "gradient_accumulation": 2},
    ],
)
def test_a_compiled_policy_learns_the_same(kind: str, faster: dict[str, Any]) -> None:
    plain = {"gradient_accumulation": faster.get("gradient_accumulation", 1)}
    expected, losses = parameters_after_updates(kind, GPU, **plain)
    found, found_losses = parameters_after_updates(kind, GPU, **faster)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert found_losses == pytest.approx(losses, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_half_precision_changes_the_updates_little_and_the_parameters_type_not_at_all(kind: str) -> None:
    start = torch.cat([p.detach().reshape(-1) for p in make_policy(kind).parameters()])
    expected, _ = parameters_after_updates(kind, GPU)
    found, losses = parameters_after_updates(kind, GPU, precision="bf16")
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)  # so bf16 was used
    assert torch.linalg.vector_norm(found - expected) < 0.5 * torch.linalg.vector_norm(expected - start)
    assert all(map(math.isfinite, losses.values()))


@pytest.mark.parametrize(
    ("model", "trainer"),
    [
        ("mlp", {}),
        ("cnn", {"precision": "bf16"}),
        ("lstm", {"precision": "bf16"}),
        ("mlp", {"compile": True, "cuda_graphs": True, "precision": "bf16"}),
        ("lstm", {"compile": True, "cuda_graphs": True}),
    ],
)
def test_a_policy_trains_on_the_gpu_and_goes_on_from_its_checkpoint(
    model: str, trainer: dict[str, Any], tmp_path: Path
) -> None:
    def train(total_timesteps: int, start: checkpoints.Checkpoint | None) -> Witness:
        sections = {
            "model": {"type": model},
            "trainer": {**ARENA["trainer"], **trainer, "total_timesteps": total_timesteps},
        }
        witness = Witness()
        assert PpoTrainer(RunSpec.from_mapping({**ARENA, **sections}), GPU, Meter("setup"), start).train(witness)
        return witness

    first = train(8192, None)
    assert len(first.seen) == 8
    assert all(math.isfinite(value) for progress in first.seen for value in progress.losses.values())
    assert first.checkpoint is not None
    checkpoints.save(tmp_path, first.checkpoint, keep=1)
    assert [progress.env_steps for progress in train(9216, checkpoints.load_newest(tmp_path)).seen] == [9216]


@pytest.mark.usefixtures("local_ray")
def test_a_run_holds_its_gpu_pays_for_it_and_can_be_evaluated_without_one(tmp_path: Path) -> None:
    result = run_once(RunSpec.from_mapping(ARENA), tmp_path, lambda progress: None)
    assert (result.outcome, result.env_steps) == ("completed", 8192), (result.message, result.log_tail)
    assert yaml.safe_load(RunFiles(tmp_path).dist(1).read_text())["ranks"][0]["gpus"] == ["0"]
    for part in ("setup", "train", "evaluate"):
        span = getattr(result.costs, part)
        assert span.gpu_seconds == pytest.approx(span.wall_seconds)
        assert span.gpu_seconds > 0.0
    assert evaluate_once(RunSpec.from_mapping(ARENA), tmp_path).score == result.score
    on_cpu = {**ARENA, "device": "cpu", "resources": {}}
    assert evaluate_once(RunSpec.from_mapping(on_cpu), tmp_path).score is not None


@pytest.mark.usefixtures("local_ray")
def test_a_killed_worker_on_a_gpu_costs_a_restart_from_the_checkpoint(tmp_path: Path) -> None:
    mapping = {
        **ARENA,
        "trainer": {**ARENA["trainer"], "total_timesteps": 32_768, "checkpoint": {"interval_seconds": 0}},
    }
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.env_steps >= 4096:
            killed.append(yaml.safe_load(RunFiles(tmp_path).dist(1).read_text())["ranks"][0]["pid"])
            os.kill(killed[0], 9)

    result = run_once(RunSpec.from_mapping(mapping), tmp_path, kill_once)
    assert killed
    assert (result.outcome, result.env_steps) == ("completed", 32_768), (result.message, result.log_tail)
    steps = [json.loads(line)["env_steps"] for line in RunFiles(tmp_path).metrics.read_text().splitlines()]
    assert len(steps) <= 34  # nothing but the updates in flight was done twice


@pytest.mark.usefixtures("local_ray")
def test_of_two_runs_that_share_a_gpu_the_one_that_wants_too_much_fails_alone(tmp_path: Path) -> None:
    fitting = {**ARENA, "resources": {"gpus_per_worker": 0.01, "max_restarts": 0}}
    # 2.4 GB of raw observations, in a hundredth of the GPU's memory
    greedy = {**fitting, "trainer": {**ARENA["trainer"], "batch_size": 1 << 23, "total_timesteps": 1 << 23}}
    results: dict[str, RunResult] = {}

    def run(name: str, mapping: dict[str, Any]) -> None:
        results[name] = run_once(
            RunSpec.from_mapping({**mapping, "run": f"s.{name}.0"}), tmp_path / name, lambda progress: None
        )

    threads = [threading.Thread(target=run, args=arguments) for arguments in (("fits", fitting), ("greedy", greedy))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results["fits"].outcome, results["fits"].env_steps) == ("completed", 8192), results["fits"].log_tail
    assert (results["greedy"].outcome, results["greedy"].failure) == ("failed", "hyperparameters")
    assert "out of memory" in results["greedy"].message


def on_a_rank(rank: int, ports: Any, answers: Any, mapping: dict[str, Any], directory: str) -> None:
    # NCCL refuses two ranks on one GPU of one host: here each has a host of its own, and they speak over the network.
    os.environ |= {"NCCL_HOSTID": f"host{rank}", "NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1"}
    worker, rendezvous = RankWorker(), Rendezvous("127.0.0.1", 0, 60.0)
    if rank == 0:
        ports.put(worker.open_rendezvous(rendezvous, 2))
    rendezvous = replace(rendezvous, port=ports.get() if rank else 0)
    worker.join(RankAssignment(rank, 0, 2, 1.0, "cuda"), rendezvous)
    request = RunRequest(RunSpec.from_mapping(mapping), Path(directory))
    trained = worker.train(request)
    played = worker.evaluate(request) if isinstance(trained, Trained) else trained
    answers.put((trained, played, torch.distributed.get_backend_config()))


def test_two_ranks_with_nccl_train_and_evaluate_one_policy(tmp_path: Path) -> None:
    mapping = {**ARENA, "resources": {"gpus_per_worker": 1, "world_size": 2}}
    processes = multiprocessing.get_context("spawn")
    ports, answers = processes.Queue(), processes.Queue()
    for rank in range(2):
        processes.Process(target=on_a_rank, args=(rank, ports, answers, mapping, str(tmp_path)), daemon=True).start()
    curves = []
    for trained, played, backend in (answers.get(timeout=200) for _ in range(2)):
        assert isinstance(trained, Trained), trained
        assert isinstance(played, EvaluatedShare), played
        assert (trained.complete, trained.env_steps) == (True, 8192)
        assert len(played.episodes) == 2
        assert "cuda:nccl" in backend
        curves.append([(point.env_steps, point.score) for point in trained.curve])
    assert curves[0] == curves[1] != []  # both ranks' episodes are in it
    losses = [json.loads(line) for line in RunFiles(tmp_path).metrics.read_text().splitlines()]
    assert len(losses) == 8
    assert all(math.isfinite(row["policy_loss"]) for row in losses)
