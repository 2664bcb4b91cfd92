"""Brings a sweep that lives only in WandB into the registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import wandb
import yaml

from metta_sweep.config.patches import names_code
from metta_sweep.errors import ConfigError, InvalidRequest, NumberTaken, SweepError, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import IMPORTED_FROM, Owner, Reservation, RunRecord
from metta_sweep.registry.specs import check_point, parse_spec
from metta_sweep.tracking.past_runs import PastRun, past_runs

LEASE_SECONDS = 60.0
IMPORT_PHASE = "import"
LOG_SCALE_RATIO = 30.0  # a positive parameter that spans more than this was searched on a log scale


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What `import_wandb` did.

    Attributes:
        imported: new run ids by WandB's id, in the order of their numbers.
        known: runs that the registry has already.
        skipped: reason by WandB's id.
    """

    imported: Mapping[str, str] = field(default_factory=dict)
    known: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)


class NothingToImport(SweepError):
    """WandB has no run of this sweep that says what it tried and what came of it."""

    exit_code = 2


class WandbUnavailable(SweepError):
    """WandB gives no access: no key, no such project, or its server is away."""

    exit_code = 5


def import_wandb(
    entity: str,
    project: str,
    sweep_name: str,
    registry: Registry,
    max_observations_to_load: int,
    *,
    goal: str = "maximize",
) -> ImportReport:
    """Import the newest runs of a WandB group; they get the next numbers of the sweep, oldest first.

    Doing it again imports what is new.

    A sweep that the registry does not know gets a specification inferred from the runs.

    Args:
        entity: "" = the key's default entity.
        max_observations_to_load: runs with an observation, newest first.
        goal: direction of the score, for a sweep that the registry does not know.

    Raises:
        NothingToImport: no usable run.
        WandbUnavailable: no access.
        ConfigError: `goal` is unknown.
    """
    if goal not in ("maximize", "minimize"):
        raise ConfigError(f"sweep.goal: need maximize or minimize, got {goal!r}")
    try:
        found = list(past_runs(entity, project, sweep_name, max_observations_to_load))
    except (wandb.Error, ValueError, OSError) as error:
        where = f"{entity or 'default entity'}/{project}"
        raise WandbUnavailable(f"WandB {where}: {error}; check entity, project and WANDB_API_KEY") from error
    usable = [past for past in reversed(found) if past.observation is not None]
    before = _registered(registry, sweep_name)
    foreign = _foreign(before, usable)
    skipped = {past.id: past.reason for past in found if past.observation is None} | foreign
    usable = [past for past in usable if past.id not in foreign]
    if not usable:
        reasons = "; ".join(f"{run_id} {reason}" for run_id, reason in list(skipped.items())[:3])
        what = f"no run of group {sweep_name!r} can be imported ({reasons or 'the group is empty'})"
        raise NothingToImport(f"WandB {entity}/{project}: {what}")
    stored = registry.runs(sweep_name) if before is not None else []
    if before is None or is_inferred(before):  # new runs may lie beyond those that it was inferred from
        points = [*(run.params for run in stored), *(past.params for past in usable)]
        spec = inferred_spec(sweep_name, goal_of(before) or goal, points)
        registry.create_sweep(sweep_name, spec, wandb_entity=entity, wandb_project=project, update=True)
    known = {name for run in stored if run.state.is_final for name in (run.id, run.explanation.get(IMPORTED_FROM))}
    fresh = [past for past in usable if not {past.id, past.path} & known]
    owner = current_owner()
    imported = {past.id: _store(registry, sweep_name, past, owner).id for past in fresh}
    return ImportReport(imported, len(usable) - len(fresh), skipped)


def _registered(registry: Registry, name: str) -> str | None:
    """The registry's specification, "" when the sweep was made without one; None for an unknown sweep."""
    try:
        return registry.get_sweep(name).spec_yaml
    except UnknownSweep:
        return None


