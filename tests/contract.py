"""What every searcher must do, as functions that a test module calls with its own factory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from searchers import FailureKind, Observation, Params, Space, Suggestion

MakeSearcher = Callable[[str, int], Any]
"""(goal, seed) -> searcher over `SPACE`."""

SPACE = Space.from_config(
    {
        "trainer": {
            "optimizer": {
                "learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2},
                "type": {"choices": ["adam", "muon"]},
            },
            "ppo.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.999, "mean": 0.99},
            "batch_size": {"distribution": "uniform_pow2", "min": 256, "max": 4096},
            "minibatch_size": {"distribution": "uniform_pow2", "min": 128, "max": 4096},
            "total_timesteps": {"distribution": "int_log_normal", "min": 10_000, "max": 300_000},
        },
        "model.num_layers": {"distribution": "int_uniform", "min": 1, "max": 4},
        "env.difficulty": {"min": 0.1, "max": 1.0},
    },
    constraints=["trainer.minibatch_size <= trainer.batch_size"],
)


def truth(params: Params) -> float:
    """A smooth score with its best point inside the space."""
    rate = np.log10(float(params["trainer.optimizer.learning_rate"])) + 3.2
    steps = float(params["trainer.total_timesteps"]) / 300_000
    kind = 0.0 if params["trainer.optimizer.type"] == "muon" else 0.2
    difficulty = float(params["env.difficulty"]) - 0.6
    return float(
        np.sqrt(steps) - 0.2 * rate**2 - difficulty**2 - kind - 0.05 * abs(float(params["model.num_layers"]) - 2)
    )


def observe_truth(searcher: Any, suggestion: Suggestion, sign: float = 1.0) -> Observation:
    """Run the suggestion: noise-free score, cost by steps; every seventh run fails."""
    cost = 5.0 + float(suggestion.params["trainer.total_timesteps"]) / 1000
    observation = Observation(suggestion.params, sign * truth(suggestion.params), cost)
    if suggestion.number % 7 == 6:
        observation = Observation.failed(suggestion.params, cost / 3, FailureKind.HYPERPARAMETERS)
    searcher.observe(observation)
    return observation


def history(searcher: Any, count: int, sign: float = 1.0) -> list[Suggestion]:
    """The suggestions of a sweep of `count` runs, one at a time."""
    suggestions = []
    for _ in range(count):
        suggestions.append(searcher.suggest())
        observe_truth(searcher, suggestions[-1], sign)
    return suggestions


def same_seed_same_suggestions(make: MakeSearcher) -> None:
    first, second, other = (history(make("maximize", seed), 16) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def minimize_mirrors_maximize(make: MakeSearcher) -> None:
    assert history(make("maximize", 0), 18) == history(make("minimize", 0), 18, sign=-1.0)


def suggestions_are_inside_the_space(make: MakeSearcher) -> None:
    assert all(SPACE.contains(suggestion.params) for suggestion in history(make("maximize", 1), 16))


def asking_more_often_changes_nothing(make: MakeSearcher) -> None:
    calm, eager = make("maximize", 5), make("maximize", 5)
    for number in range(14):
        for repeat in range(3):
            eager.suggest(number=number + repeat)
        suggestion = calm.suggest(number=number)
        assert suggestion == eager.suggest(number=number)
        observe_truth(calm, suggestion)
        observe_truth(eager, suggestion)


def pending_points_are_not_suggested_again(make: MakeSearcher) -> None:
    searcher = make("maximize", 2)
    history(searcher, 12)
    pending: list[Params] = []
    for _ in range(12):
        suggestion = searcher.suggest(pending)
        assert suggestion.params not in pending
        pending.append(suggestion.params)


def failed_runs_are_never_the_incumbent(make: MakeSearcher) -> None:
    searcher = make("maximize", 0)
    for seed in range(4):
        searcher.observe(Observation.failed(make("maximize", seed).suggest().params, 10.0, FailureKind.HYPERPARAMETERS))
    assert searcher.incumbent() is None
    suggestion = searcher.suggest()
    searcher.observe(Observation(suggestion.params, -50.0, 10.0))
    assert searcher.incumbent().params == suggestion.params


def replaying_the_log_continues_identically(make: MakeSearcher) -> None:
    searcher, replayed = make("maximize", 9), make("maximize", 9)
    for _ in range(15):
        observation = observe_truth(searcher, searcher.suggest())
        replayed.observe(observation)
    assert searcher.suggest(number=15) == replayed.suggest(number=15)


def two_in_one_process_do_not_know_of_each_other(make: MakeSearcher) -> None:
    alone = history(make("maximize", 6), 13)
    searcher, neighbour, together = make("maximize", 6), make("minimize", 7), []
    for _ in range(13):
        together.append(searcher.suggest())
        observe_truth(neighbour, neighbour.suggest(), sign=-3.0)
        observe_truth(searcher, together[-1])
    assert together == alone


CONTRACT = (
    same_seed_same_suggestions,
    minimize_mirrors_maximize,
    suggestions_are_inside_the_space,
    asking_more_often_changes_nothing,
    pending_points_are_not_suggested_again,
    failed_runs_are_never_the_incumbent,
    replaying_the_log_continues_identically,
    two_in_one_process_do_not_know_of_each_other,
)
