"""Reads offline WandB runs back: a LevelDB-style log of protobuf records."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK_BYTES = 32768
FILE_HEADER_BYTES = 7
RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, type: 1 full, 2 first, 3 middle, 4 last


@dataclass
class OfflineRun:
    """What one `.wandb` file says."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None


def read_offline_runs(run_directory: Path) -> list[OfflineRun]:
    """All offline copies below a run's directory, oldest first."""
    return [read_offline_run(path) for path in sorted(run_directory.glob("wandb/offline-run-*/*.wandb"))]


def read_offline_run(path: Path) -> OfflineRun:
    run = OfflineRun()
    for payload in records(path.read_bytes()):
        record = Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            message = record.run
            run.id, run.name, run.group, run.job_type = (
                message.run_id,
                message.display_name,
                message.run_group,
                message.job_type,
            )
            run.project, run.tags = message.project, tuple(message.tags)
            put(run.config, message.config.update)
        elif kind == "config":
            put(run.config, record.config.update)
        elif kind == "summary":
            put(run.summary, record.summary.update)
        elif kind == "history":
            row: dict[str, Any] = {}
            put(row, record.history.item)
            run.history.append(row)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def put(target: dict[str, Any], items: Any) -> None:
    for item in items:
        *parents, last = list(item.nested_key) or [item.key]
        branch = target
        for key in parents:
            branch = branch.setdefault(key, {})
        branch[last] = json.loads(item.value_json)


def records(data: bytes) -> Iterator[bytes]:
    """Whole payloads; a torn tail is the end."""
    assert data[:4] == b":W&B", data[:4]
    position, parts = FILE_HEADER_BYTES, b""
    while position + RECORD_HEADER.size <= len(data):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < RECORD_HEADER.size:
            position += left
            continue
        _, length, kind = RECORD_HEADER.unpack_from(data, position)
        position += RECORD_HEADER.size
        parts += data[position : position + length]
        position += length
        if position > len(data):
            return
        if kind in (1, 4):
            yield parts
            parts = b""
