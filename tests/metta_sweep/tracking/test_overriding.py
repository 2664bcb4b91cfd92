"""No spelling of a parameter keeps an old value in a run's config."""

from __future__ import annotations

from typing import Any

import pytest

from metta_sweep.tracking.overriding import overriding

ALIASES = {
    "trainer.learning_rate": "trainer.optimizer.learning_rate",
    "trainer.gamma": "trainer.ppo.gamma",
    "trainer.clip_param": "trainer.ppo.clip_coef",
    "trainer.entropy_coeff": "trainer.ppo.ent_coef",
}
RATE = {"trainer.learning_rate": 0.1, "trainer.optimizer.learning_rate": 0.1}


@pytest.mark.parametrize("asked", [*ALIASES, *ALIASES.values()])
def test_both_names_of_a_parameter_get_the_value(asked: str) -> None:
    (pair,) = [{alias, name} for alias, name in ALIASES.items() if asked in (alias, name)]
    assert overriding({name: 0.5 for name in pair}, {asked: 0.1}) == dict.fromkeys(pair, 0.1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"trainer": {"learning_rate": 0.5}}, {"trainer": {"learning_rate": 0.1, "optimizer": {"learning_rate": 0.1}}}),
        (
            {"trainer": {"optimizer": {"learning_rate": 0.5, "type": "adam"}, "gamma": 0.9}},
            {"trainer": {"optimizer": {"learning_rate": 0.1, "type": "adam"}, "gamma": 0.9, "learning_rate": 0.1}},
        ),
        (
            {"trainer": {"optimizer.learning_rate": 0.5, "optimizer": "adam"}},  # a scalar stays
            {"trainer": {"optimizer.learning_rate": 0.1, "optimizer": "adam", "learning_rate": 0.1}},
        ),
        ({"trainer.optimizer": {"learning_rate": 0.5}}, {"trainer.optimizer": {"learning_rate": 0.1}}),
        ({"trainer": "ppo", "model": {"trainer": {"learning_rate": 7}}}, {}),  # another trainer's
    ],
)
def test_nested_spellings_get_it_too_and_the_rest_stays(config: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(config)
    assert overriding(config, {"trainer.learning_rate": 0.1}) == RATE | expected
    assert repr(config) == before


def test_a_nested_suggestion_means_the_same() -> None:
    nested = {"trainer": {"learning_rate": 0.1}}
    assert overriding({"trainer": {"learning_rate": 0.5, "gamma": 0.9}}, nested) == RATE | {
        "trainer": {"learning_rate": 0.1, "gamma": 0.9, "optimizer": {"learning_rate": 0.1}},
    }


def test_a_parameter_with_one_name_and_a_config_without_it_get_that_only() -> None:
    assert overriding({"seed": 3, "model": {"type": "mlp"}}, {"trainer.batch_size": 64}) == {"trainer.batch_size": 64}
