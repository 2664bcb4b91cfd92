"""What the pages say is what there is: every file, key, flag and variable stands on one, and every command of theirs is
taken.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from metta_sweep.cli.commands import COMMANDS, add_common_arguments, module_of
from metta_sweep.cli.main import main
from metta_sweep.config import load_train_job
from metta_sweep.registry.open import open_registry
from tests.docs.reference import help_of, keys
from trainables.spec import RunSpec

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "searchers",
    "trainables",
    *(f"metta_sweep/{path.parent.name}" for path in sorted((ROOT / "metta_sweep").glob("*/README.md"))),
)
FOLDERS = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted((ROOT / "metta_sweep").glob("*/README.md"))]
PAGES = [*FOLDERS, *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = ROOT / "docs/examples/README.md"
# A block with a title is a file of the reader's: ```yaml title="configs/sweep/mine.yaml"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)
VARIABLE = re.compile(r"""environ(?:\.get\(|\[)"([A-Z_]+)"|"([A-Z_]+)" in os\.environ""")
# Set by shells and by Python's own world, not by our users for us.
NOT_OURS = {"_ARGCOMPLETE", "COMP_LINE", "HOME", "PYTHONPATH"}


def text_of(*pages: Path) -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def commands_in(page: Path) -> list[str]:
    """Every `python -m metta_sweep ...` of a page, in blocks and in text, without comments and endings of prose."""
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    found = re.findall(r"python -m metta_sweep ([^`\n]+)", text)
    return [words.split("  #")[0].split(" #")[0].strip() for words in found if not words.startswith("COMMAND")]


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(module_of(command)).add_arguments(parser)
    add_common_arguments(parser)
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_text_have_at_most_120_columns(page: Path) -> None:
    """In docs/ rows of tables and lines of code, too; in folders' pages some cannot be broken."""
    text = text_of(page)
    if page in FOLDERS:
        text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    free = ("|", "![") if page in FOLDERS else ()
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith(free)] == []


def test_the_front_page_is_read_in_a_minute() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= 120


@pytest.mark.parametrize("package", PACKAGES)
def test_each_module_stands_in_its_folders_page(package: str) -> None:
    page = text_of(ROOT / package / "README.md")
    modules = [file.name for file in (ROOT / package).glob("*.py") if file.name != "__init__.py"]
    if package == "metta_sweep/cli":  # a command's file carries its name
        modules = [name for name in modules if f"`{name.removesuffix('.py').replace('_', '-')}`" not in page]
    assert [name for name in modules if name not in page] == []


def test_each_key_of_a_run_stands_on_a_page() -> None:
    page = keys() + text_of(ROOT / "docs/reference/configuration.md")
    assert [key for key in sorted(RunSpec.known_keys()) if f"`{key}`" not in page] == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_and_flag_stands_on_a_page(command: str) -> None:
    page = help_of(command)
    assert f"`{command}`" in text_of(ROOT / "metta_sweep/cli/README.md")
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
    section = text_of(ROOT / "docs/how-to/from-metta.md").partition("## The Metta way")[2].partition("\n## ")[0]
    rows = re.findall(r"^- (`[^`]+`):\s+(.*(?:\n  .*)*)", section, re.MULTILINE)
    return {words: re.sub(r"\s+", " ", here) for words, here in rows}


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


def files_of(page: Path) -> dict[str, str]:
    """The files that a page asks its reader to write, by name."""
    return {name: text for _, name, text in BLOCK.findall(text_of(page)) if name}


def snippets_of(page: Path) -> str:
    """What a page's Python blocks do, one after the other."""
    return "\n".join(text for kind, name, text in BLOCK.findall(text_of(page)) if kind == "python" and not name)


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as readers have it: patches that `best` wrote, sweeps in the registry, files of the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    sweeps = tmp_path / "configs" / "sweep"
    sweeps.mkdir(parents=True)
    (sweeps / "demo_sweep.yaml").write_text(text_of(ROOT / "configs/sweep/demo_sweep.yaml"))
    patches = tmp_path / "configs" / "trainer" / "patch"
    patches.mkdir(parents=True)
    for name in ("demo_best", "s_best", "first_best"):
        (patches / f"{name}.yaml").write_text("# @package _global_\ntrainer: {ppo: {gamma: 0.98}}\n")
    registry = open_registry(tmp_path / "train_dir", None)
    for name in ("demo", "first", "mine", "s"):
        registry.create_sweep(name, "")
    registry.close()
    return tmp_path


def write_files(page: Path, directory: Path) -> None:
    for name, text in files_of(page).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


@pytest.mark.parametrize("page", [page for page in PAGES if files_of(page)], ids=lambda page: page.stem)
def test_each_file_of_a_page_is_a_sweep_or_a_program(
    page: Path, tutorial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(page, tutorial)
    for name, text in files_of(page).items():
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif name.endswith(".sbatch"):
            subprocess.run(["bash", "-n", name], cwd=tutorial, check=True)
        else:
            assert main(["validate", name]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", [page for page in PAGES if snippets_of(page)], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_or_at_least_compiles(page: Path) -> None:
    """Pages of docs/ are complete; those of folders show fragments."""
    code = compile(snippets_of(page), page.name, "exec")
    if page not in FOLDERS:
        exec(code, {"__name__": "page"})


def lines_of_pages() -> dict[str, Path]:
    """Each command that stands somewhere, with a page that has it. What two tests would take once more is left out: a
    `run` with the words of a `plan`, a `validate` of a page's own file.
    """
    found = {line: page for page in reversed(PAGES) for line in commands_in(page)}
    again = {f"run {line.removeprefix('plan ')}" for line in found if line.startswith("plan ")}
    again |= {f"validate {name}" for page in PAGES for name in files_of(page)}
    return {line: page for line, page in found.items() if line not in again}


def test_the_pages_have_commands() -> None:
    assert len(lines_of_pages()) > 40


@pytest.mark.parametrize(("line", "page"), sorted(lines_of_pages().items()))
def test_each_command_on_a_page_is_taken(line: str, page: Path, tutorial: Path) -> None:
    write_files(page, tutorial)
    command, *words = shlex.split(line.replace("...", "sweep_name=s"))
    assert command in COMMANDS
    args = parser_of(command).parse_intermixed_args(words)
    if not words or page == EXAMPLES:  # a command as such; tests/docs/test_examples.py is in those folders
        return
    if command in ("run", "plan"):
        plan = [word for word in words if word not in ("--update", "--json") and "sweep_server_uri" not in word]
        there = ["--for-cluster", "1x1x16"] if page.stem == "gpu-machine" and "--for-cluster" not in plan else []
        assert main(["plan", *plan, *there, "--json"]) == 0  # nobody serves a registry here
    elif command in ("validate", "status", "stop", "retry"):
        assert main([command, *words]) == 0
    elif command in ("train", "evaluate"):
        load_train_job(args.overrides, {"WANDB_MODE": "disabled"})
