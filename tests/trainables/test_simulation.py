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

from trainables.distributed import DistributedContext
from trainables.errors import CodeFailure, SpecError
from trainables.ppo.policy import Policy
from trainables.ppo.trainer import make_policy
from trainables.pulse import Beat, Pulse
from trainables.seeding import EvaluationSeeds, Purpose, TrainingSeeds
from trainables.simulation import replay, stats_db
from trainables.simulation.aggregate import PlayedEpisode, custom_names, metric_names, metrics, score_of, standard_error
from trainables.simulation.play import Share, Watch, play
from trainables.simulation.random_policy import random_policy_score
from trainables.spec import RunSpec

SHORT = {"env": "/env/mettagrid/arena/basic", "max_steps": 20}


def spec_of(**sim: Any) -> RunSpec:
    simulations = {"near": SHORT, "far": {**SHORT, "width": 15, "height": 15}}
    return RunSpec.from_mapping({"sim": {"name": "arena", "episodes": 4, "simulations": simulations, **sim}})


def policy_of(spec: RunSpec) -> Policy:
    return make_policy(spec, DistributedContext(), spec.environment.describe())


def episode(simulation: str, index: int, score: float, **stats: float) -> PlayedEpisode:
    return PlayedEpisode(simulation, index, "arena/basic", 20, score, 2 * score, stats)


PLAYED = [
    episode("near", 0, 1.0, **{"heart.gained": 2.0}),
    episode("near", 1, 3.0),
    episode("far", 0, 10.0),
    episode("far", 1, 14.0),
]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("limit", "number", "num_ended", "comes_forward"),
    [
        (500, 499, 0, True),  # a slow environment is on its way to its own limit
        (500, 500, 0, False),
        (500, 500, 1, True),
        (None, 999, 0, True),
        (None, 1000, 0, False),
        (None, 100_000, 1, True),
    ],
)
def test_steps_come_forward_up_to_the_time_limit_and_then_ends_of_episodes_only(
    limit: int | None, number: int, num_ended: int, comes_forward: bool
) -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    pulse.beat()
    clock.now = 60.0
    Watch(pulse, "arena", "basic", limit).step(number, num_ended)
    assert pulse.read() == (Beat("arena", "basic", 0.0) if comes_forward else Beat("", "", 60.0))


def test_an_episode_has_a_last_step_in_any_case() -> None:
    with pytest.raises(CodeFailure, match="suite arena, simulation basic: an episode did not end within 200000 steps"):
        Watch(Pulse(), "arena", "basic", None).step(200_000, 1)
    Watch(Pulse(), "arena", "basic", 300_000).step(200_000, 0)  # its own limit is a longer one


def test_a_random_policy_is_not_measured_for_ever() -> None:
    clock = Clock()
    pulse = Pulse(10.0, clock)
    pulse.beat("arena", "basic")
    clock.now = 11.0
    with pytest.raises(CodeFailure, match="suite arena, simulation basic: no episode ended for 11 s"):
        pulse.check()
    pulse.rest()
    pulse.check()
    endless = {"env": "/env/gymnasium/tests.trainables.odd_environments:Odd-v0", "does": "never end"}
    mapping = {
        "trainer": {"curriculum": endless["env"]},
        "sim": {"name": "odd", "simulations": {"endless": endless}},
        "resources": {"stall_seconds": 0.5},
    }
    with pytest.raises(CodeFailure, match="suite odd, simulation endless: no episode ended"):
        random_policy_score(mapping)


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
    assert custom_names(spec.suite) == ("share_of_winners",)
    assert metrics(spec.suite, PLAYED)["share_of_winners"] == 0.75
    with pytest.raises(CodeFailure, match=r"sim.metrics: tests.trainables.test_simulation:nothing cannot be imported"):
        metrics(spec_of(metrics=["tests.trainables.test_simulation:nothing"]).suite, PLAYED)


