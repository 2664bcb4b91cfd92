"""What a rollout holds: the policy's own numbers, however observations are kept and acting is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.test_trainer import Recorder, train
from trainables.distributed import DistributedContext
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.ppo import rollout as rollouts
from trainables.ppo import trainer as training
from trainables.ppo.rollout import Collector, Rollout, stores_raw
from trainables.ppo.trainer import make_policy
from trainables.seeding import TrainingSeeds
from trainables.spec import RunSpec

CPU = torch.device("cpu")
HORIZON, SEGMENT = 12, 4


def collect(kind: str, num_envs: int, compile_mode: str | None = None, **env: Any) -> tuple[Rollout, Any, Any]:
    """Two rollouts of a fresh policy, the second one returned."""
    spec = RunSpec.from_mapping({"model": {"type": kind, "hidden_size": 16}, "env": {"max_steps": 10, **env}})
    vector = EnvironmentVector(spec.environment, VectorOptions(num_envs, TrainingSeeds(0, 0, 0), stagger=True))
    vector.reset()
    policy = make_policy(spec, DistributedContext(), vector.description)
    collector = Collector(vector, policy, HORIZON, SEGMENT, CPU, compile_mode)
    generator = torch.Generator().manual_seed(1)
    collector.collect(generator)
    rollout = collector.collect(generator)
    vector.close()
    return rollout, policy, vector


@pytest.mark.parametrize("num_envs", [5, 256], ids=["one group", "two groups"])
def test_values_and_probabilities_are_what_the_policy_says_of_what_it_saw(num_envs: int) -> None:
    rollout, policy, _ = collect("mlp", num_envs)
    with torch.inference_mode():
        outputs, values = policy(rollout.observations.flatten(0, 1))
        log_probs, _ = policy.distribution.evaluate(outputs, rollout.actions.flatten())
    torch.testing.assert_close(rollout.values[:-1].flatten(), values)
    torch.testing.assert_close(rollout.log_probs.flatten(), log_probs)


@pytest.mark.parametrize("num_envs", [5, 256], ids=["one group", "two groups"])
def test_a_recurrent_policy_reads_the_same_again_from_its_memories_and_starts(num_envs: int) -> None:
    rollout, policy, _ = collect("lstm", num_envs)
    for k in range(HORIZON // SEGMENT):
        part = slice(k * SEGMENT, (k + 1) * SEGMENT)
        with torch.inference_mode():
            _, values = policy.sequence(rollout.observations[part], rollout.memories[k], rollout.starts[part])
        torch.testing.assert_close(rollout.values[part].flatten(), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
@pytest.mark.parametrize("max_steps", [10, 1])  # 1: every step ends every episode
def test_a_state_that_a_limit_hid_is_valued_with_the_memory_of_its_episode(
    kind: str, max_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []
    receive = EnvironmentVector.receive

    def noted(env: EnvironmentVector, group: int) -> None:
        receive(env, group)
        shown.append(env.final_observations.copy())

    monkeypatch.setattr(EnvironmentVector, "receive", noted)
    rollout, policy, vector = collect(kind, 8, max_steps=max_steps)
    assert rollout.truncations.any()
    memory = rollout.memories[0]
    for t, final in enumerate(shown[-HORIZON:]):
        memory = memory * (~rollout.starts[t]).view(1, -1, 1)
        with torch.inference_mode():
            _, _, memory = policy.step(rollout.observations[t], memory)
            _, values, _ = policy.step(vector.description.encoder.encode(torch.from_numpy(final)), memory)
        ended = rollout.truncations[t]
        torch.testing.assert_close(rollout.final_values[t][ended], values[ended], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "lstm", "cnn"])
def test_training_on_raw_observations_is_training_on_encoded_ones(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = {
        "trainer": {"total_timesteps": 2048, "batch_size": 512, "minibatch_size": 256, "num_envs": 8},
        "env": {"max_steps": 16},
        "model": {"type": kind, "hidden_size": 16},
        "sim": {"episodes": 2},
    }
    weights = [train(mapping, Recorder()).learner.parameters.values.detach()]
    for module in (rollouts, training):
        monkeypatch.setattr(module, "stores_raw", lambda description, device: True)
    trainer = train(mapping, Recorder())
    assert trainer._collector._rollout.observations.dtype == torch.uint8
    torch.testing.assert_close(trainer.learner.parameters.values.detach(), weights[0], rtol=1e-4, atol=1e-5)


def test_observations_stay_raw_on_a_gpu_where_they_are_smaller() -> None:
    arena = RunSpec.from_mapping({}).environment.describe()
    cartpole = RunSpec.from_mapping({"trainer": {"curriculum": "/env/gymnasium/CartPole-v1"}}).environment.describe()
    assert [stores_raw(arena, torch.device(name)) for name in ("cpu", "cuda")] == [False, True]
    assert not stores_raw(cartpole, torch.device("cuda"))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_acting_compiled_is_acting(kind: str) -> None:
    plain, compiled = (collect(kind, 256, mode)[0] for mode in (None, "default"))
    assert np.mean((plain.actions == compiled.actions).numpy()) > 0.999  # a tie may fall the other way
    torch.testing.assert_close(plain.values[0], compiled.values[0], rtol=1e-4, atol=1e-5)
