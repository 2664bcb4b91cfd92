"""Settings of Protein: read with their types, refused with their line."""

from __future__ import annotations

from typing import Any

import pytest

from searchers import ProteinConfig, SpaceError


@pytest.mark.parametrize(
    ("mapping", "lines"),
    [
        ({"max_sugestion_cost": 1}, ("max_sugestion_cost: unknown setting; did you mean max_suggestion_cost?",)),
        ({"num_random_samples": 2.5, "objective": "prato"}, ("num_random_samples: need a whole number, got 2.5",)),
        ({"objective": "parto"}, ("objective: need one of pareto, best, target, got 'parto'; did you mean pareto?",)),
        (
            {"objective": "target"},
            ("target_score: objective target needs it; set target_score or use objective: best",),
        ),
        ({"max_suggestion_cost": 0}, ("max_suggestion_cost: need a number > 0, got 0.0; leave it out for no limit",)),
        ({"resample_frequency": -1}, ("resample_frequency: need at least 0, got -1",)),
        ({"seed_with_search_center": "yes"}, ("seed_with_search_center: need true or false, got 'yes'",)),
        ({"max_suggestion_cost": "an hour"}, ("max_suggestion_cost: need a finite number, got 'an hour'",)),
        (
            {"exploration_share": 0.0},
            ("exploration_share: was removed, since exploring at random gained nothing; leave it out",),
        ),
        (
            {"acquisition": "gittins"},
            ("acquisition: gittins was removed, since it was no better than logei; use auto or logei",),
        ),
    ],
)
def test_a_bad_setting_has_its_line(mapping: dict[str, Any], lines: tuple[str, ...]) -> None:
    with pytest.raises(SpaceError) as caught:
        ProteinConfig.from_mapping(mapping)
    assert caught.value.problems[: len(lines)] == lines


def test_no_limit_may_be_written_as_null() -> None:
    assert ProteinConfig.from_mapping({"max_suggestion_cost": None}).max_suggestion_cost is None


def test_settings_of_the_page_are_read_with_their_types() -> None:
    page = {
        "num_random_samples": 20,
        "max_suggestion_cost": 3600,
        "resample_frequency": 3,
        "global_search_scale": 1.0,
        "random_suggestions": 15,
        "suggestions_per_pareto": 32,
        "expansion_rate": 0.15,
        "seed_with_search_center": True,
    }
    config = ProteinConfig.from_mapping(page)
    assert {key: getattr(config, key) for key in page} == page
    assert isinstance(config.max_suggestion_cost, float)


def test_what_an_earlier_version_stored_without_effect_is_left_out_and_what_had_one_is_refused() -> None:
    assert ProteinConfig.from_stored({"exploration_share": 0.0, "curve_points": 2}) == ProteinConfig(curve_points=2)
    with pytest.raises(SpaceError, match="exploration_share: was removed"):
        ProteinConfig.from_stored({"exploration_share": 0.1})
