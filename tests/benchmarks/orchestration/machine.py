"""Many slots by simulation of the driver's state machine alone: Tune, optimiser, registry and nodes are played from a
queue of moments, in simulated time; only the machine's own CPU time is real.
"""

from __future__ import annotations

import heapq
import itertools
import pickle
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median, quantiles

from metta_sweep.capacity import Node
from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import Tally
from metta_sweep.driver.state import State
from metta_sweep.driver.workers import TICK_SECONDS
from tests.metta_sweep.driver.world import FINAL, Row, World, progress, result

NODES = 32
SLOTS_PER_NODE = 8
RUN_SECONDS = (120.0, 480.0)
REPORTS = 4  # of each run, its result the last
# What the others take, as `cluster` measured it.
SUGGEST_SECONDS = 0.15
REGISTRY_SECONDS = 0.01
TURN_SECONDS = 0.1  # how often Tune's loop says that it turns, and asks again when there was no run
ENDED = "-"  # where a run is whose end Tune has not passed on
# A node dies with 3 % every ten seconds, and is replaced.
DEATH_SECONDS = 10.0 / 0.03
ABSENT_SECONDS = 30.0
THOUSAND = 1000
Rows = dict[str, dict[str, float]]


@dataclass
class TimedWorld(World):
    """A world whose registry is as fast with many runs as with few, and that times the machine.

    Attributes:
        took: (kind of event, CPU seconds) of each step.
        ended_at: how many steps there had been when each result was delivered.
        finishes: results that the registry got, by run.
    """

    took: list[tuple[str, float]] = field(default_factory=list)
    ended_at: list[int] = field(default_factory=list)
    finishes: Counter[str] = field(default_factory=Counter)

    @property
    def tally(self) -> Tally:
        return Tally(len(self.rows), self.now)

    def nobodys(self) -> list[Row]:
        return []  # one driver gives back what it holds at its end only

    def step(self, event: ms.Event) -> tuple[State, tuple[ms.MachineCommand, ...]]:
        began = time.thread_time()
        stepped = super().step(event)
        self.took.append((type(event).__name__, time.thread_time() - began))
        self.written.clear()
        return stepped

    def deliver(self) -> None:
        message = self.outbox[0]
        if message.kind == "finish":
            self.finishes[str(message.payload["run_id"])] += 1
            self.ended_at.append(len(self.took))
        super().deliver()


@dataclass
class Fleet:
    """Nodes with slots, Tune on them, and how long optimiser and registry take.

    Attributes:
        live: node of each run that Tune has; "" while it waits for a place.
        told: what Tune has not passed on, for it waits for an answer.
        reports: of each run, over all attempts.
        slots: (when, busy, all) at each change.
    """

    world: TimedWorld
    rng: random.Random
    free: dict[str, int] = field(default_factory=dict)  # slots by node
    live: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, ms.Event]] = field(default_factory=list)
    reports: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    slots: list[tuple[float, int, int]] = field(default_factory=list)
    is_over: bool = False
    _moments: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=itertools.count)
    _is_asking: bool = False
    _next_turn: float = 0.0
    _busy: dict[str, object] = field(default_factory=dict)  # what optimiser, reporter and outbox work on

    def run(self) -> None:
        """Until Tune is told that there are no more runs."""
        for _ in range(NODES):
            self.join()
        self.die_later()
        self.loop_turns()
        while not self.is_over:
            self.turn()
            self.others_begin()
            shortest, longest = TICK_SECONDS
            wait = min(max(min(self.world.state.wakes_at()) - self.world.now, shortest), longest)
            if self._moments and self._moments[0][0] <= self.world.now + wait:
                moment, _, action = heapq.heappop(self._moments)
                self.world.now = max(self.world.now, moment)
                action()
            else:
                self.world.hear(ms.TimePassed(), after=wait)
        self.world.hear(ms.LoopEnded())
        self.world.settle()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._moments, (self.world.now + seconds, next(self._count), action))

    # Optimiser, reporter and outbox: each does one thing at a time.

    def others_begin(self) -> None:
        world = self.world
        is_long = isinstance(world.asked, ms.Propose)
        self._begin("optimiser", world.asked, SUGGEST_SECONDS if is_long else REGISTRY_SECONDS, world.think)
        self._begin("reporter", world.look, REGISTRY_SECONDS, world.see)
        self._begin("outbox", world.outbox[0] if world.outbox else None, REGISTRY_SECONDS, world.deliver)

    def _begin(self, who: str, work: object, seconds: float, action: Callable[[], None]) -> None:
        if work is not None and self._busy.get(who) is not work:
            self._busy[who] = work
            self.after(seconds, action)

    # Tune, which does nothing else while it waits for an answer.

    def turn(self) -> None:
        while True:
            if not self._is_asking and self.told:
                self._pass_on(*self.told.pop(0))
            elif self.world.answers:
                self._is_asking = False
                self._take(self.world.answers.pop())
            elif not self._is_asking and self.world.now >= self._next_turn and self._has_slot():
                self._is_asking = True
                self.world.hear(ms.SlotFree())
            else:
                return

    def loop_turns(self) -> None:
        waiting = tuple(run_id for run_id, node in self.live.items() if not node)
        self.told.append(("", ms.LoopTurned(waiting, len(self.live) - len(waiting))))
        self.after(TURN_SECONDS, self.loop_turns)

    def _has_slot(self) -> bool:
        return len(self.live) < self.world.state.capacity.wanted

    def _pass_on(self, run_id: str, event: ms.Event) -> None:
        if isinstance(event, ms.RunEnded):
            self.live.pop(run_id, None)
        self.world.hear(event)

    def _take(self, answer: ms.ForTune) -> None:
        if isinstance(answer, ms.Start):
            self.live[answer.run.id] = ""
            self.events["started"] += 1
            self.place()
            return
        assert isinstance(answer, ms.NoRun)
        self.is_over = answer.for_good
        self._next_turn = self.world.now + TURN_SECONDS

    # Nodes and runs.

    def place(self) -> None:
        """Runs that wait get the free slots."""
        for run_id in [run_id for run_id, node in self.live.items() if not node]:
            node = max(self.free, key=lambda name: self.free[name], default="")
            if node and self.free[node]:
                self.free[node] -= 1
                self.live[run_id] = node
                self._report_later(run_id, node)
        self.note()

    def _report_later(self, run_id: str, node: str) -> None:
        self.after(self.rng.uniform(*RUN_SECONDS) / REPORTS, lambda: self.report(run_id, node))

    def report(self, run_id: str, node: str) -> None:
        if self.live.get(run_id) != node or node not in self.free:
            return  # it died meanwhile
        self.reports[run_id] += 1
        if self.reports[run_id] < REPORTS:
            self._report_later(run_id, node)
            self.told.append((run_id, ms.Progressed(run_id, progress(self.reports[run_id], score=0.5))))
            return
        self.free[node] += 1
        self.live[run_id] = ENDED
        self.told.append((run_id, ms.RunEnded(run_id, result(seconds=300.0))))
        self.place()

    def join(self) -> None:
        self.free[f"n{next(self._count)}"] = SLOTS_PER_NODE
        self.see_nodes()
        self.place()

    def die(self) -> None:
        dead = self.rng.choice(sorted(self.free))
        del self.free[dead]
        self.events["died"] += 1
        self.see_nodes()
        for run_id in [run_id for run_id, node in self.live.items() if node == dead]:
            self.events["lost"] += 1
            self.live[run_id] = ENDED
            self.told.append((run_id, ms.RunEnded(run_id, None, frozenset({dead}), is_error=True)))
        self.after(ABSENT_SECONDS, self.join)
        self.note()
        self.die_later()

    def die_later(self) -> None:
        self.after(self.rng.expovariate(1.0 / DEATH_SECONDS), self.die)

    def see_nodes(self) -> None:
        nodes = {name: Node({"CPU": float(SLOTS_PER_NODE)}) for name in self.free}
        self.told.append(("", ms.CapacitySeen(nodes, frozenset())))

    def note(self) -> None:
        busy = sum(node in self.free for node in self.live.values())
        self.slots.append((self.world.now, busy, SLOTS_PER_NODE * len(self.free)))


