# mypy: disable-error-code="empty-body"
"""The one protocol that the SQLite store, the PostgreSQL store and the HTTP client all keep.

Each method is declared here, with its route: `service.py` makes the routes and `client.py` the requests from these
declarations, `store.py` calls the function of the same name in `queries.py` or `writes.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from metta_sweep.registry.names import EVENT_KIND
from metta_sweep.registry.operation import Amount, Declared, Fence, LeaseSeconds, RunId, get, post
from metta_sweep.registry.owner import is_dead
from metta_sweep.registry.records import (
    AttemptRecord,
    EventRecord,
    JsonObject,
    NewObservation,
    ObservationRecord,
    Owner,
    RemarkRecord,
    Reservation,
    RunRecord,
    RunState,
    SweepRecord,
    SweepState,
)

EventKind = Annotated[str, Field(pattern=f"^{EVENT_KIND}$")]
States = Annotated[Sequence[RunState], Field(alias="state")]


class Reader(Declared):
    """The reading half of `Registry`. Lists have what stands after the cursor `after`, at most `limit` of it."""

    @get("/sweeps", cursor="position")
    def list_sweeps(self, *, after: int = 0, limit: int | None = None) -> list[SweepRecord]: ...

    @get("/sweeps/{name}")
    def get_sweep(self, name: str) -> SweepRecord:
        """Raises `UnknownSweep`, which names the nearest."""

    @get("/sweeps/{name}/runs", cursor="number")
    def runs(self, sweep: str, *, states: States = (), after: int = -1, limit: int | None = None) -> list[RunRecord]:
        """Runs by number, all states when none is named."""

    @get("/runs/{run_id}")
    def get_run(self, run_id: str) -> RunRecord:
        """Raises `UnknownRun`."""

    @get("/sweeps/{name}/attempts", cursor="run", note="`after` and `limit` count runs.")
    def attempts(self, sweep: str, *, after: int = -1, limit: int | None = None) -> list[AttemptRecord]: ...

    @get("/sweeps/{name}/observations", cursor="sequence")
    def observations(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[ObservationRecord]:
        """Observations by sequence number."""

    @get("/runs/{run_id}/curve")
    def curve(self, run_id: str) -> list[JsonObject]: ...

    @get("/sweeps/{name}/events", cursor="sequence")
    def events(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[EventRecord]: ...

    @get("/sweeps/{name}/remarks")
    def remarks(self, sweep: str) -> list[RemarkRecord]:
        """What people wrote about the sweep and its runs; those about which nobody wrote are left out."""

    @abstractmethod
    def close(self) -> None: ...


class Registry(Reader):
    """Durable truth about sweeps. Every method is one transaction: when it returns, the change is on disk.

    Writes take `key`, an idempotency key: the same key gives the first answer again and changes nothing.
    """

    @abstractmethod
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

    @post("/sweeps/{name}/state")
    def set_sweep_state(
        self, name: str, state: SweepState, *, by: str, reason: str, age_seconds: float = 0.0
    ) -> SweepRecord:
        """A request to stop is logged each time, and one to stop now is not weakened by a later one to drain.

        Args:
            age_seconds: how long ago this was decided.

        Raises:
            IllegalTransition: somebody stopped the sweep after it was decided to make it active; it stays as it is.
        """

    @get("/sweeps/{name}/next_number")
    def next_number(self, sweep: str) -> int:
        """Number that the next reserved run will get."""

    @post("/sweeps/{name}/runs/next")
    def reserve(
        self, sweep: str, reservation: Reservation, owner: Owner, *, lease_seconds: LeaseSeconds, key: str
    ) -> RunRecord:
        """Make run `{sweep}.r.{number}` in state `reserved`; `lease_seconds` may be `math.inf`.

        Raises:
            NumberTaken: another driver was first.
            IllegalTransition: the sweep is not active.
        """

    @post("/runs/{run_id}/suggestion")
    def replace_suggestion(self, run_id: str, fence: Fence, reservation: Reservation, *, key: str) -> RunRecord:
        """Replace the stale point of a run that has not started. Raises `Fenced`, `IllegalTransition`."""

    @post("/runs/{run_id}/start")
    def start(self, run_id: str, fence: Fence, *, num_gpus: Amount, key: str) -> AttemptRecord:
        """`reserved | interrupted -> running`; opens the next attempt. Raises `Fenced`, `IllegalTransition`."""

    @post("/runs/{run_id}/nodes")
    def record_nodes(self, run_id: str, fence: Fence, nodes: Sequence[str]) -> None:
        """Note where the current attempt runs."""

    @post("/runs/{run_id}/progress")
    def record_progress(self, run_id: str, fence: Fence, curve: Sequence[JsonObject]) -> None:
        """Store curve points of a running run; a point that is there already (same env steps) is left as it is."""

    @post("/heartbeat", note="Ids that the owner no longer holds.")
    def heartbeat(self, owner: Owner, run_ids: Sequence[RunId], *, lease_seconds: LeaseSeconds) -> list[str]:
        """Extend the leases of these runs. Returns the ids that the owner no longer holds."""

    @post("/runs/{run_id}/interrupt")
    def interrupt(self, run_id: str, fence: Fence, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        """`reserved | running | interrupted -> interrupted`; gives up the lease, closes an open attempt with costs."""

    @post("/runs/{run_id}/requeue")
    def requeue(self, run_id: str, fence: Fence, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        """`running -> interrupted` for an owner that goes on with it: closes the attempt, raises fence, keeps lease."""

    @post("/runs/{run_id}/release")
    def release(self, run_id: str, fence: Fence, *, key: str) -> RunRecord:
        """`reserved | interrupted` as it is, but nobody's: any driver may claim it at once.

        Raises `Fenced`, `IllegalTransition`.
        """

    @post(
        "/runs/{run_id}/finish",
        note="null: the fence is old, the run goes on elsewhere and the result is kept as an event.",
    )
    def finish(self, run_id: str, fence: Fence, observation: NewObservation, *, key: str) -> ObservationRecord | None:
        """`running -> completed | stopped_early | failed`: observation, final curve and attempt in one transaction.

        Returns None when the fence is old and the run goes on elsewhere: the late result is only kept as an event.
        """

    @post("/runs/{run_id}/retry")
    def retry(self, run_id: str, *, by: str, key: str) -> RunRecord:
        """`failed -> interrupted`: the next driver takes it up under its id; the failed observation is withdrawn."""

    @get("/sweeps/{name}/owners", note="Who holds leases; a claimer tells which of them its host knows to be dead.")
    def owners(self, name: str) -> list[Owner]:
        """Everybody who holds a lease that ends."""

    def claim(self, sweep: str, owner: Owner, *, lease_seconds: float, key: str) -> list[RunRecord]:
        """Take over every run that nobody alive holds: released, lease over, or owner dead on this host.

        Running ones become `interrupted`.
        """
        dead = self._dead_owners(sweep)
        return self.claim_from(sweep, owner, lease_seconds=lease_seconds, dead=dead, key=key)

    @post("/sweeps/{name}/claim", name="claim")
    def claim_from(
        self, sweep: str, owner: Owner, *, lease_seconds: LeaseSeconds, dead: Sequence[Owner], key: str
    ) -> list[RunRecord]:
        """`claim`, where somebody else found out which owners are dead: only their own host can tell."""

    @post("/sweeps/{name}/events")
    def add_event(
        self, sweep: str, kind: EventKind, *, run_id: RunId | None, by: str, detail: JsonObject, key: str = ""
    ) -> None:
        """Append to the log; without a `key` a repeated call is a second event."""

    @post("/sweeps/{name}/remark")
    def remark(
        self, sweep: str, *, run_id: RunId | None, note: str, tags: Sequence[str], by: str, key: str = ""
    ) -> RemarkRecord:
        """Write a note and tags to a run, or to the sweep, in place of those before. Two empty ones take them away.

        Raises:
            InvalidRequest: they are too long, see `RemarkRecord`.
        """

    def delete_sweep(self, name: str, *, force: bool = False) -> None:
        """Remove the sweep with all that belongs to it, for good. It need not be readable.

        Raises:
            IllegalTransition: somebody alive holds one of its runs, and `force` is false.
            UnknownSweep: also when a repeated call finds it gone.
        """
        self.delete_from(name, self._dead_owners(name), force=force)

    @post(
        "/sweeps/{name}/delete",
        name="delete_sweep",
        needs_admin=True,
        note="Remove a sweep for good; needs an admin's token.",
    )
    def delete_from(self, name: str, dead: Sequence[Owner], *, force: bool = False) -> None:
        """`delete_sweep`, where somebody else found out which owners are dead: only their own host can tell."""

    def _dead_owners(self, sweep: str) -> list[Owner]:
        return [holder for holder in self.owners(sweep) if is_dead(holder)]
