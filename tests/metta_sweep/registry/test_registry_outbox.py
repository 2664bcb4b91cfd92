"""What is put into the outbox reaches the registry exactly once, whatever dies when."""

from __future__ import annotations

import errno
import io
import os
import time
from pathlib import Path

import pytest

from metta_sweep.errors import AccessDenied, Fenced, InvalidRequest, RegistryError, RegistryUnavailable, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.outbox import Delivery, Message, Outbox
from metta_sweep.registry.records import NewObservation, Reservation, RunState
from tests.metta_sweep.registry.registry_backends import HERE, THERE, ClosingAll, reserve

DONE = NewObservation("completed", 1.5, 10.0, 11.0, metrics={"reward": 1.5})


@pytest.fixture
def registry(sqlite_registry: Registry) -> Registry:
    return sqlite_registry


def put_run(outbox: Outbox, registry: Registry) -> str:
    """Reserve a run and put its start and its result; returns its id."""
    run = reserve(registry)
    outbox.put("start", {"run_id": run.id, "fence": run.fence, "num_gpus": 0})
    outbox.put("finish", {"run_id": run.id, "fence": run.fence, "observation": DONE})
    return run.id


def test_messages_arrive_in_order_and_are_pending_no_more(
    registry: Registry, tmp_path: Path, opened: ClosingAll
) -> None:
    outbox = opened(Outbox(tmp_path / "outbox"))
    run_id = put_run(outbox, registry)
    assert [message.kind for message in outbox.pending()] == ["start", "finish"]
    started, finished = outbox.deliver(registry)
    assert (started.refusal, finished.refusal) == (None, None)
    assert finished.answer == registry.observations("s")[0]
    assert registry.get_run(run_id).state == RunState.COMPLETED
    assert outbox.pending() == []
    assert outbox.deliver(registry) == []


def test_a_closed_outbox_with_nothing_pending_leaves_no_file(registry: Registry, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    put_run(outbox, registry)
    outbox.deliver(registry)
    outbox.close()
    assert list(tmp_path.glob("*.outbox")) == []


def test_the_next_outbox_takes_over_what_was_left(registry: Registry, tmp_path: Path, opened: ClosingAll) -> None:
    left = Outbox(tmp_path)
    put_run(left, registry)
    left.close()
    taken = opened(Outbox(tmp_path))
    assert [message.kind for message in taken.pending()] == ["start", "finish"]
    taken.deliver(registry)
    assert len(registry.observations("s")) == 1


def test_the_outbox_of_a_living_driver_is_left_alone(registry: Registry, tmp_path: Path, opened: ClosingAll) -> None:
    living = opened(Outbox(tmp_path))
    put_run(living, registry)
    other = opened(Outbox(tmp_path))
    assert other.pending() == []
    assert len(living.pending()) == 2


def test_a_delivery_that_was_not_noted_is_repeated_without_effect(
    registry: Registry, tmp_path: Path, opened: ClosingAll
) -> None:
    outbox = Outbox(tmp_path)
    put_run(outbox, registry)
    (path,) = tmp_path.glob("*.outbox")
    before_delivery = path.read_bytes()
    outbox.deliver(registry)
    outbox.close()
    (tmp_path / "copy.outbox").write_bytes(before_delivery)
    again = opened(Outbox(tmp_path)).deliver(registry)
    assert again[1].answer == registry.observations("s")[0]
    assert len(registry.observations("s")) == 1


def test_a_file_torn_at_any_byte_of_its_last_record_keeps_all_before_it(tmp_path: Path, opened: ClosingAll) -> None:
    nodes = {"run_id": "s.r.0", "fence": 1, "nodes": []}
    outbox = opened(Outbox(tmp_path / "whole"))
    outbox.put("start", {"run_id": "s.r.0", "fence": 1, "num_gpus": 0})
    outbox.put("record_nodes", nodes)
    (path,) = (tmp_path / "whole").glob("*.outbox")
    content = path.read_bytes()
    for size in range(content.index(b"\n") + 1, len(content) + 1):
        torn = tmp_path / str(size)
        torn.mkdir()
        (torn / "0.outbox").write_bytes(content[:size])
        recovered = Outbox(torn)
        expected = ["start", "record_nodes"] if size == len(content) else ["start"]
        assert [message.kind for message in recovered.pending()] == expected, size
        recovered.put("record_nodes", nodes)
        recovered.close()
        reopened = Outbox(torn)
        assert [message.kind for message in reopened.pending()] == [*expected, "record_nodes"], size
        reopened.close()


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"\0" * 50 + b"\n", b"deadbeef {}\n", b"\n"])
def test_garbage_at_the_end_is_left_out(registry: Registry, tmp_path: Path, garbage: bytes, opened: ClosingAll) -> None:
    outbox = Outbox(tmp_path)
    put_run(outbox, registry)
    outbox.close()
    (path,) = tmp_path.glob("*.outbox")
    path.write_bytes(path.read_bytes() + garbage)
    assert len(opened(Outbox(tmp_path)).pending()) == 2


def test_damage_before_a_whole_message_is_not_passed_over(registry: Registry, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    put_run(outbox, registry)
    outbox.close()
    (path,) = tmp_path.glob("*.outbox")
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RegistryError, match="line 1 is damaged"):
        Outbox(tmp_path)
    assert list(tmp_path.glob("*.outbox")) == [path]