def _foreign(spec_yaml: str | None, pasts: Sequence[PastRun]) -> dict[str, str]:
    """Why runs are left out, by WandB's id: points that are odd, name code to run, or lie outside the search space."""
    space = "" if spec_yaml is None or is_inferred(spec_yaml) else spec_yaml
    reasons: dict[str, str] = {}
    for past in pasts:
        try:
            check_point(space, IMPORT_PHASE, past.params)
        except InvalidRequest as error:
            reasons[past.id] = str(error)
        for name, value in past.params.items():
            if name.split(".")[0] == "trainable" or names_code(name, value):
                reasons[past.id] = f"its parameter {name} names code to run"
                break
    return reasons


def is_inferred(spec_yaml: str) -> bool:
    """Whether an import wrote this specification; no driver has described the sweep since."""
    return bool(spec_yaml) and parse_spec(spec_yaml).get("train") == {}


def goal_of(spec_yaml: str | None) -> str | None:
    return parse_spec(spec_yaml).get("goal") if spec_yaml else None


def _store(registry: Registry, sweep: str, past: PastRun, owner: Owner) -> RunRecord:
    """Reserve, start and finish, each with a key of the run's path: an import that was cut off goes on there."""
    assert past.observation is not None
    key = "import:" + hashlib.sha256(past.path.encode()).hexdigest()[:32]
    run = _reserve(registry, sweep, past, owner, f"{key}:reserve")
    registry.start(run.id, run.fence, num_gpus=0.0, key=f"{key}:start")
    registry.finish(run.id, run.fence, past.observation, key=f"{key}:finish")
    return run


def _reserve(registry: Registry, sweep: str, past: PastRun, owner: Owner, key: str) -> RunRecord:
    explanation = {"origin": "import", "reason": f"imported from WandB run {past.path}", IMPORTED_FROM: past.path}
    while True:
        reservation = Reservation(registry.next_number(sweep), past.params, explanation, phase=IMPORT_PHASE)
        try:
            return registry.reserve(sweep, reservation, owner, lease_seconds=LEASE_SECONDS, key=key)
        except NumberTaken:
            continue  # a driver of this sweep was first; take the next


def inferred_spec(sweep_name: str, goal: str, points: Sequence[Mapping[str, Any]]) -> str:
    """A specification that analysis and dashboard can read; `run` with a real one replaces it (`--update`)."""
    names = sorted({name for point in points for name in point})
    parameters = {name: inferred_parameter([point[name] for point in points if name in point]) for name in names}
    ends = {"name": "", "num_runs": None, "auto": False}
    phase: dict[str, Any] = {**ends, "parameters": parameters, "constraints": [], "protein": {}}
    search = {"metric": "score", "goal": goal, "method": "bayes", "cost": "wall", "early_stopping": False}
    nothing: dict[str, Any] = {"searcher": None, "fixed": {}, "choices": {}, "train": {}}
    spec = {"sweep_name": sweep_name, "seed": 0, **search, **nothing, "phases": [phase]}
    return yaml.safe_dump(spec, sort_keys=True)


def inferred_parameter(values: Sequence[Any]) -> dict[str, Any]:
    """The narrowest distribution that holds all values."""
    distinct = set(values)
    if len(distinct) == 1:
        return {"value": values[0]}
    if any(isinstance(value, str | bool) for value in values):
        return {"distribution": "categorical", "choices": sorted(distinct, key=str)}
    low, high = min(distinct), max(distinct)
    if all(isinstance(value, int) for value in values):
        is_pow2 = all(value > 0 and value & (value - 1) == 0 for value in values)
        return {"distribution": "uniform_pow2" if is_pow2 else "int_uniform", "min": low, "max": high}
    is_log = low > 0 and high / low > LOG_SCALE_RATIO
    return {"distribution": "log_normal" if is_log else "uniform", "min": float(low), "max": float(high)}