def several(episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    return {"winners": share_of_winners(episodes), "efficiency": np.float32(len(episodes) / 2)}  # type: ignore[dict-item]


def breaks(episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    raise KeyError(episodes[0].index)


def takes_a_name(episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    return {"reward": 0.0}


def says_a_word(episodes: Sequence[PlayedEpisode]) -> dict[str, Any]:
    return {"winners": "many"}


HERE = "tests.trainables.test_simulation"


def with_metric(metric: str, *functions: str) -> RunSpec:
    paths = [f"{HERE}:{function}" for function in functions]
    return RunSpec.from_mapping({"metric": metric, "sim": {"simulations": {"near": SHORT}, "metrics": paths}})


def test_a_function_that_returns_a_mapping_adds_all_its_names() -> None:
    spec = with_metric("efficiency", "several", "share_of_winners")
    assert custom_names(spec.suite) == ("winners", "efficiency", "share_of_winners")
    found = metrics(spec.suite, PLAYED[:2])
    assert (found["winners"], found["efficiency"], found["share_of_winners"]) == (0.5, 1.0, 0.5)
    assert score_of(spec.metric, found) == 1.0


def test_a_metric_that_no_function_returns_is_refused_before_the_first_run() -> None:
    with pytest.raises(SpecError, match="metric: unknown 'eficiency'; did you mean efficiency"):
        with_metric("eficiency", "several")
    with pytest.raises(SpecError, match="metric: unknown 'several'"):
        with_metric("several", "several")


def test_a_function_that_does_not_tell_its_names_is_asked_at_the_first_evaluation() -> None:
    spec = with_metric("anything", "breaks")
    with pytest.raises(KeyError):
        metrics(spec.suite, PLAYED)
    with pytest.raises(CodeFailure, match="metric: 'anything' was not reported"):
        score_of("anything", metrics(with_metric("reward", "several").suite, PLAYED[:2]))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "takes_a_name",
            f"sim.metrics: {HERE}:takes_a_name returns reward, which is reported already; use another name",
        ),
        ("says_a_word", f"sim.metrics: {HERE}:says_a_word: need a number, or a mapping of names to numbers, got "),
    ],
)
def test_what_is_no_metric_of_its_own_is_named(function: str, message: str) -> None:
    with pytest.raises(CodeFailure, match=message):
        metrics(with_metric("reward", function).suite, PLAYED[:2])


def test_held_out_episodes_are_never_trained_on_and_do_not_depend_on_the_ranks() -> None:
    spec = spec_of()
    policy = policy_of(spec)
    alone = play(spec.suite, policy, Share())
    shared = [play(spec.suite, policy, Share(rank, 2)) for rank in (0, 1)]
    assert [(e.simulation, e.index) for e in alone] == [(name, index) for name in ("near", "far") for index in range(4)]
    assert {(e.simulation, e.index) for e in alone} == {(e.simulation, e.index) for part in shared for e in part}
    assert play(spec.suite, policy, Share()) == alone
    words = {tuple(EvaluationSeeds(0, (0, 1))(env, 0).generate_state(2)) for env in (0, 1)}
    words |= {tuple(EvaluationSeeds(0, (0, 1), Purpose.CURVE_EPISODE)(env, 0).generate_state(2)) for env in (0, 1)}
    words |= {tuple(TrainingSeeds(0, 0, 0)(env, 0).generate_state(2)) for env in (0, 1)}
    assert len(words) == 6


def test_greedy_play_is_the_same_whatever_the_generator() -> None:
    spec = spec_of(greedy=True)
    policy = policy_of(spec)
    assert play(spec.suite, policy, Share(0, 2))[0] == play(spec.suite, policy, Share())[0]


def test_episodes_are_rows_that_sqlite_can_read(tmp_path: Path) -> None:
    path = tmp_path / "eval" / "stats.db"
    for _ in range(2):  # the second evaluation replaces the first
        stats_db.write(path, "s.r.0", "arena", PLAYED)
    stats_db.write(path, "s.r.1", "arena", PLAYED[:1])
    with sqlite3.connect(path) as database:
        query = (
            "select simulation, avg(score), count(*) from episodes where run = 's.r.0' group by simulation order "
            "by simulation"
        )
        assert database.execute(query).fetchall() == [("far", 12.0, 2), ("near", 2.0, 2)]
        assert database.execute(
            "select value from episode_stats where run = 's.r.1' and name = 'heart.gained'"
        ).fetchall() == [(2.0,)]


def test_a_random_policy_scores_what_is_known_on_the_basic_arena() -> None:
    score, error = random_policy_score({"sim": {"episodes": 32}})
    assert error is not None
    assert pytest.approx(score, abs=4 * error) == 0.34


def trajectory_of(spec: RunSpec) -> tuple[dict[str, replay.Trajectory], list[PlayedEpisode]]:
    trajectories: dict[str, replay.Trajectory] = {}
    return trajectories, play(spec.suite, policy_of(spec), Share(), trajectories)


def test_a_replay_shows_the_very_episode_that_was_scored(tmp_path: Path) -> None:
    spec = RunSpec.from_mapping(
        {
            "sim": {
                "episodes": 3,
                "simulations": {"calm": SHORT, "war": {"env": "/env/mettagrid/arena/combat", "max_steps": 30}},
            }
        }
    )
    trajectories, episodes = trajectory_of(spec)
    paths = replay.write(tmp_path / "replays", "s.r.0", spec.suite, trajectories)
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
    trajectories, episodes = trajectory_of(spec)
    (path,) = replay.write(tmp_path, "s.r.0", spec.suite, trajectories)
    with np.load(path) as arrays:
        assert len(arrays["actions"]) == arrays["rewards"].sum() == len(arrays["observations"]) == episodes[0].num_steps
