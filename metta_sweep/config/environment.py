"""What the environment says about the configuration: WandB's own variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta_sweep.config.overrides import Assignment

MODES = {"online": "online", "offline": "offline", "disabled": "off"}


def from_environment(environ: Mapping[str, str]) -> tuple[Assignment, ...]:
    """Values of WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE and WANDB_TAGS; an unknown mode is passed on and refused with the rest."""
    values: dict[str, Any] = {
        "project": environ.get("WANDB_PROJECT"),
        "entity": environ.get("WANDB_ENTITY"),
        "mode": MODES.get(environ.get("WANDB_MODE", ""), environ.get("WANDB_MODE")),
        "tags": [tag.strip() for tag in environ.get("WANDB_TAGS", "").split(",") if tag.strip()],
    }
    return tuple(Assignment(("wandb", key), value, f"WANDB_{key.upper()}={value}") for key, value in values.items() if value)