class Unavailable:
    """A registry that answers `working` calls and is gone then."""

    def __init__(self, registry: Registry, working: int) -> None:
        self._registry, self._working = registry, working

    def __getattr__(self, name: str) -> object:
        if self._working == 0:
            raise RegistryUnavailable("connection refused")
        self._working -= 1
        return getattr(self._registry, name)


def test_what_an_unavailable_registry_did_not_take_stays_pending(
    registry: Registry, tmp_path: Path, opened: ClosingAll
) -> None:
    outbox = opened(Outbox(tmp_path))
    put_run(outbox, registry)
    assert len(outbox.deliver(Unavailable(registry, 1))) == 1
    assert [message.kind for message in outbox.pending()] == ["finish"]
    assert len(outbox.deliver(registry)) == 1


class Spoiled(Outbox):
    """Its `number`-th message cannot be sent, for this reason."""

    def __init__(self, directory: Path, number: int, error: Exception) -> None:
        super().__init__(directory)
        self._left, self._error = number, error

    def _send(self, registry: Registry, message: Message) -> Delivery:
        self._left -= 1
        if self._left == 0:
            raise self._error
        return super()._send(registry, message)


@pytest.mark.parametrize("error", [AccessDenied("token"), OSError(errno.ENOSPC, "full")], ids=["token", "disk"])
def test_what_was_delivered_before_any_trouble_is_told(registry: Registry, tmp_path: Path, error: Exception) -> None:
    outbox = Spoiled(tmp_path, 2, error)
    put_run(outbox, registry)
    assert [delivery.message.kind for delivery in outbox.deliver(registry)] == ["start"]
    assert [delivery.message.kind for delivery in outbox.deliver(registry)] == ["finish"]


@pytest.mark.parametrize("error", [AccessDenied("token"), OSError(errno.ENOSPC, "full")], ids=["token", "disk"])
def test_trouble_with_the_first_message_is_raised(registry: Registry, tmp_path: Path, error: Exception) -> None:
    outbox = Spoiled(tmp_path, 1, error)
    put_run(outbox, registry)
    with pytest.raises(type(error)):
        outbox.deliver(registry)
    assert len(outbox.deliver(registry)) == 2


def test_a_refused_message_is_kept_aside_and_stops_nobody(
    registry: Registry, tmp_path: Path, opened: ClosingAll
) -> None:
    run = registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=0.001, key="k")
    time.sleep(0.01)
    registry.claim("s", THERE, lease_seconds=300, key="c")
    outbox = opened(Outbox(tmp_path))
    outbox.put("start", {"run_id": run.id, "fence": run.fence, "num_gpus": 0})
    put_run(outbox, registry)
    deliveries = outbox.deliver(registry)
    assert [type(delivery.refusal) for delivery in deliveries] == [Fenced, type(None), type(None)]
    assert "fence 1 is old" in (tmp_path / "refused.jsonl").read_text()
    assert outbox.pending() == []


def test_another_registry_than_the_right_one_loses_nothing(
    registry: Registry, tmp_path: Path, opened: ClosingAll
) -> None:
    outbox = opened(Outbox(tmp_path))
    outbox.put("start", {"run_id": "elsewhere.r.0", "fence": 1, "num_gpus": 0})
    with pytest.raises(UnknownSweep):
        outbox.deliver(registry)
    assert len(outbox.pending()) == 1


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("begin", {}),
        ("start", {"run_id": "s.r.0"}),
        ("start", {"run_id": "s.r.0", "fence": 1, "num_gpus": 0, "colour": "red"}),
        ("start", {"run_id": object(), "fence": 1, "num_gpus": 0}),
        ("finish", {"run_id": "s.r.0", "fence": 1, "observation": {"outcome": "completed"}}),
    ],
)
def test_a_message_that_could_never_be_delivered_is_refused_at_once(
    tmp_path: Path, kind: str, payload: dict[str, object], opened: ClosingAll
) -> None:
    outbox = opened(Outbox(tmp_path))
    with pytest.raises(InvalidRequest):
        outbox.put(kind, payload)
    assert outbox.pending() == []


def test_a_full_disk_refuses_the_message_and_damages_none(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: ClosingAll
) -> None:
    outbox = Outbox(tmp_path)
    put_run(outbox, registry)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            outbox.put("start", {"run_id": "s.r.0", "fence": 1, "num_gpus": 0})
    outbox.put("record_nodes", {"run_id": "s.r.0", "fence": 1, "nodes": []})
    outbox.close()
    assert [message.kind for message in opened(Outbox(tmp_path)).pending()] == ["start", "finish", "record_nodes"]


def test_a_record_that_fits_only_in_part_is_refused_and_damages_none(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: ClosingAll
) -> None:
    outbox = Outbox(tmp_path)
    put_run(outbox, registry)

    class NearlyFull:
        """A disk with room for half a record; Python's unbuffered files tell how much they took."""

        def __init__(self, file: io.FileIO) -> None:
            self._file = file

        def write(self, line: bytes) -> int:
            return self._file.write(line[: len(line) // 2])

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    with monkeypatch.context() as context:
        context.setattr(outbox, "_file", NearlyFull(outbox._file))
        with pytest.raises(OSError, match="No space left"):
            outbox.put("start", {"run_id": "s.r.0", "fence": 1, "num_gpus": 0})
    outbox.put("record_nodes", {"run_id": "s.r.0", "fence": 1, "nodes": []})
    outbox.close()
    assert [message.kind for message in opened(Outbox(tmp_path)).pending()] == ["start", "finish", "record_nodes"]
