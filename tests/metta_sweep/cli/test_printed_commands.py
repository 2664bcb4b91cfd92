"""Every command that is printed works as it is printed: here with spaces in every path, in a registry that a bare
command would not find.
"""

from __future__ import annotations

import ast
import io
import json
import math
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from metta_sweep.cli.cluster import named, next_command
from metta_sweep.cli.dashboard import feed_options, located
from metta_sweep.cli.main import main
from metta_sweep.cli.train import begin
from metta_sweep.config import load_sweep_job
from metta_sweep.config.registered import address_of
from metta_sweep.dashboard import panels
from metta_sweep.dashboard.background_fits import fit
from metta_sweep.dashboard.export import narrowed_yaml
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.snapshot import Feed
from metta_sweep.dashboard.view import View
from metta_sweep.driver.summary import SweepOutcome, print_summary
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.reader import open_reader
from metta_sweep.registry.schema import sweeps
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.typed_commands import PROGRAM, Address, key_word
from tests.metta_sweep.cli.test_planted_sweeps import plant
from tests.metta_sweep.driver.past_sweeps import add_runs
from tests.test_readmes import parser_of

ROOT = Path(__file__).parents[3]
COMMAND = re.compile(rf"{PROGRAM} [^`\n<]+")
AT = ["data_dir=its results", "--config-dir", "my configs"]
SWEEP = ["sweep_name=s", *AT]
SWEEP_FILE = """\
parameters: {trainer.ppo.gamma: {min: 0.9, max: 0.99}, trainer.learning_rate: {min: 1.0e-4, max: 1.0e-2}}
num_samples: 20
"""


@dataclass
class Desk:
    """A directory to work in: `my configs` with sweep file `own`, and sweep `s` with results in `its results`."""

    capsys: pytest.CaptureFixture[str]
    registry: SqlRegistry
    gamma: float = math.nan  # of the configuration to use

    def said(self, *words: str, code: int = 0) -> str:
        assert main(list(words)) == code, self.capsys.readouterr().err
        captured = self.capsys.readouterr()
        return captured.out + captured.err

    def works(self, command: str) -> None:
        """Take the command as a shell would; what would start a sweep or a training is read up to its start."""
        name, *words = shlex.split(command.removeprefix(PROGRAM))
        if name == "train":
            job, _ = begin(parser_of("train").parse_args(words))
            assert job.config["trainer"]["ppo"]["gamma"] == pytest.approx(self.gamma)
            return
        if name == "run":
            name, words = "plan", [word for word in words if word != "--update"]
        self.said(name, *words, *(["--yes"] if name == "delete" else []))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    here = tmp_path / "my work"
    (here / "my configs" / "sweep").mkdir(parents=True)
    (here / "my configs" / "sweep" / "own.yaml").write_text(SWEEP_FILE)
    monkeypatch.chdir(here)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("NUM_CPUS", "2")
    job = load_sweep_job(["sweep_name=s", "sweep=own", "data_dir=its results"], {"NUM_CPUS": "2"}, [Path("my configs")])
    registry = open_registry(job.data_dir, None)
    assert isinstance(registry, SqlRegistry)
    add_runs(registry, job, 6)
    desk = Desk(capsys, registry)
    desk.gamma = json.loads(desk.said("best", *SWEEP, "--json"))["best"][0]["params"]["trainer.ppo.gamma"]
    yield desk
    registry.close()


def texts_in(component: Any) -> list[str]:
    """Everything that a page shows or lets copy."""
    if isinstance(component, list | tuple):
        return [text for one in component for text in texts_in(one)]
    if isinstance(component, str):
        return [component]
    return [text for name in ("children", "content") for text in texts_in(getattr(component, name, []) or [])]


def commands(text: str) -> list[str]:
    return [found.strip() for found in COMMAND.findall(text)]


def figure_input() -> FigureInput:
    args = parser_of("dashboard").parse_args(SWEEP)
    location = located(args, os.environ, need_sweep=True)
    reader = open_reader(location.data_dir, None)
    snapshot = Feed(reader, "s", feed_options(args, location)).refresh()
    reader.close()
    return FigureInput(snapshot, View(sweep="s"), fit(snapshot))


def test_what_the_end_of_a_run_prints_writes_the_patch_and_trains_with_it(desk: Desk) -> None:
    job = load_sweep_job(["sweep_name=s", "sweep=own", "data_dir=its results"], {}, [Path("my configs")])
    console = Console(record=True, width=80, file=io.StringIO())
    at = address_of(job.data_dir, None, [], {}, [Path("my configs")])
    print_summary("s", desk.registry, SweepOutcome("over", 0, 1.0, 0, None), console, at)
    best, train = commands(console.export_text())
    desk.works(best)
    desk.works(train)


def test_what_best_page_and_report_print_is_the_same(desk: Desk) -> None:
    desk.said("report", *SWEEP, "--output", "page.html")
    texts = [
        desk.said("best", *SWEEP),
        "\n".join(texts_in(panels.configuration(figure_input()))),
        Path("page.html").read_text().replace("&#x27;", "'"),
    ]
    first, *others = [list(dict.fromkeys(commands(text))) for text in texts]
    assert [len(first), *others] == [2, first, first]
    for command in first:
        desk.works(command)


