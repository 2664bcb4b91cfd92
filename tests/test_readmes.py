"""What the pages say is what there is: every file, key, flag and variable stands on one, and every command of theirs is
taken.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from metta_sweep.cli.commands import COMMANDS, add_common_arguments, module_of
from metta_sweep.cli.main import main
from metta_sweep.config import load_train_job
from metta_sweep.registry.open import open_registry
from trainables.spec import RunSpec

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "searchers",
    "trainables",
    *(f"metta_sweep/{path.parent.name}" for path in sorted((ROOT / "metta_sweep").glob("*/README.md"))),
)
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted((ROOT / "metta_sweep").glob("*/README.md"))]
VARIABLE = re.compile(r"""environ(?:\.get\(|\[)"([A-Z_]+)"|"([A-Z_]+)" in os\.environ""")
# Set by shells and by Python's own world, not by our users for us.
NOT_OURS = {"_ARGCOMPLETE", "COMP_LINE", "HOME", "PYTHONPATH"}


def text_of(*pages: Path) -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def commands_in(page: Path) -> list[str]:
    """Every `python -m metta_sweep ...` of a page, in blocks and in tables, without comments and endings of prose."""
    found = re.findall(r"python -m metta_sweep ([^`\n]+)", page.read_text(encoding="utf-8"))
    return [words.split("  #")[0].split(" #")[0].strip() for words in found if not words.startswith("COMMAND")]


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(module_of(command)).add_arguments(parser)
    add_common_arguments(parser)
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_lines_of_text_have_at_most_120_columns(page: Path) -> None:
    """Rows of tables and lines of code cannot be broken; nor can a picture's words."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert not [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "!["))]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_module_stands_in_its_folders_page(package: str) -> None:
    page = text_of(ROOT / package / "README.md")
    modules = [file.name for file in (ROOT / package).glob("*.py") if file.name != "__init__.py"]
    if package == "metta_sweep/cli":  # a command's file carries its name
        modules = [name for name in modules if f"`{name.removesuffix('.py').replace('_', '-')}`" not in page]
    assert [name for name in modules if name not in page] == []


def test_each_key_of_a_run_stands_on_a_page() -> None:
    page = text_of(ROOT / "trainables/README.md", ROOT / "metta_sweep/config/README.md")
    assert [key for key in sorted(RunSpec.known_keys()) if f"`{key}`" not in page] == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_and_flag_stands_on_a_page(command: str) -> None:
    page = text_of(ROOT / "metta_sweep/cli/README.md")
    assert f"`{command}`" in page
    flags = [
        option for action in parser_of(command)._actions for option in action.option_strings if option.startswith("--")
    ]
    assert [flag for flag in flags if flag not in page and flag != "--help"] == []


def test_each_environment_variable_stands_on_a_page() -> None:
    code = text_of(
        *(path for package in ("metta_sweep", "searchers", "trainables") for path in (ROOT / package).rglob("*.py"))
    )
    names = {name for pair in VARIABLE.findall(code) for name in pair if name} - NOT_OURS
    pages = text_of(*PAGES)
    assert {"RAY_ADDRESS", "METTA_SWEEP_TOKEN"} <= names
    assert [name for name in sorted(names) if name not in pages] == []


def metta_table() -> dict[str, str]:
    """ "The Metta way": what the Metta pages say, and what it is here."""
    section = text_of(ROOT / "README.md").partition("## The Metta way")[2].partition("\n## ")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return dict(rows)


def test_the_metta_pages_test_commands_have_a_row_each_that_finds_tests() -> None:
    table = metta_table()
    asked = [words for words in table if "pytest" in words]
    assert len(asked) == 4  # as many as the page has
    for words in asked:
        calls = re.findall(r"python -m pytest ([^`]+)", table[words])
        paths = [path for call in calls for path in call.split() if path != "-v"]
        assert paths
        for path in paths:
            place = ROOT / path
            assert place.is_file() or any(place.rglob("test_*.py")), path


def blocks(kind: str, page: str = "README.md") -> list[str]:
    """Code blocks of a page, by default of the tutorial."""
    return re.findall(rf"```{kind}\n(.*?)```", text_of(ROOT / page), re.S)


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as the tutorial leaves it: the sweep file of the page, patches that `best` wrote, sweeps in the
    registry.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    sweeps = tmp_path / "configs" / "sweep"
    sweeps.mkdir(parents=True)
    (sweeps / "mine.yaml").write_text(blocks("yaml")[0])
    (sweeps / "zoo.yaml").write_text(blocks("yaml", "trainables/README.md")[0])
    (sweeps / "demo_sweep.yaml").write_text(text_of(ROOT / "configs/sweep/demo_sweep.yaml"))
    patches = tmp_path / "configs" / "trainer" / "patch"
    patches.mkdir(parents=True)
    for name in ("demo_best", "s_best"):
        (patches / f"{name}.yaml").write_text("# @package _global_\ntrainer: {ppo: {gamma: 0.98}}\n")
    registry = open_registry(tmp_path / "train_dir", None)
    for name in ("demo", "mine", "s"):
        registry.create_sweep(name, "")
    registry.close()
    return tmp_path


def test_the_tutorials_schedule_belongs_to_its_sweep(tutorial: Path) -> None:
    sweep, schedule = blocks("yaml")
    (tutorial / "phased.yaml").write_text(sweep + schedule)
    assert main(["validate", "phased.yaml"]) == 0


def test_the_tutorial_has_commands() -> None:
    assert len(commands_in(ROOT / "README.md")) > 20


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in commands_in(page)}))
def test_each_command_on_a_page_is_taken(line: str, tutorial: Path) -> None:
    command, *words = shlex.split(line.replace("...", "sweep_name=s"))
    assert command in COMMANDS
    args = parser_of(command).parse_intermixed_args(words)
    if command in ("run", "plan"):
        assert main(["plan", *(word for word in words if word != "--update"), "--json"]) == 0
    elif command in ("validate", "status", "stop", "retry"):
        assert main([command, *words]) == 0
    elif command in ("train", "evaluate"):
        load_train_job(args.overrides, {"WANDB_MODE": "disabled"})
