"""Fifty broken copies of our own sweep files: each is refused with file, line and key, never with a traceback."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from metta_sweep.config import validate_file
from metta_sweep.errors import ConfigError

SWEEPS = ["quick", "full", "demo_sweep", "phased", "protein_complex"]
Mutation = Callable[[list[str], random.Random], int]  # changes the lines, returns the index of the line that is wrong


def lines_with(lines: list[str], pattern: str) -> list[int]:
    return [index for index, line in enumerate(lines) if re.search(pattern, line)]


def typo_in_a_key(lines: list[str], rng: random.Random) -> int:
    index = rng.choice(
        lines_with(lines, r"^ *(parameters|distribution|min|max|mean|num_random_samples|goal|method|expansion_rate):")
    )
    lines[index] = re.sub(r"(\w)(\w)(\w*):", r"\1\2\2\3:", lines[index], count=1)
    return index


def text_for_a_number(lines: list[str], rng: random.Random) -> int:
    index = rng.choice(lines_with(lines, r"^ *(min|max|mean): [\d.]"))
    lines[index] = re.sub(r": .*", ": plenty", lines[index])
    return index


def swapped_bounds(lines: list[str], rng: random.Random) -> int:
    index = rng.choice([i for i in lines_with(lines, r"^ *min:") if re.match(r" *max:", lines[i + 1])])
    low, high = lines[index], lines[index + 1]
    lines[index], lines[index + 1] = high.replace("max", "min", 1), low.replace("min", "max", 1)
    return index


def unknown_distribution(lines: list[str], rng: random.Random) -> int:
    index = rng.choice(lines_with(lines, r"^ *distribution:"))
    lines[index] = re.sub(r": .*", ": lognormalish", lines[index])
    return index


def unknown_suite(lines: list[str], rng: random.Random) -> int:
    lines[:] = [line for line in lines if not line.startswith("sim_name")]
    lines.insert(0, "sim_name: areena")
    return 0


def unknown_default(lines: list[str], rng: random.Random) -> int:
    lines[:] = [line for line in lines if line not in ("defaults:", "  - full", "  - _self_")]
    lines[:0] = ["defaults:", "  - fullest", "  - _self_"]
    return 1


def interpolation_in_a_circle(lines: list[str], rng: random.Random) -> int:
    lines += ["num_samples: ${sweep.target_score}", "target_score: ${sweep.num_samples}"]
    lines[:] = [line for line in lines if not re.match(r"num_samples: \d", line)]
    return len(lines) - 1


def tab(lines: list[str], rng: random.Random) -> int:
    index = rng.choice(lines_with(lines, r"^ +(\w|\.)+: *$"))
    lines[index] = "\t" + lines[index].lstrip()
    return index


def duplicate_key(lines: list[str], rng: random.Random) -> int:
    index = rng.choice(lines_with(lines, r"^ *(min|distribution|max): [\w.]+"))
    lines.insert(index, lines[index])
    return index + 1


def misspelt_parameter(lines: list[str], rng: random.Random) -> int:
    places = lines_with(
        lines, r"^ *(learning_rate|trainer\.learning_rate|gae_lambda|update_epochs|trainer\.update_epochs):"
    )
    if not places:
        return typo_in_a_key(lines, rng)
    index = rng.choice(places)
    lines[index] = re.sub(r"(rate|lambda|epochs):", r"\1x:", lines[index])
    return index


MUTATIONS: list[Mutation] = [
    typo_in_a_key,
    text_for_a_number,
    swapped_bounds,
    unknown_distribution,
    unknown_suite,
    unknown_default,
    interpolation_in_a_circle,
    tab,
    duplicate_key,
    misspelt_parameter,
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_broken_sweep_file_is_refused_with_file_line_and_key(mutate: Mutation, seed: int, tmp_path: Path) -> None:
    name = SWEEPS[seed]
    source = Path("configs/sweep") / f"{name}.yaml"
    if name == "phased":  # its own lines hold no full parameter; the ones it stands on do
        source = (
            Path("configs/sweep/full.yaml") if mutate not in (typo_in_a_key, unknown_default, unknown_suite) else source
        )
    lines = source.read_text().splitlines()
    wrong = mutate(lines, random.Random(f"{mutate.__name__}{seed}"))
    file = tmp_path / "sweep" / "broken.yaml"
    file.parent.mkdir()
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as caught:
        validate_file(file, [], {}, [Path("configs")])
    told = {
        int(found[1]): problem
        for problem in caught.value.problems
        if (found := re.match(re.escape(str(file)) + r":(\d+): \S+: ", problem))
    }
    assert told, caught.value.problems
    near = [line for line in told if abs(line - (wrong + 1)) <= 2]
    assert near, (wrong + 1, lines[wrong], caught.value.problems)