@pytest.mark.parametrize(
    "directory", ["configs/trainer/patch", "my configs/trainer/patch", "else where", "a=b", "its results/../patches"]
)
def test_a_patch_is_found_wherever_it_was_written(directory: str, desk: Desk) -> None:
    (train,) = commands(desk.said("best", *SWEEP, "--output-dir", directory))
    desk.works(train)


def test_an_empty_registry_says_how_to_start_there(desk: Desk) -> None:
    data_dir = key_word("data_dir", "else where, 'here'")
    (start,) = commands(desk.said("status", data_dir, "--config-dir", "my configs"))
    assert f"No sweeps yet. Start one with: {start}" in texts_in(
        panels.sweeps_table([], View(), Address((data_dir,), ("my configs",)))
    )
    desk.works(start)


def test_a_sweep_without_a_score_says_where_to_look(desk: Desk) -> None:
    desk.registry.create_sweep(
        "young", desk.registry.get_sweep("s").spec_yaml.replace("sweep_name: s", "sweep_name: young")
    )
    (status,) = commands(desk.said("best", "sweep_name=young", *AT, code=2))
    desk.works(status)


def test_a_sweep_that_cannot_be_read_is_removed_as_printed(desk: Desk) -> None:
    desk.registry.create_sweep("bad", "")
    plant(desk.registry, sweeps, sweeps.c.name == "bad", spec_yaml="just words")
    beside, alone = desk.said("status", *AT), desk.said("status", "sweep_name=bad", *AT, code=2)
    assert commands(beside) == commands(alone)
    desk.works(*commands(alone))
    assert [sweep.name for sweep in desk.registry.list_sweeps()] == ["s"]


@pytest.mark.parametrize("as_phase", [True, False])
def test_a_narrowed_space_runs_as_its_head_says(as_phase: bool, desk: Desk) -> None:
    text = narrowed_yaml(figure_input(), as_phase=as_phase)
    (run,) = commands(text)
    Path("my configs", "sweep", "s_phase.yaml" if as_phase else "s_narrowed.yaml").write_text(text)
    desk.works(run)


def test_a_wandb_sweep_file_is_converted_as_printed(desk: Desk) -> None:
    theirs = {"program": "train.py", "method": "bayes", "metric": {"name": "x", "goal": "maximize"}}
    theirs |= {"parameters": {"lr": {"min": 0.1, "max": 0.2}}}
    Path("my configs", "sweep", "theirs.yaml").write_text(yaml.safe_dump(theirs))
    said = desk.said("validate", "my configs/sweep/theirs.yaml", code=2)
    command = set(commands(said)).pop()
    desk.works(command.replace("FILE", "'my configs/sweep/theirs.yaml'"))


def test_a_cluster_is_named_as_it_was_reached() -> None:
    """No cluster is at hand: the words are read, not carried out."""
    parser = parser_of("cluster")
    args = parser.parse_intermixed_args(["up", "--data-dir", "my files"])
    words = shlex.split(next_command(args, "submit", "--name", "c").removeprefix(f"{PROGRAM} cluster"))
    submit = parser.parse_intermixed_args([*words, "sweep_name=s"])
    assert (submit.name, submit.data_dir, submit.overrides) == ("c", Path("my files"), ["sweep_name=s"])
    there = ["--address", "http://head:8265", "--cluster-file", "my file.yaml"]
    args = parser.parse_intermixed_args(["submit", *there, "sweep_name=s"])
    words = shlex.split(next_command(args, "status", *named(args)).removeprefix(f"{PROGRAM} cluster"))
    status = parser.parse_intermixed_args(words)
    assert (status.address, status.cluster_file) == (args.address, args.cluster_file)


@pytest.mark.parametrize(
    "value", ["plain", "a b", "a, b", "it's", r"c:\x", "end\\", r"both\'", "${x}", "a=b", "(1)", "1"]
)
def test_a_value_that_is_printed_is_read_as_it_was(value: str) -> None:
    assert str(OverridesParser.create().parse_override(key_word("key", value)).value()) == value


# What the tests above know. A further one belongs here, and into a test.
MADE = {
    ("analysis/recommend.py", "best"),
    ("analysis/recommend.py", "train"),
    ("cli/best.py", "status"),
    ("cli/cluster.py", "cluster"),
    ("cli/readers.py", "delete"),
    ("cli/status.py", "run"),
    ("dashboard/export.py", "run"),
    ("dashboard/panels.py", "run"),
}
WRITTEN = {
    ("config/load.py", "`python -m metta_sweep convert FILE` rewrites a W&B sweep file"),
    ("launch/render.py", "# Written by `python -m metta_sweep cluster up`; "),  # says who wrote it
    ("typed_commands.py", PROGRAM),
}


def test_no_command_is_printed_that_these_tests_do_not_know() -> None:
    made, written = set(), set()
    for path in sorted((ROOT / "metta_sweep").rglob("*.py")):
        name = path.relative_to(ROOT / "metta_sweep").as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        pages = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "command":
                made.add((name, ast.literal_eval(node.args[0])))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pages:
                written |= {(name, node.value)} if PROGRAM in node.value else set()
    assert (made, written) == (MADE, WRITTEN)
