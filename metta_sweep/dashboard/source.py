"""Keeps the sweeps that somebody looks at up to date, in a thread of its own: no page waits for the registry."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from metta_sweep.dashboard.snapshot import Feed, FeedOptions, Snapshot
from metta_sweep.errors import RegistryError
from metta_sweep.registry.reader import Reader
from metta_sweep.registry.records import SweepRecord

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# A sweep that no page asked for so long is not read any more.
FORGET_SECONDS = 60.0


@dataclass(slots=True)
class _Watch:
    """One sweep that is looked at."""

    feed: Feed
    snapshot: Snapshot
    asked_at: float
    reading: threading.Lock


class Source:
    """Snapshots by sweep name. Safe to use from any thread; `close` ends its own."""

    def __init__(self, reader: Reader, options: FeedOptions) -> None:
        self._reader = reader
        self._options = options
        self._watches: dict[str, _Watch] = {}
        self._sweeps: list[SweepRecord] | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="dashboard-feed", daemon=True)
        self._thread.start()

    def sweeps(self) -> list[SweepRecord]:
        """Every sweep of the registry, newest first.

        Raises:
            RegistryError: the first read failed; later ones keep what was read last.
        """
        try:
            self._sweeps = sorted(self._reader.list_sweeps(), key=lambda sweep: -sweep.created_at)
        except RegistryError as error:
            if self._sweeps is None:
                raise
            logger.warning("%s; showing the sweeps that were read before", error)
        return self._sweeps

    def snapshot(self, name: str) -> Snapshot:
        """The sweep as it was at most `POLL_SECONDS` ago; the first call reads it.

        Raises:
            UnknownSweep: no sweep of this name.
            RegistryUnavailable: the first read failed; later ones keep the last snapshot.
        """
        with self._lock:
            watch = self._watches.get(name)
            if watch is None:
                feed = Feed(self._reader, name, self._options)
                watch = self._watches[name] = _Watch(feed, feed.refresh(), time.monotonic(), threading.Lock())
            is_old = time.monotonic() - watch.asked_at > FORGET_SECONDS
            watch.asked_at = time.monotonic()
        if is_old:
            self._refresh(watch)
        return watch.snapshot

    def close(self) -> None:
        """End the thread and close the registry."""
        self._closed.set()
        self._thread.join()
        self._reader.close()

    def _follow(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            with self._lock:
                since = time.monotonic() - FORGET_SECONDS
                asked = [watch for watch in self._watches.values() if watch.asked_at > since]
            for watch in asked:
                self._refresh(watch)

    def _refresh(self, watch: _Watch) -> None:
        try:
            with watch.reading:
                watch.snapshot = watch.feed.refresh()
        except RegistryError as error:
            logger.warning("%s; showing what was read before", error)
