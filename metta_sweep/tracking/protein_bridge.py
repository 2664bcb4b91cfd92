"""The classes that scripts of the old sweep system use: an optimiser bound to one WandB run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from metta_sweep.config.names import asked_names, canonical_tree, parameter
from metta_sweep.config.tree import split
from metta_sweep.errors import ConfigError
from metta_sweep.registry.observations import to_searcher
from metta_sweep.registry.records import ObservationRecord
from metta_sweep.tracking.overriding import overriding
from metta_sweep.tracking.past_runs import past_runs
from metta_sweep.tracking.presentation import protein_observation
from searchers import FailureKind, Observation, Outcome, Params, Protein, ProteinConfig, Space, Suggestion

logger = logging.getLogger(__name__)

Info = dict[str, Any]
MAX_OBSERVATIONS = 250


class WandbProtein:
    """An optimiser whose suggestion goes into a WandB run's config and whose observation goes into its summary.

    Meant for subclassing.

    Args:
        protein: the optimiser.
        wandb_run: an open run, online or offline.
        observations: what earlier runs taught.
        names: under which names suggestions tell parameters, by the optimiser's name; the others keep that.
    """

    def __init__(
        self,
        protein: Protein,
        wandb_run: Any,
        observations: Iterable[Observation] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.protein = protein
        self._wandb_run = wandb_run
        self._names = names or {}
        self._suggestions: dict[str, tuple[Suggestion, float]] = {}
        for observation in observations:
            protein.observe(observation)

    def suggest(self) -> tuple[dict[str, Any], Info]:
        """The next point, which is also in the run's config from now on.

        Returns:
            The point by dotted path, in the spelling of the sweep file, and what there is to know about it:
            `suggestion_uuid` for `observe`, `number`, `origin`, `reason`, `predicted_score`, `predicted_cost`.
        """
        # Each run of an old sweep is a process of its own: only the history says which suggestion this is.
        number = len(self.protein.observations) + len(self._suggestions)
        pending = [open_one.params for open_one, _ in self._suggestions.values()]
        suggestion = self.protein.suggest(pending=pending, number=number)
        uuid = f"{self._wandb_run.id}.{suggestion.number}"
        self._suggestions[uuid] = (suggestion, time.monotonic())
        explanation = suggestion.explanation
        score, cost = explanation.predicted_score, explanation.predicted_cost
        params = self._named(suggestion.params)
        info = {
            "suggestion_uuid": uuid,
            "number": suggestion.number,
            "origin": explanation.origin.value,
            "reason": explanation.reason,
            "predicted_score": score.mean if score else None,
            "predicted_cost": cost.mean if cost else None,
        }
        self.update_wandb_config(params)
        self._wandb_run.summary.update({"protein_suggestion": params, "protein_suggestion_info": info})
        return params, info

    def update_wandb_config(self, wandb_config: Mapping[str, Any]) -> None:
        """Put the suggestion over whatever the run's config says of the same parameters.

        A parameter with several names gets the value under all of them, as dotted key and in nested mappings.
        """
        config = self._wandb_run.config
        values = overriding(dict(config), wandb_config)
        for key in values:  # an agent of WandB locks what its own sweep chose, and `update` leaves that as it is
            getattr(config, "_locked", {}).pop(key, None)
        config.update(values, allow_val_change=True)

    def _named(self, params: Params) -> dict[str, Any]:
        """The point under the names that the sweep file uses."""
        return {self._names.get(name, name): value for name, value in params.items()}

    def observe(self, suggestion_uuid: str, score: float | None, context: Mapping[str, Any] | None = None) -> None:
        """Learn what came of a suggestion, and note it in the run's summary.

        Args:
            suggestion_uuid: from `suggest`'s info.
            score: value of the metric; None, NaN or an infinity = the run failed.
            context: `cost_seconds` (default: the time since the suggestion), `wall_seconds`, `failure` (kind, for a
                failed run; default `hyperparameters`), `score_se` (standard error of the score by its own evaluation).

        Raises:
            KeyError: no open suggestion of this id.
            ObservationError: a cost that is not above 0.
        """
        if suggestion_uuid not in self._suggestions:
            known = ", ".join(self._suggestions) or "none"
            raise KeyError(f"suggestion_uuid={suggestion_uuid!r}: no open suggestion; open ones: {known}")
        suggestion, suggested_at = self._suggestions[suggestion_uuid]
        observation = _observation(suggestion.params, score, context or {}, time.monotonic() - suggested_at)
        self.protein.observe(observation)
        del self._suggestions[suggestion_uuid]
        self._wandb_run.summary.update(_summary(observation, self._named(observation.params)))


class MettaProtein(WandbProtein):
    """The optimiser that a sweep file describes, bound to a WandB run.

    An online run in a group also learns from the group's earlier runs, newest first, up to
    `settings.max_observations_to_load`.

    Args:
        cfg: the sweep file as a mapping or OmegaConf config, in either spelling (`parameters`, `protein` at the top or
            below `sweep`).
        wandb_run: an open run, online or offline.
        observations: what earlier runs taught, in place of the group's; their parameters in any spelling.

    Raises:
        ConfigError: the sweep file has no parameters or an unknown goal.
        SpaceError: a parameter or setting is wrong.
    """

    def __init__(
        self, cfg: Mapping[str, Any], wandb_run: Any, observations: Iterable[Observation] | None = None
    ) -> None:
        cfg = _plain(cfg)
        tree = _canonical(cfg)
        sweep = tree["sweep"]
        goal = sweep.get("goal", "maximize")
        if goal not in ("maximize", "minimize"):
            raise ConfigError(f"sweep.goal: need maximize or minimize, got {goal!r}")
        if not sweep.get("parameters"):
            raise ConfigError("sweep.parameters: need at least one parameter to search, got none")
        space = Space.from_config(sweep["parameters"], sweep.get("constraints", ()))
        settings, rng = (
            ProteinConfig.from_mapping(sweep.get("protein", {})),
            np.random.default_rng(sweep.get("seed", 0)),
        )
        protein = Protein(space, settings, goal, rng=rng)
        limit = tree.get("settings", {}).get("max_observations_to_load", MAX_OBSERVATIONS)
        if observations is None:
            observations = _group_observations(wandb_run, limit)
        super().__init__(protein, wandb_run, map(_canonical_observation, observations), asked_names(cfg))


def _plain(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep file as a plain tree, what stands below its own `sweep:` last."""
    if not isinstance(cfg, dict):
        from omegaconf import OmegaConf

        cfg = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return {**{key: value for key, value in cfg.items() if key != "sweep"}, "sweep": cfg.get("sweep", {})}


