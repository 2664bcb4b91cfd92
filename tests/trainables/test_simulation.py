"""Evaluation: which episodes, what is counted, how it is written down."""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables.distributed import DistributedContext
from trainables.errors import CodeFailure
from trainables.ppo.policy import Policy
from trainables.ppo.trainer import make_policy
from trainables.seeding import Purpose, evaluation_seeds, training_seeds
from trainables.simulation import replay, stats_db
from trainables.simulation.aggregate import PlayedEpisode, metric_names, metrics, standard_error
from trainables.simulation.play import Share, play
from trainables.simulation.random_policy import random_policy_score
from trainables.spec import RunSpec

CPU = torch.device("cpu")
SHORT = {"env": "/env/mettagrid/arena/basic", "max_steps": 20}


def spec_of(**sim: Any) -> RunSpec:
    simulations = {"near": SHORT, "far": {**SHORT, "width": 15, "height": 15}}
    return RunSpec.from_mapping({"sim": {"name": "arena", "episodes": 4, "simulations": simulations, **sim}})


def policy_of(spec: RunSpec) -> Policy:
    from trainables.environments.catalog import VectorOptions

    env = spec.environment.make(VectorOptions(1, evaluation_seeds(0, (0,))))
    return make_policy(spec, DistributedContext(), env.encoder, env.action_space)


def episode(simulation: str, index: int, score: float, **stats: float) -> PlayedEpisode:
    return PlayedEpisode(simulation, index, "arena/basic", 20, score, 2 * score, stats)


PLAYED = [episode("near", 0, 1.0, **{"heart.gained": 2.0}), episode("near", 1, 3.0), episode("far", 0, 10.0), episode("far", 1, 14.0)]


def test_metrics_are_means_over_episodes_then_over_simulations() -> None:
    found = metrics(spec_of().suite, PLAYED)
    assert (found["arena/near/reward"], found["arena/far/reward"], found["reward"]) == (2.0, 12.0, 7.0)
    assert (found["arena/near/heart.gained"], found["heart.gained"]) == (1.0, 0.5)
    assert (found["action.use.altar"], found["shaped_return"], found["episode_length"]) == (0.0, 14.0, 20.0)
    assert set(metric_names(spec_of().suite)) <= set(found)


def test_standard_errors_by_hand() -> None:
    # Variances of the means: near 2/2 = 1, far 8/2 = 4; half their sum of deviations for the mean of two simulations.
    assert standard_error(spec_of().suite, PLAYED, "arena/near/reward") == pytest.approx(1.0)
    assert standard_error(spec_of().suite, PLAYED, "arena/far/reward") == pytest.approx(2.0)
    assert standard_error(spec_of().suite, PLAYED, "reward") == pytest.approx(math.sqrt(1.0 + 4.0) / 2)
    assert standard_error(spec_of().suite, PLAYED[:1], "reward") is None


def share_of_winners(episodes: Sequence[PlayedEpisode]) -> float:
    return float(np.mean([episode.score >= 3.0 for episode in episodes]))


def test_metrics_of_ones_own_are_called_by_path() -> None:
    spec = spec_of(metrics=["tests.trainables.test_simulation:share_of_winners"])
    assert "share_of_winners" in metric_names(spec.suite)
    assert metrics(spec.suite, PLAYED)["share_of_winners"] == 0.75
    with pytest.raises(CodeFailure, match=r"sim.metrics: tests.trainables.test_simulation:nothing cannot be imported"):
        metrics(spec_of(metrics=["tests.trainables.test_simulation:nothing"]).suite, PLAYED)


