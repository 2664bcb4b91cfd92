"""What the environment says about the configuration: WandB's own variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta_sweep.config.overrides import Assignment
from metta_sweep.errors import ConfigError
from trainables.fields import nearest

# Values of WANDB_MODE, and of `wandb.mode`; the last two are WandB's older words.
WANDB_MODES = {"online": "online", "offline": "offline", "disabled": "off", "run": "online", "dryrun": "offline"}
MODES = ("auto", "online", "offline", "off")


def wandb_mode(environ: Mapping[str, str]) -> str | None:
    """`wandb.mode` as WANDB_MODE asks for it; None when it is not set. Raises `ConfigError` for an unknown value."""
    asked = environ.get("WANDB_MODE")
    if not asked:
        return None
    if asked not in WANDB_MODES:
        near = nearest(asked, WANDB_MODES)
        raise ConfigError(f"environment: WANDB_MODE: unknown value {asked!r}{near}; unset it, or say wandb.mode=off")
    return WANDB_MODES[asked]


def from_environment(environ: Mapping[str, str]) -> tuple[Assignment, ...]:
    """Values of WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE and WANDB_TAGS. Raises `ConfigError` as `wandb_mode` does."""
    values: dict[str, Any] = {
        "project": environ.get("WANDB_PROJECT"),
        "entity": environ.get("WANDB_ENTITY"),
        "mode": wandb_mode(environ),
        "tags": [tag.strip() for tag in environ.get("WANDB_TAGS", "").split(",") if tag.strip()],
    }
    given = {key: value for key, value in values.items() if value}
    return tuple(Assignment(("wandb", key), value, f"WANDB_{key.upper()}={value}") for key, value in given.items())
