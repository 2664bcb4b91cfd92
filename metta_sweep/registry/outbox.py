"""Durable outbox of a driver: what the registry has yet to hear is on disk first, and is delivered exactly once.

A line per record: CRC-32 in hex, a blank, JSON. `{"key", "kind", "payload"}` puts a message, `{"done": key}` notes its
delivery. A message may be sent twice (when the process dies before it notes the delivery); its idempotency key makes
the second time harmless.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import inspect
import json
import logging
import os
import threading
import uuid
import zlib
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any

from metta_sweep.errors import Fenced, IllegalTransition, InvalidRequest, RegistryError, RegistryUnavailable
from metta_sweep.registry.api import Registry
from metta_sweep.registry.codec import decode, dumps
from metta_sweep.registry.records import AttemptRecord, JsonObject, NewObservation, ObservationRecord, RunRecord
from trainables import faults

log = logging.getLogger(__name__)

Answer = RunRecord | AttemptRecord | ObservationRecord | None
KINDS = ("start", "record_nodes", "record_progress", "interrupt", "requeue", "release", "finish", "add_event")
REFUSALS = (Fenced, IllegalTransition, InvalidRequest)


@dataclass(frozen=True, slots=True)
class Message:
    """One write on its way: `kind` is a method of `Registry`, `payload` its arguments but the key, as JSON."""

    key: str
    kind: str
    payload: JsonObject


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message: the registry's answer, or the error with which it refused it for good."""

    message: Message
    answer: Answer
    refusal: RegistryError | None


class Outbox:
    """Messages of one driver, in order. Thread-safe: `put` waits for the disk, never for the network.

    Args:
        directory: made when missing. What dead drivers left there is taken over: their messages are pending here.

    Raises:
        RegistryError: a file is damaged elsewhere than at its torn end.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._messages: dict[str, Message] = {}
        self._guard = threading.Lock()
        self._file = _create(directory / f"{uuid.uuid4().hex}.outbox")
        with contextlib.ExitStack() as unless_all_are_taken:
            unless_all_are_taken.callback(self.close)
            for path in sorted(directory.glob("*.outbox"), key=lambda path: path.stat().st_mtime):
                if path != Path(self._file.name):
                    self._take_over(path)
            unless_all_are_taken.pop_all()

    def put(self, kind: str, payload: JsonObject) -> str:
        """Keep the message; when this returns it is on disk. Returns its idempotency key.

        Raises:
            InvalidRequest: an unknown kind, or a payload that is not what the method takes.
            OSError: the disk is full; nothing was kept.
        """
        message = Message(uuid.uuid4().hex, kind, json.loads(dumps(payload)))
        _arguments(message)
        with self._guard:
            self._append(message)
        return message.key

    def pending(self) -> list[Message]:
        """What is not delivered yet, oldest first."""
        with self._guard:
            return list(self._messages.values())

    def deliver(self, registry: Registry) -> list[Delivery]:
        """Send what is pending, in order, until all is sent or the registry is unavailable; the rest stays pending.

        A message that the registry refuses for good is kept in `refused.jsonl` and is pending no more.

        Raises:
            RegistryError: anything else, such as a wrong token or another server; the message stays pending.
            OSError: the disk is full; likewise.
        """
        deliveries: list[Delivery] = []
        for message in self.pending():
            try:
                deliveries.append(self._send(registry, message))
            except RegistryUnavailable as error:
                waiting = len(self.pending())
                log.warning("registry unavailable, %d messages wait in %s: %s", waiting, self._directory, error)
                break
            except (RegistryError, OSError):
                if not deliveries:
                    raise
                break  # what was delivered is told first; the next call meets the same trouble
        return deliveries

    def close(self) -> None:
        """Give up the file; it is removed when nothing is pending."""
        with self._guard:
            if not self._messages:
                Path(self._file.name).unlink(missing_ok=True)
            self._file.close()

    def _send(self, registry: Registry, message: Message) -> Delivery:
        try:
            delivery = Delivery(message, getattr(registry, message.kind)(**_arguments(message)), None)
        except REFUSALS as error:
            log.warning("registry refused %s of %s: %s", message.kind, message.payload.get("run_id"), error)
            with (self._directory / "refused.jsonl").open("a") as file:
                file.write(dumps({"message": message, "error": str(error)}) + "\n")
            delivery = Delivery(message, None, error)
        faults.point("outbox.delivered")
        with self._guard:
            self._write({"done": message.key}, is_synced=False)  # lost with the power: delivered again, harmless
            self._messages.pop(message.key, None)
            if not self._messages:
                self._file.truncate(0)
        return delivery

    def _append(self, message: Message) -> None:
        self._write({"key": message.key, "kind": message.kind, "payload": message.payload}, is_synced=True)
        self._messages[message.key] = message

    def _write(self, record: JsonObject, *, is_synced: bool) -> None:
        size = os.fstat(self._file.fileno()).st_size
        try:
            faults.point("outbox.put")
            line = _line(record)
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
            if is_synced:
                os.fsync(self._file.fileno())
                faults.point("outbox.kept")
        except OSError:
            self._file.truncate(size)  # half a line would damage the next one
            raise

    def _take_over(self, path: Path) -> None:
        """Move what a dead driver left into our file; a living one holds its lock."""
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if not _locks(file):
                return
            for message in _read(path, file.read()):
                self._append(message)
            path.unlink()


def has_living_owner(directory: Path) -> bool:
    """Whether a driver that is alive keeps its messages in this directory."""
    for path in directory.glob("*.outbox"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if not _locks(file):
                return True
    return False


def _locks(file: IO[bytes]) -> bool:
    """Whether we hold the file's lock now, and nobody else does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _arguments(message: Message) -> dict[str, Any]:
    """Keyword arguments of the registry's method. Raises `InvalidRequest` when it would not take them."""
    if message.kind not in KINDS:
        raise InvalidRequest(f"kind={message.kind!r}: need one of {', '.join(KINDS)}")
    signature = inspect.signature(getattr(Registry, message.kind))
    arguments = dict(message.payload)
    if "key" in signature.parameters:
        arguments["key"] = message.key
    try:
        signature.bind(None, **arguments)
    except TypeError as error:
        raise InvalidRequest(f"{message.kind}: {error}") from error
    if message.kind == "finish":
        arguments["observation"] = decode(NewObservation, arguments["observation"])
    return arguments


def _create(path: Path) -> FileIO:
    """New file that we hold the lock of, its name on disk too."""
    file = path.open("ab", buffering=0)
    fcntl.flock(file, fcntl.LOCK_EX)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return file


def _line(record: JsonObject) -> bytes:
    body = dumps(record).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _read(path: Path, content: bytes) -> list[Message]:
    """Messages without a delivery note. What damages the end was never promised to anybody and is left out."""
    messages: dict[str, Message] = {}
    damaged: list[int] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        record = _record(line)
        if record is None:
            damaged.append(number)
        elif "done" in record:
            messages.pop(record["done"], None)
        elif damaged:  # every message is synced with all before it, so this is no torn end
            advice = "move the file away to go on without what it holds"
            raise RegistryError(f"{path}: line {damaged[0]} is damaged; {advice}")
        else:
            messages[record["key"]] = Message(record["key"], record["kind"], record["payload"])
    return list(messages.values())


def _record(line: bytes) -> dict[str, Any] | None:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record
