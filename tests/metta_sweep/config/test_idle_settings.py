"""A setting of the optimiser that is written where it cannot act is named before anything starts."""

from __future__ import annotations

from metta_sweep.config.moot import moot_notes


def test_a_setting_that_cannot_act_beside_the_objective_is_named_also_in_a_phase() -> None:
    phases = [{"sweep": {"protein": {"expansion_rate": 0.1}}}, {"sweep": {"protein": {"objective": "pareto"}}}]
    tree = {"sweep": {"protein": {"objective": "best", "expansion_rate": 0.2}, "schedule": {"phases": phases}}}
    notes = moot_notes(tree, {("sweep", "protein", "expansion_rate")}, lambda key, text: f"{key}: {text}")
    assert notes[:2] == (
        "sweep.protein.expansion_rate: no effect: sweep.protein.objective is best",
        "sweep.schedule.phases.0.sweep.protein.expansion_rate: no effect: objective is best",
    )
    assert not [note for note in notes if "phases.1" in note]