def _canonical_observation(observation: Observation) -> Observation:
    """The same observation with its parameters in today's names."""
    params = {".".join(parameter(split(name))): value for name, value in observation.params.items()}
    return replace(observation, params=params)


def _canonical(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep file in one spelling; what stands below its own `sweep:` wins over the WandB header beside it."""
    beside = {key: value for key, value in cfg.items() if key != "sweep"}
    return canonical_tree({"sweep": {**beside, "sweep": cfg.get("sweep", {})}})


def _group_observations(wandb_run: Any, limit: int) -> list[Observation]:
    """Observations of the earlier runs of an online run's group, oldest first."""
    if wandb_run.offline or not wandb_run.group:
        return []
    found = reversed(list(past_runs(wandb_run.entity, wandb_run.project, wandb_run.group, limit)))
    earlier = [(past, past.observation) for past in found if past.observation is not None and past.id != wandb_run.id]
    logger.info("group %s: %d observations", wandb_run.group, len(earlier))
    return [to_searcher(ObservationRecord(0, past.id, 0, "", past.params, result, 0.0)) for past, result in earlier]


def _observation(
    params: Params, score: float | None, context: Mapping[str, Any], elapsed_seconds: float
) -> Observation:
    cost = float(context.get("cost_seconds", elapsed_seconds))
    wall = context.get("wall_seconds")
    is_failed = score is None or not np.isfinite(score)
    return Observation(
        params=params,
        score=None if is_failed else score,
        cost_seconds=cost,
        outcome=Outcome.FAILED if is_failed else Outcome.COMPLETED,
        failure=FailureKind(context.get("failure", FailureKind.HYPERPARAMETERS)) if is_failed else None,
        wall_seconds=None if wall is None else float(wall),
        score_se=None if is_failed else context.get("score_se"),
    )


def _summary(observation: Observation, params: Params) -> dict[str, Any]:
    values = {
        "score": observation.score,
        "cost_seconds": observation.cost_seconds,
        "outcome": observation.outcome.value,
        "failure": observation.failure.value if observation.failure else None,
        "protein_observation": protein_observation(params, observation.score, observation.cost_seconds),
    }
    return {key: value for key, value in values.items() if value is not None}
