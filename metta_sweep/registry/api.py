"""The one protocol that the SQLite store, the PostgreSQL store and the HTTP client all keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metta_sweep.registry.records import (
    AttemptRecord,
    EventRecord,
    JsonObject,
    NewObservation,
    ObservationRecord,
    Owner,
    Reservation,
    RunRecord,
    RunState,
    SweepRecord,
    SweepState,
)


class Registry(Protocol):
    """Durable truth about sweeps. Every method is one transaction: when it returns, the change is on disk.

    Writes take `key`, an idempotency key: the same key gives the first answer again and changes nothing.
    """

    def create_sweep(
        self,
        name: str,
        spec_yaml: str,
        *,
        wandb_entity: str = "",
        wandb_project: str = "",
        wandb_sweep_id: str = "",
        update: bool = False,
    ) -> SweepRecord:
        """Register the sweep, or return it when it exists with the same specification.

        Raises:
            InvalidRequest: the name has other characters than letters, digits, `.`, `_`, `-`, or is too long.
            SpecChanged: it exists with another specification and `update` is false; carries the difference.
        """

    def get_sweep(self, name: str) -> SweepRecord:
        """Raises `UnknownSweep`, which names the nearest."""

    def list_sweeps(self) -> list[SweepRecord]: ...

    def set_sweep_state(
        self, name: str, state: SweepState, *, by: str, reason: str, age_seconds: float = 0.0
    ) -> SweepRecord:
        """A request to stop is logged each time, and one to stop now is not weakened by a later one to drain.

        Args:
            age_seconds: how long ago this was decided.

        Raises:
            IllegalTransition: somebody stopped the sweep after it was decided to make it active; it stays as it is.
        """

    def next_number(self, sweep: str) -> int:
        """Number that the next reserved run will get."""

    def reserve(
        self, sweep: str, reservation: Reservation, owner: Owner, *, lease_seconds: float, key: str
    ) -> RunRecord:
        """Make run `{sweep}.r.{number}` in state `reserved`; `lease_seconds` may be `math.inf`.

        Raises:
            NumberTaken: another driver was first.
            IllegalTransition: the sweep is not active.
        """

    def replace_suggestion(self, run_id: str, fence: int, reservation: Reservation, *, key: str) -> RunRecord:
        """Replace the stale point of a run that has not started. Raises `Fenced`, `IllegalTransition`."""

    def start(self, run_id: str, fence: int, *, num_gpus: float, key: str) -> AttemptRecord:
        """`reserved | interrupted -> running`; opens the next attempt. Raises `Fenced`, `IllegalTransition`."""

    def record_nodes(self, run_id: str, fence: int, nodes: Sequence[str]) -> None:
        """Note where the current attempt runs."""

    def record_progress(self, run_id: str, fence: int, curve: Sequence[JsonObject]) -> None:
        """Store curve points of a running run; a point that is there already (same env steps) is left as it is."""

    def heartbeat(self, owner: Owner, run_ids: Sequence[str], *, lease_seconds: float) -> list[str]:
        """Extend the leases of these runs. Returns the ids that the owner no longer holds."""

    def interrupt(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        """`reserved | running | interrupted -> interrupted` and gives up the lease; closes an open attempt with its
        costs.
        """

    def requeue(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        """`running -> interrupted` for an owner that goes on with the run itself: closes the attempt, raises the
        fence, keeps the lease.
        """

    def release(self, run_id: str, fence: int, *, key: str) -> RunRecord:
        """`reserved | interrupted` as it is, but nobody's: any driver may claim it at once.

        Raises `Fenced`, `IllegalTransition`.
        """

    def finish(self, run_id: str, fence: int, observation: NewObservation, *, key: str) -> ObservationRecord | None:
        """`running -> completed | stopped_early | failed`: observation, final curve and attempt in one transaction.

        Returns None when the fence is old and the run goes on elsewhere: the late result is kept as an event, nothing
        else changes.
        """

    def retry(self, run_id: str, *, by: str, key: str) -> RunRecord:
        """`failed -> interrupted`, so that the next driver takes it up under the same id; its failed observation is
        withdrawn.
        """

    def claim(self, sweep: str, owner: Owner, *, lease_seconds: float, key: str) -> list[RunRecord]:
        """Take over every run that nobody alive holds: released, lease over, or owner dead on this host.

        Running ones become `interrupted`.
        """

    def runs(self, sweep: str, *, states: Sequence[RunState] = ()) -> list[RunRecord]:
        """Runs by number, all states when none is named."""

    def get_run(self, run_id: str) -> RunRecord:
        """Raises `UnknownRun`."""

    def attempts(self, sweep: str) -> list[AttemptRecord]: ...

    def observations(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[ObservationRecord]:
        """Observations with a sequence number above `after`, in order."""

    def curve(self, run_id: str) -> list[JsonObject]: ...

    def add_event(
        self, sweep: str, kind: str, *, run_id: str | None, by: str, detail: JsonObject, key: str = ""
    ) -> None:
        """Append to the log; without a `key` a repeated call is a second event."""

    def events(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[EventRecord]: ...

    def delete_sweep(self, name: str, *, force: bool = False) -> None:
        """Remove the sweep with all that belongs to it, for good. It need not be readable.

        Raises:
            IllegalTransition: somebody alive holds one of its runs, and `force` is false.
            UnknownSweep: also when a repeated call finds it gone.
        """

    def close(self) -> None: ...
