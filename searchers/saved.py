"""Observations and spaces as JSON and back: data alone, so that reading a file runs no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from searchers.observation import CurvePoint, Observation
from searchers.space import Space


def space_to_json(space: Space) -> dict[str, Any]:
    return {"parameters": space.to_config(), "constraints": [constraint.text for constraint in space.constraints]}


def space_from_json(data: Mapping[str, Any]) -> Space:
    """The space again; distributions of one's own have to be registered before.

    Raises:
        SpaceError: it is none.
    """
    return Space.from_config(data["parameters"], data["constraints"], warn=False)


def observation_to_json(observation: Observation) -> dict[str, Any]:
    return {**asdict(observation), "curve": curve_to_json(observation.curve)}


def observation_from_json(data: Mapping[str, Any]) -> Observation:
    """The observation again.

    Raises:
        ObservationError: it is none.
    """
    return Observation(**{**data, "curve": curve_from_json(data["curve"])})


def curve_to_json(curve: Sequence[CurvePoint]) -> list[list[float | None]]:
    return [[point.env_steps, point.seconds, point.score, point.score_se] for point in curve]


def curve_from_json(points: Sequence[Sequence[Any]]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(*point) for point in points)
