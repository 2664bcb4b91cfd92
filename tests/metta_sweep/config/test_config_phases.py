"""The schedule: what each phase overrides, merged and checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.config import SweepJob, load_sweep_job, load_train_job, validate_file
from metta_sweep.config.registered import load_location
from metta_sweep.errors import ConfigError

BASE = """\
protein: {num_random_samples: 4, max_suggestion_cost: 100}
parameters:
  trainer:
    total_timesteps: {distribution: int_uniform, min: 1000, max: 9000, mean: 2000}
    optimizer: {learning_rate: {distribution: log_normal, min: 1.0e-4, max: 1.0e-2, mean: 1.0e-3}}
schedule:
  phases:
"""


def load(tmp_path: Path, phases: str, *overrides: str) -> SweepJob:
    file = tmp_path / "phased.yaml"
    file.write_text(BASE + "".join(f"    {line}\n" for line in phases.splitlines()))
    return validate_file(file, overrides, {})


def told(tmp_path: Path, phases: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, phases)
    return caught.value.problems


def test_a_phase_shifts_means_moves_bounds_and_raises_caps_and_leaves_the_rest(tmp_path: Path) -> None:
    job = load(
        tmp_path,
        "- {name: cheap, num_runs: 3}\n"
        "- name: dear\n"
        "  sweep:\n"
        "    protein: {max_suggestion_cost: 500}\n"
        "    parameters: {trainer: {total_timesteps: {mean: 5000, max: 8000}}}\n",
    )
    cheap, dear = job.sweep.phases
    assert (cheap.first_number, cheap.num_runs, dear.first_number, dear.num_runs) == (0, 3, 3, None)
    assert (cheap.protein.max_suggestion_cost, dear.protein.max_suggestion_cost) == (100, 500)
    assert dear.protein.num_random_samples == 4
    assert cheap.space.to_config()["trainer.total_timesteps"] == {
        "distribution": "int_uniform",
        "min": 1000,
        "max": 9000,
        "mean": 2000,
        "scale": 0.5,
    }
    assert dear.space.to_config()["trainer.total_timesteps"] == {
        "distribution": "int_uniform",
        "min": 1000,
        "max": 8000,
        "mean": 5000,
        "scale": 0.5,
    }
    assert (
        dear.space.to_config()["trainer.optimizer.learning_rate"]
        == cheap.space.to_config()["trainer.optimizer.learning_rate"]
    )


def test_the_second_pages_names_work_inside_a_phase(tmp_path: Path) -> None:
    job = load(
        tmp_path, "- name: only\n  sweep: {expansion_rate: 0.3, parameters: {trainer.learning_rate: {mean: 2.0e-3}}}"
    )
    (phase,) = job.sweep.phases
    assert phase.protein.expansion_rate == 0.3
    assert phase.space.to_config()["trainer.optimizer.learning_rate"]["mean"] == 0.002


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (
            "{distribution: log_normal}",
            {"distribution": "int_log_normal", "min": 1000, "max": 9000, "mean": 2000, "scale": 0.5},
        ),
        ("{choices: [1000, 2000]}", {"distribution": "categorical", "choices": [1000, 2000]}),
        ("{value: 1234}", {"value": 1234}),
    ],
)
def test_a_phase_replaces_a_distribution(leaf: str, expected: dict[str, object], tmp_path: Path) -> None:
    job = load(tmp_path, f"- name: only\n  sweep: {{parameters: {{trainer: {{total_timesteps: {leaf}}}}}}}")
    assert job.sweep.phases[0].space.to_config()["trainer.total_timesteps"] == expected


def test_the_command_line_lies_above_every_phase(tmp_path: Path) -> None:
    phases = "- {name: a, num_runs: 2}\n- {name: b, sweep: {protein: {max_suggestion_cost: 500}}}"
    job = load(tmp_path, phases, "sweep.protein.max_suggestion_cost=7", "trainer.total_timesteps=300")
    assert [phase.protein.max_suggestion_cost for phase in job.sweep.phases] == [7, 7]
    assert [phase.space.fixed["trainer.total_timesteps"] for phase in job.sweep.phases] == [300, 300]


def test_the_pages_schedule_scaled_down_by_an_override_is_valid() -> None:
    job = load_sweep_job(["sweep_name=small", "sweep=phased", "trainer.total_timesteps=1000"], {})
    assert [phase.space.fixed["trainer.total_timesteps"] for phase in job.sweep.phases] == [1000, 1000, 1000]
    assert [phase.space.to_config()["trainer.minibatch_size"]["mean"] for phase in job.sweep.phases] == [
        8192,
        16384,
        16384,
    ]


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ("- {num_runs: 3}", "8: sweep.schedule.phases.0.name: missing; give the phase a name"),
        ("- {name: a}\n- {name: b}", "8: sweep.schedule.phases.0.num_runs: need a whole number >= 1, got None"),
        (
            "- {name: a, num_runs: 0}\n- {name: b}",
            "8: sweep.schedule.phases.0.num_runs: need a whole number >= 1, got 0",
        ),
        (
            "- {name: a, num_runs: 3}\n- {name: a}",
            "9: sweep.schedule.phases.1.name: 'a' is the name of two phases; give each its own",
        ),
        ("- {name: a, num_run: 3}", "8: sweep.schedule.phases.0.num_run: unknown key; did you mean num_runs?"),
        (
            "- {name: a, sweep: {protien: {}}}",
            "8: sweep.schedule.phases.0.sweep.protien: unknown key; did you mean protein?",
        ),
        (
            "- name: a\n  sweep:\n    parameters: {trainer: {total_timesteps: {mean: 1}}}",
            "10: sweep.schedule.phases.0.sweep.parameters.trainer.total_timesteps.mean: need a value from min 1000 "
            "to max 9000, got 1; "
            "move mean or widen the range",
        ),
        (
            "- name: a\n  sweep:\n    parameters: {trainer: {ppo: {gama: {min: 0.1, max: 0.9}}}}",
            "10: sweep.schedule.phases.0.sweep.parameters.trainer.ppo.gama: no such parameter in the training "
            "configuration; "
            "did you mean trainer.ppo.gamma or trainer.ppo.gae_lambda or trainer.ppo.target_kl?",
        ),
        (
            "- name: a\n  sweep: {protein: {expansion_rte: 1}}",
            "9: sweep.schedule.phases.0.sweep.protein.expansion_rte: unknown setting; did you mean expansion_rate?",
        ),
        (
            "- name: a\n  auto: true\n  sweep:\n    parameters: {trainer: {total_timesteps: {value: 1000}}}",
            "9: sweep.schedule.phases.0.auto: true raises the longest trainer.total_timesteps, which is not searched; "
            "add it to parameters, or leave auto out",
        ),
    ],
)
def test_what_is_wrong_with_a_phase_is_told_with_its_line(phases: str, expected: str, tmp_path: Path) -> None:
    assert f"{tmp_path / 'phased.yaml'}:{expected}" in told(tmp_path, phases)


def test_the_second_pages_names_work_inside_constraints(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "named.yaml").write_text(
        """