def machine(trials: int) -> Rows:
    world = TimedWorld(nodes={"none": Node({})}, num_samples=trials)
    fleet = Fleet(world, random.Random(0))
    began = time.process_time()
    fleet.run()
    assert_all_ended_once(world, trials)
    slots = NODES * SLOTS_PER_NODE
    return {
        f"{trials} runs, {slots} slots": {
            "lost or doubled": 0.0,
            "nodes died": fleet.events["died"],
            "runs lost their node": fleet.events["lost"],
            "slots busy %": 100.0 * share_busy(fleet.slots, slots),
            "simulated hours": world.now / 3600.0,
            "state KiB": len(pickle.dumps(world.state)) / 1024.0,
            "CPU s in all": time.process_time() - began,
        },
        **step_times(world),
    }


def assert_all_ended_once(world: TimedWorld, trials: int) -> None:
    assert len(world.rows) == trials, len(world.rows)
    assert {row.state for row in world.rows.values()} <= set(FINAL)
    assert set(world.finishes) == set(world.rows)
    assert max(world.finishes.values()) == 1
    assert world.num_results == trials


def share_busy(slots: Sequence[tuple[float, int, int]], enough: int) -> float:
    """Of the slot time between the first and the last moment at which nine in ten slots were busy."""
    full = [moment for moment, busy, _ in slots if busy >= 0.9 * enough]
    first, last = full[0], full[-1]
    steady = [one for one in pairwise(slots) if first <= one[0][0] < last]
    there = sum((after[0] - before[0]) * before[2] for before, after in steady)
    return sum((after[0] - before[0]) * before[1] for before, after in steady) / there


def step_times(world: TimedWorld) -> Rows:
    """Microseconds of CPU time of a step, by kind of event, and whether that grows with the runs."""
    thousand = min(THOUSAND, len(world.ended_at) // 2)
    first, last = world.took[: world.ended_at[thousand - 1]], world.took[world.ended_at[-thousand] :]
    kinds = Counter(kind for kind, _ in world.took)
    rows = {"step, all events": times([world.took, first, last])}
    for kind in ("SlotFree", "RunEnded", "Progressed", "SuggestionReady", "Reserved", "Delivered"):
        parts = [[one for one in part if one[0] == kind] for part in (world.took, first, last)]
        rows[f"step, {kind}"] = times(parts) if kinds[kind] else {}
    return rows


def times(parts: Sequence[Sequence[tuple[str, float]]]) -> dict[str, float]:
    """Args: parts: all steps, those until the thousandth result, those of the last thousand."""
    every, first, last = ([1e6 * took for _, took in part] for part in parts)
    middle = {"median us": median(every), "99 % us": quantiles(every, n=100)[98]}
    return {"events": len(every), **middle, "first thousand us": median(first), "last thousand us": median(last)}
