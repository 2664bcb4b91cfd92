"""The Metta page's schedule on a real Ray: the number of a run decides its phase, whatever runs beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from metta_sweep.config.registered import RegisteredSweep, read_spec
from metta_sweep.driver.suggestions import SweepOptimiser
from metta_sweep.registry.api import Registry
from tests.metta_sweep.driver.drive import SWEEP, Environ, Instant, drive

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
PAGE = Path("tests/metta_sweep/config/pages/metta_sweep_2.yaml")
NAMES = ("explore_cheap", "exploit_medium", "peak_expensive")
SMALL = ("sweep=page", "trainer.total_timesteps=1000", "sweep.protein.num_random_samples=4")
FEW, MANY = (4, 4, 2), (10, 7, 3)
FOUR_SLOTS = ("resources.cpus_per_worker=0.5", "resources.max_concurrent_runs=4")


@pytest.fixture(params=[FEW, pytest.param(MANY, marks=pytest.mark.long)], ids=["few", "many"])
def counts(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """How many runs each phase lasts: 100, 70 and 11 in the page."""
    counts: tuple[int, ...] = request.param
    return counts


@pytest.fixture
def page(tmp_path: Path, counts: tuple[int, ...]) -> Path:
    """A directory of configs with the page's schedule on `full`."""
    schedule = yaml.safe_load(PAGE.read_text())["schedule"]
    for phase, num_runs in zip(schedule["phases"], counts, strict=True):
        phase["num_runs"] = num_runs
    file = tmp_path / "configs" / "sweep" / "page.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump({"defaults": ["full", "_self_"], "schedule": schedule}))
    return tmp_path / "configs"


def expected(counts: tuple[int, ...]) -> list[str]:
    return [name for name, count in zip(NAMES, counts, strict=True) for _ in range(count)]


def registered(registry: Registry) -> RegisteredSweep:
    return read_spec(registry.get_sweep(SWEEP).spec_yaml)


def test_one_after_the_other_each_run_comes_from_its_own_phases_settings(
    page: Path, counts: tuple[int, ...], tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    drive(
        tmp_path,
        *SMALL,
        f"sweep.num_samples={sum(counts)}",
        "resources.max_concurrent_runs=1",
        environ=environ,
        config_dirs=[page],
    )
    runs = registry.runs(SWEEP)
    assert [run.phase for run in runs] == expected(counts)

    spec = registered(registry)
    assert [phase.protein.max_suggestion_cost for phase in spec.sweep.phases] == [1800, 3600, 7200]
    assert [phase.protein.random_suggestions for phase in spec.sweep.phases] == [18, 10, 5]
    assert [phase.protein.expansion_rate for phase in spec.sweep.phases] == [0.18, 0.10, 0.06]
    assert [phase.space.to_config()["trainer.minibatch_size"]["mean"] for phase in spec.sweep.phases] == [
        8192,
        16384,
        16384,
    ]
    replayed, observations = SweepOptimiser(spec.sweep, spec.seed), registry.observations(SWEEP)
    for run in runs:
        replayed.observe([one for one in observations if replayed.cursor < one.sequence <= run.cursor])
        assert dict(replayed.suggest(run.number, []).params) == run.params, run.id
        state = yaml.safe_load((tmp_path / "sweep" / SWEEP / "runs" / run.id / "protein_state.yaml").read_text())
        assert state["protein"]["phase"] == run.phase


def test_four_at_a_time_nothing_shifts_at_a_threshold(
    page: Path, counts: tuple[int, ...], tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=1.0)
    drive(tmp_path, *SMALL, f"sweep.num_samples={sum(counts)}", *FOUR_SLOTS, environ=environ, config_dirs=[page])
    assert [run.phase for run in registry.runs(SWEEP)] == expected(counts)
    starts = sorted((attempt.started_at, 1) for attempt in registry.attempts(SWEEP))
    ends = sorted((attempt.ended_at or 0.0, -1) for attempt in registry.attempts(SWEEP))
    in_flight = [sum(step for at, step in [*starts, *ends] if at <= moment) for moment, _ in starts]
    assert max(in_flight) == 4


def test_an_auto_phase_keeps_runs_short_until_the_ranks_demand_more(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    phases = "+sweep.schedule={phases: [{name: a, auto: true}]}"
    steps = (
        "sweep.parameters.trainer.total_timesteps={distribution: uniform_pow2, min: 16384, max: 131072, mean: 32768}"
    )
    drive(tmp_path, phases, steps, "sweep.num_samples=4", "resources.max_concurrent_runs=1", environ=environ)
    runs = registry.runs(SWEEP)
    caps = [run.explanation["length_cap"] for run in runs]
    assert caps[0]["steps"] == 32768
    assert caps[0]["reason"].startswith("0 of 3 needed runs")
    assert all(run.params["trainer.total_timesteps"] <= cap["steps"] for run, cap in zip(runs, caps, strict=True))