metric: reward
goal: maximize
constraints: ["trainer.clip_param <= trainer.gamma", "trainer.learning_rate < 1"]
parameters:
  trainer.clip_param: {min: 0.1, max: 0.3}
  trainer.gamma: {min: 0.9, max: 0.999}
schedule:
  phases:
    - {name: one, num_runs: 5}
    - {name: two, sweep: {constraints: ["trainer.entropy_coeff < trainer.clip_param"]}}
"""
    )
    job = load_sweep_job(["sweep_name=s", "sweep=named"], {}, (tmp_path,))
    assert [[one.text for one in phase.space.constraints] for phase in job.sweep.phases] == [
        ["trainer.ppo.clip_coef <= trainer.ppo.gamma", "trainer.optimizer.learning_rate < 1"],
        ["trainer.ppo.ent_coef < trainer.ppo.clip_coef"],
    ]


def test_a_constraint_of_one_phase_leaves_what_another_phase_searches(tmp_path: Path) -> None:
    job = load(
        tmp_path,
        "- {name: a, num_runs: 3, sweep: {constraints: ['trainer.ppo.gamma * 10000 > trainer.total_timesteps']}}\n"
        "- {name: b, sweep: {parameters: {trainer.gamma: {min: 0.9, max: 0.95}}}}\n",
    )
    first, second = (phase.space for phase in job.sweep.phases)
    assert first.fixed["trainer.ppo.gamma"] == 0.99
    assert "trainer.ppo.gamma" in second.names


def test_conditions_that_never_hold_and_constraints_that_exclude_nothing_are_noted_once_with_their_line(
    tmp_path: Path,
) -> None:
    job = load(
        tmp_path,
        "- name: a\n"
        "  num_runs: 3\n"
        "  sweep: {constraints: [trainer.total_timesteps > 10]}\n"
        "- name: b\n"
        "  sweep: {parameters: {trainer.ppo.gamma: {min: 0.9, max: 0.95, when: trainer.total_timesteps > 9500}}}\n",
    )
    file = tmp_path / "phased.yaml"
    assert [note for note in job.notes if "points tried" in note] == [
        f"{file}:10: sweep.schedule.phases.0.sweep.constraints: 'trainer.total_timesteps > 10' holds at all of 8,001 "
        "points tried: "
        "it excludes nothing",
        f"{file}:12: sweep.schedule.phases.1.sweep.parameters.trainer.ppo.gamma.when: 'trainer.total_timesteps > "
        "9500' holds at none of "
        "8,001 points tried: trainer.ppo.gamma is never searched",
    ]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("sweep.schedule=5", r"sweep\.schedule: need phases: and nothing else, got 5"),
        ("sweep.constraints=5", r"sweep\.constraints: need a list of expressions, got 5"),
        ("share_files=[1]", r"share_files: need a text, got \[1\]"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_key(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_sweep_job(["sweep_name=x", "sweep=quick", f"++{word}"], {})


@pytest.mark.parametrize("value", ["5", "null"])
def test_a_data_dir_that_is_no_text_is_refused_wherever_it_is_read(value: str) -> None:
    for load_it in (load_sweep_job, load_train_job, load_location):
        with pytest.raises(ConfigError, match=r"data_dir: need a text, got (5|None)"):
            load_it([f"{'run' if load_it is load_train_job else 'sweep_name'}=x", f"data_dir={value}"], {})


TWO = "- {name: cheap, num_runs: 3}\n- {name: dear}\n"


def test_the_command_line_changes_one_phase_by_its_number(tmp_path: Path) -> None:
    rate = "sweep.schedule.phases.1.sweep.parameters.trainer.learning_rate.max=0.005"  # in the second page's spelling
    words = ["sweep.schedule.phases.0.num_runs=7", "sweep.schedule.phases.1.sweep.max_suggestion_cost=9", rate]
    cheap, dear = load(tmp_path, TWO, *words).sweep.phases
    assert (cheap.num_runs, dear.first_number) == (7, 7)
    assert (cheap.protein.max_suggestion_cost, dear.protein.max_suggestion_cost) == (100, 9)
    highest = [one.space.to_config()["trainer.optimizer.learning_rate"]["max"] for one in (cheap, dear)]
    assert highest == [0.01, 0.005]


def test_the_command_line_takes_a_phase_away_by_its_number(tmp_path: Path) -> None:
    assert [phase.name for phase in load(tmp_path, TWO, "~sweep.schedule.phases.0").sweep.phases] == ["dear"]


@pytest.mark.parametrize("entry", ["2", "cheap", pytest.param("9" * 5000, id="5000 digits")])
def test_a_phase_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path, entry: str) -> None:
    word = f"sweep.schedule.phases.{entry}.num_runs=7"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TWO, word)
    text = f"command line: {word}: sweep.schedule.phases is a list with entries 0 to 1, not {entry!r}"
    assert text in caught.value.problems
