"""Which setting acts under which objective: `python -m tests.searchers.setting_table > searchers/SETTINGS.md`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from searchers import CurvePoint, Observation, Params, ProteinConfig, Space
from searchers.belief import CentrePrior
from searchers.config import field_names, idle_settings
from searchers.features import Features
from searchers.proposer import Proposer
from searchers.surrogate_models import SurrogateModels

LENGTH = "trainer.total_timesteps"
SPACE = Space.from_config(
    {
        "x": {"distribution": "uniform", "min": 0.0, "max": 1.0},
        LENGTH: {"distribution": "log_normal", "min": 1e4, "max": 1e6},
    }
)
BASES: dict[str, dict[str, Any]] = {
    "pareto": {},
    "best": {"objective": "best"},
    "target": {"objective": "target", "target_score": 2.0},
    "acquisition: logei": {"acquisition": "logei"},
    "acquisition: front": {"acquisition": "front"},
    "acquisition: naive": {"acquisition": "naive"},
}
OTHERS: dict[str, tuple[Any, ...]] = {
    "num_random_samples": (60,),
    "seed_with_search_center": (False,),
    "max_suggestion_cost": (15.0,),
    "random_suggestions": (2,),
    "suggestions_per_pareto": (1,),
    "global_search_scale": (0.2,),
    "expansion_rate": (0.0, 9.0),
    "resample_frequency": (1,),
    "objective": ("pareto", "best", "target"),
    "target_score": (0.1,),
    "budget": (1.0, 1e9),
    "acquisition": ("logei", "front", "naive"),
    "fidelity": ("x",),
    "curve_points": (0,),
}
NUMBERS = (0, 12, 13, 14, 15, 17)  # 0: of the initial design


def history() -> list[Observation]:
    """Cheap runs whose score grows with their length, so that longer ones are worth a try."""
    rng = np.random.default_rng(0)
    runs = []
    for number in range(12):
        point: Params = {"x": float(rng.uniform()), LENGTH: 1e4 * 1.2**number}
        score = float(1.2**number / 9 - 2 * (float(point["x"]) - 0.4) ** 2)
        curve = (CurvePoint(int(0.4 * float(point[LENGTH])), 5.0, score - 0.5),)
        runs.append(Observation(point, score, float(point[LENGTH]) / 1e4 + 10.0, curve=curve))
    return runs


def models(config: ProteinConfig, count: int) -> SurrogateModels:
    found = SurrogateModels(SPACE, Features.of(SPACE, config.fidelity, config.curve_points), 1.0)
    for run in history()[:count]:
        found.observe(run)
    return found


class Measured:
    """Suggestions under settings; the models are shared where the settings make no other ones."""

    def __init__(self) -> None:
        self._models: dict[tuple[Any, ...], SurrogateModels] = {}

    @cache  # noqa: B019 - lives as long as the measurement
    def suggestion(self, config: ProteinConfig, number: int) -> Params:
        key = (config.fidelity, config.curve_points, min(number, 12))
        if key not in self._models:
            self._models[key] = models(config, min(number, 12))
        none = np.zeros((0, SPACE.dimension))
        rows = np.zeros((0, len(self._models[key].features.groups)))
        weights = CentrePrior(SPACE).weights(self._models[key], number)
        return Proposer(self._models[key], config, 1, weights).suggest(number, none, rows).params

    def acts(self, name: str, base: ProteinConfig) -> bool:
        """Whether another value of the setting changes a suggestion."""
        more = {value: {"target_score": 2.0} if value == "target" else {} for value in OTHERS[name]}
        others = [replace(base, **{**more[value], name: value}) for value in OTHERS[name]]
        return any(
            self.suggestion(other, number) != self.suggestion(base, number) for number in NUMBERS for other in others
        )


def measured() -> dict[str, dict[str, bool]]:
    """Setting -> objective -> whether it acts."""
    at = Measured()
    return {
        name: {base: at.acts(name, ProteinConfig(**settings)) for base, settings in BASES.items()}
        for name in field_names()
    }


def declared() -> dict[str, dict[str, bool]]:
    """The same as `validate` says it."""
    configs = {base: ProteinConfig(**settings) for base, settings in BASES.items()}
    idle = {base: idle_settings(config.objective, config.acquisition) for base, config in configs.items()}
    return {name: {base: name not in idle[base] for base in BASES} for name in field_names()}


def text() -> str:
    """The page."""
    head = ["# Settings of `sweep.protein`, and where each acts", ""]
    head += [
        "Measured by a test (`tests/searchers/setting_table.py`), which changes each setting under each objective and"
    ]
    head += ["looks whether suggestions change. `validate` names a setting that is written where it cannot act.", ""]
    head += [f"| setting | {' | '.join(BASES)} |", f"| --- |{' --- |' * len(BASES)}"]
    rows = [
        f"| `{name}` | {' | '.join('acts' if acts else 'no effect' for acts in row.values())} |"
        for name, row in declared().items()
    ]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    print(text(), end="")
