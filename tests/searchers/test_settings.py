"""Every setting has the effect that its description says, or is known to have none."""

from __future__ import annotations

from pathlib import Path

from searchers import ProteinConfig
from tests.searchers.setting_table import LENGTH, OTHERS, Measured, declared, measured, text

PAGE = Path(__file__).parents[2] / "searchers" / "SETTINGS.md"


def test_a_setting_changes_suggestions_exactly_where_it_is_said_to() -> None:
    assert set(OTHERS) == set(declared())
    assert measured() == declared()


def test_the_page_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == text()


def test_the_reach_of_costs_follows_the_expansion_rate() -> None:
    reach = {}
    for rate in (0.0, 1.0, 9.0):
        at = Measured()
        config = ProteinConfig(expansion_rate=rate)
        lengths = [float(at.suggestion(config, number)[LENGTH]) for number in range(12, 24)]
        reach[rate] = max(lengths)
    assert reach[0.0] < reach[1.0] < reach[9.0]
