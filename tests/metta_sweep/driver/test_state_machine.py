"""Random orders of everything that can happen to a driver, and what must hold whatever they are."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metta_sweep.capacity import Node
from metta_sweep.config.job import Budget
from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import STOPPED_BY_USER
from metta_sweep.driver.state import FRESHNESS_SECONDS
from tests.metta_sweep.driver.world import FINAL, World, progress, result
from tests.metta_sweep.driver.world import settings as sweep_settings
from trainables.result import Costs, Outcome, RunResult

COST = 10.0  # predicted of each run, slot seconds; what it takes is between nothing and twice that


class Driver(RuleBasedStateMachine):
    """One driver, a registry that another driver uses too, and a Tune that keeps its own count of what it runs."""

    @initialize(
        slots=st.integers(1, 3),
        num_samples=st.sampled_from([None, 1, 4]),
        cap=st.sampled_from([None, 35.0]),
        delay=st.sampled_from([0.0, 3.0]),
        patience=st.sampled_from([0.0, 20.0, 1000.0]),
    )
    def begin(self, slots: int, num_samples: int | None, cap: float | None, delay: float, patience: float) -> None:
        budget = Budget(dollars=cap, hourly_cost=3600.0) if cap else Budget()
        limits = sweep_settings(max_consecutive_failures=6, rollout_retry_delay=delay, infrastructure_retry_delay=delay)
        self.world = World(
            slots=slots, settings=limits, num_samples=num_samples, budget=budget, cost=COST, early_stopping=True
        )
        self.cap, self.patience = cap, patience
        self.running: list[str] = []  # as Tune sees it
        self.started_at: dict[str, float] = {}
        self.asked_at: float | None = None
        self.num_finished = 0

    # What happens.

    @precondition(lambda self: self.asked_at is None and not self.num_finished and not self.world.state.has_ended)
    @rule()
    def tune_offers_a_slot(self) -> None:
        self.asked_at = self.world.now
        self.world.hear(ms.SlotFree())
        self.take_answer()

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.hear(ms.TimePassed(), after=seconds)
        self.take_answer()

    @precondition(lambda self: self.world.asked is not None)
    @rule(is_away=st.sampled_from([False] * 4 + [True]))
    def the_optimiser_answers(self, is_away: bool) -> None:
        if is_away:
            self.world.asked = None
            self.world.hear(ms.Idle())
        else:
            self.world.think()
        self.take_answer()

    @precondition(lambda self: self.world.outbox)
    @rule()
    def the_registry_answers(self) -> None:
        self.world.deliver()
        self.take_answer()

    @rule()
    def both_threads_do_all_that_is_there(self) -> None:
        self.world.settle()
        self.take_answer()

    @precondition(lambda self: self.world.look is not None)
    @rule()
    def the_reporter_looks(self) -> None:
        self.world.see()
        self.take_answer()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.floats(0.0, 2 * COST))
    def a_run_reports(self, data: st.DataObject, seconds: float) -> None:
        run_id = data.draw(st.sampled_from(self.running))
        self.world.hear(ms.Progressed(run_id, progress(1, score=0.5, seconds=seconds)))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        how=st.sampled_from(["well", "hyperparameters", "code", "infrastructure", "vanished", "left"]),
        seconds=st.floats(0.1, 20.0),
    )
    def a_run_ends(self, data: st.DataObject, how: str, seconds: float) -> None:
        run_id = data.draw(st.sampled_from(self.running))
        self.running.remove(run_id)
        ends: dict[str, Any] = {
            "well": result(seconds=seconds),
            "vanished": None,
            "left": RunResult(Outcome.INTERRUPTED, None, Costs(), Costs()),
        }
        self.world.hear(
            ms.RunEnded(
                run_id, ends[how] if how in ends else result(how, seconds=seconds, signature=how + str(seconds))
            )
        )
        self.take_answer()
        if self.asked_at is None and not self.num_finished:
            self.tune_offers_a_slot()

    @rule(count=st.integers(0, 3), leaving=st.booleans())
    def nodes_come_and_go(self, count: int, leaving: bool) -> None:
        nodes = {f"n{number}": Node({"CPU": 1.0}) for number in range(count)}
        self.world.hear(ms.CapacitySeen(nodes, frozenset({"n0"}) if leaving else frozenset()))
        self.take_answer()

    @rule()
    def another_driver_reserves(self) -> None:
        if len(self.world.rows) < 12:
            self.world.add_row(owner="other")

    @precondition(lambda self: self.world.rows)
    @rule(data=st.data())
    def another_driver_takes_one_or_dies(self, data: st.DataObject) -> None:
        row = self.world.rows[data.draw(st.sampled_from(sorted(self.world.rows)))]
        if row.owner == "other":
            row.owner = ""
        elif row.owner == "me" and row.state not in FINAL:
            self.world.taken_by_another(row.id)

    @precondition(lambda self: self.world.state.held)
    @rule()
    def a_heartbeat_is_answered(self) -> None:
        lost = frozenset(run_id for run_id in self.world.state.held if self.world.rows[run_id].owner != "me")
        self.world.hear(ms.LeasesLost(lost))

    @precondition(lambda self: self.world.now > self.patience)
    @rule(what=st.sampled_from(["drain", "stop", "Ctrl-C"]))
    def people_ask(self, what: str) -> None:
        if what == "Ctrl-C":
            self.world.hear(ms.StopAsked(STOPPED_BY_USER, now=True, by_user=True))
        else:
            self.world.requests.append("sweep_stopped" if what == "stop" else "sweep_draining")
        self.take_answer()

    @precondition(lambda self: self.num_finished or self.world.state.stop.now)
    @rule()
    def the_loop_ends(self) -> None:
        self.world.hear(ms.LoopEnded())
        self.running.clear()
        self.asked_at = None

    def take_answer(self) -> None:
        """Tune acts on what it was answered."""
        for answer in self.world.answers:
            assert self.asked_at is not None, "nobody asked"
            self.asked_at = None
            if isinstance(answer, ms.Start):
                run_id = answer.run.id
                assert not self.num_finished
                assert not self.world.state.has_ended
                assert run_id not in self.running, "started twice at once"
                assert answer.run.not_before <= self.world.now
                self.running.append(run_id)
                continue
            state = self.world.state
            assert isinstance(answer, ms.NoRun)
            if answer.for_good:
                assert not self.running
                is_done = state.stop.reason is not None and state.stop.reason == state.optimiser.limit
                assert not (is_done and state.returning), "a run is on its way back"
                self.num_finished += 1
            elif state.stop.reason is None and len(state.live) + len(state.resting) < state.capacity.wanted:
                assert state.next_run(self.world.now) is None, "a slot stays idle"
        self.world.answers.clear()

    # What must hold.

    @invariant()
    def no_number_is_used_twice(self) -> None:
        """But for a run that another driver took, left, and is ours again, while what we had of it ends."""
        state = self.world.state
        ids = [*(run.id for run in state.ready), *(state.live.keys() - state.lost), *state.returning]
        assert len(set(ids)) == len(ids)

    @invariant()
    def tune_and_the_state_agree_on_what_runs(self) -> None:
        assert set(self.running) == set(self.world.state.live)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every run that is ours is ready, live, on its way back, or its end is on its way."""
        state = self.world.state
        on_the_way = {str(message.payload["run_id"]) for message in self.world.outbox}
        asked = self.world.asked
        replaced = asked.instead_of.id if isinstance(asked, ms.Reserve) and asked.instead_of else ""
        for row in self.world.rows.values():
            if row.owner == "me" and row.state not in FINAL:
                assert row.id in {*state.held, *on_the_way, replaced}, row

    @invariant()
    def no_slot_is_idle_while_a_run_is_ready_and_allowed(self) -> None:
        """A slot that Tune offered waits a second at most."""
        state = self.world.state
        assert (self.asked_at is None) == (state.asking_since is None)
        assert self.asked_at is None or self.world.now - self.asked_at < FRESHNESS_SECONDS

    @invariant()
    def no_stop_rule_is_passed_by_a_reservation(self) -> None:
        """So what runs cost beyond their predictions is all that a budget is passed by."""
        for number, promised in self.world.reservations:
            assert self.world.num_samples is None or number < self.world.num_samples
            assert self.cap is None or promised < self.cap

    @invariant()
    def it_ends_once(self) -> None:
        assert len(self.world.ends) == int(self.world.state.is_over)
        assert self.world.state.is_over == self.world.state.is_settled
        assert self.num_finished <= 1

    def teardown(self) -> None:
        """However far it came: it ends in order, and then nothing is held any more."""
        if not hasattr(self, "world"):
            return
        self.world.hear(ms.LoopEnded())
        self.world.settle()
        if self.world.look is not None:
            self.world.see()
        self.world.settle()
        assert self.world.state.is_settled
        assert not [row for row in self.world.rows.values() if row.owner == "me" and row.state not in FINAL]
        assert len(self.world.ends) == 1


TestDriver = Driver.TestCase
TestDriver.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
