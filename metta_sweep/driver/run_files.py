"""Files of a run that the driver writes before it starts (design: files of a sweep)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from metta_sweep.registry.records import RunRecord
from trainables.disk import write_whole

RUN_CONFIG = "train_config_overrides.yaml"
# libyaml's is several times faster; both write the same.
DUMPER: type = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write_run_files(directory: Path, record: RunRecord, spec: dict[str, Any]) -> None:
    """Write suggestion, optimiser state and the resolved overrides of one run.

    Args:
        directory: the run's own directory; made when missing.
        record: the run as reserved.
        spec: what the trainable gets, resolved.
    """
    directory.mkdir(parents=True, exist_ok=True)
    suggestion = {"protein": {"run": record.id, "phase": record.phase, "suggestion": dict(record.params)}}
    state = {
        "protein": {
            "number": record.number,
            "phase": record.phase,
            "observations": record.cursor,
            "predicted_score": record.predicted_score,
            "predicted_cost_seconds": record.predicted_cost,
            "explanation": dict(record.explanation),
        }
    }
    write_yaml(directory / "protein_suggestion.yaml", suggestion)
    write_yaml(directory / "protein_state.yaml", state)
    write_run_config(directory, spec)


def write_run_config(directory: Path, spec: Mapping[str, Any]) -> None:
    """`train_config_overrides.yaml`: what the run gets, sorted, so that `diff` shows how two runs differ."""
    write_yaml(directory / RUN_CONFIG, spec, sort_keys=True)


def write_yaml(path: Path, content: Mapping[str, Any], *, sort_keys: bool = False) -> None:
    """Write a YAML file, whole."""
    write_whole(path, yaml.dump(dict(content), Dumper=DUMPER, sort_keys=sort_keys, allow_unicode=True))