def test_held_out_episodes_are_never_trained_on_and_do_not_depend_on_the_ranks() -> None:
    spec = spec_of()
    policy = policy_of(spec)
    alone = play(spec.suite, policy, CPU, Share())
    shared = [play(spec.suite, policy, CPU, Share(rank, 2)) for rank in (0, 1)]
    assert [(e.simulation, e.index) for e in alone] == [(name, index) for name in ("near", "far") for index in range(4)]
    assert {(e.simulation, e.index) for e in alone} == {(e.simulation, e.index) for part in shared for e in part}
    assert play(spec.suite, policy, CPU, Share()) == alone
    words = {tuple(evaluation_seeds(0, (0, 1))(env, 0).generate_state(2)) for env in (0, 1)}
    words |= {tuple(evaluation_seeds(0, (0, 1), Purpose.CURVE_EPISODE)(env, 0).generate_state(2)) for env in (0, 1)}
    words |= {tuple(training_seeds(0, 0, 0)(env, 0).generate_state(2)) for env in (0, 1)}
    assert len(words) == 6


def test_greedy_play_is_the_same_whatever_the_generator() -> None:
    spec = spec_of(greedy=True)
    policy = policy_of(spec)
    assert play(spec.suite, policy, CPU, Share(0, 2))[0] == play(spec.suite, policy, CPU, Share())[0]


def test_episodes_are_rows_that_sqlite_can_read(tmp_path: Path) -> None:
    path = tmp_path / "eval" / "stats.db"
    for _ in range(2):  # the second evaluation replaces the first
        stats_db.write(path, "s.r.0", "arena", PLAYED)
    stats_db.write(path, "s.r.1", "arena", PLAYED[:1])
    with sqlite3.connect(path) as database:
        query = "select simulation, avg(score), count(*) from episodes where run = 's.r.0' group by simulation order by simulation"
        assert database.execute(query).fetchall() == [("far", 12.0, 2), ("near", 2.0, 2)]
        assert database.execute("select value from episode_stats where run = 's.r.1' and name = 'heart.gained'").fetchall() == [(2.0,)]


def test_a_random_policy_scores_what_is_known_on_the_basic_arena() -> None:
    score, error = random_policy_score({"sim": {"episodes": 32}})
    assert error is not None
    assert pytest.approx(score, abs=4 * error) == 0.34


def tape_of(spec: RunSpec) -> tuple[dict[str, replay.Tape], list[PlayedEpisode]]:
    tapes: dict[str, replay.Tape] = {}
    return tapes, play(spec.suite, policy_of(spec), CPU, Share(), tapes)


def test_a_replay_shows_the_very_episode_that_was_scored(tmp_path: Path) -> None:
    spec = RunSpec.from_mapping(
        {"sim": {"episodes": 3, "simulations": {"calm": SHORT, "war": {"env": "/env/mettagrid/arena/combat", "max_steps": 30}}}}
    )
    tapes, episodes = tape_of(spec)
    paths = replay.write(tmp_path / "replays", "s.r.0", spec.suite, tapes)
    assert [path.name for path in paths] == ["s.r.0_arena_calm.json.z", "s.r.0_arena_war.json.z"]
    for path, simulation, num_agents, max_steps in zip(paths, ("calm", "war"), (4, 8), (20, 30), strict=True):
        content = json.loads(zlib.decompress(path.read_bytes()))
        agents = [thing for thing in content["objects"] if "agent_id" in thing]
        assert (content["num_agents"], content["max_steps"], len(agents)) == (num_agents, max_steps, num_agents)
        scored = next(e for e in episodes if (e.simulation, e.index) == (simulation, 0))
        shown = np.mean([agent["total_reward"][-1][1] if agent["total_reward"] else 0.0 for agent in agents])
        assert shown == pytest.approx(scored.shaped_return)


def test_episodes_of_other_environments_are_kept_as_arrays(tmp_path: Path) -> None:
    spec = RunSpec.from_mapping({"trainer": {"curriculum": "/env/gymnasium/CartPole-v1"}, "sim": {"episodes": 2}})
    tapes, episodes = tape_of(spec)
    (path,) = replay.write(tmp_path, "s.r.0", spec.suite, tapes)
    with np.load(path) as arrays:
        assert len(arrays["actions"]) == arrays["rewards"].sum() == len(arrays["observations"]) == episodes[0].num_steps
