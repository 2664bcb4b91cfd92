"""Commands beside a registry in which somebody planted something, and `delete`, which removes it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import update

from metta_sweep.cli.main import main
from metta_sweep.config import load_sweep_job, load_train_job
from metta_sweep.dashboard.snapshot import Feed, FeedOptions
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.errors import ConfigError, UnreadableSweep
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.records import NewObservation, Owner, Reservation
from metta_sweep.registry.schema import runs, sweeps
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import Role, TokenStore

WORDS = ["sweep_name=s", "sweep=quick", "trainer.update_epochs=3"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlRegistry]:
    """A directory to work in, whose registry has sweep `s` with one result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    job = load_sweep_job(WORDS, {})
    registry = open_registry(tmp_path / "train_dir", None)
    assert isinstance(registry, SqlRegistry)
    registry.create_sweep("s", job.spec_yaml)
    run = registry.reserve(
        "s", Reservation(0, job.sweep.phases[0].space.center()), current_owner(), lease_seconds=60, key="r"
    )
    registry.start(run.id, run.fence, num_gpus=0, key="s")
    registry.finish(run.id, run.fence, NewObservation("completed", 1.0, 1.0, 1.0), key="f")
    yield registry
    registry.close()


def plant(store: SqlRegistry, table: Any, where: Any, **values: Any) -> None:
    with store.engine.connect().execution_options(is_write=True) as connection, connection.begin():
        connection.execute(update(table).where(where).values(**values))


@pytest.fixture
def bad(store: SqlRegistry) -> str:
    """A sweep whose specification is no specification."""
    store.create_sweep("bad", "")
    plant(store, sweeps, sweeps.c.name == "bad", spec_yaml="just words")
    return "bad"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


# Reading


def test_status_reports_a_sweep_that_cannot_be_read_beside_the_others(
    bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "status")
    assert "best single score: 1" in text
    assert "sweep bad: cannot be read: spec_yaml: need a mapping" in text
    assert [("unreadable" in one, one["sweep"]) for one in json.loads(said(capsys, "status", "--json"))] == [
        (True, "bad"),
        (False, "s"),
    ]


@pytest.mark.parametrize("command", ["status", "best"])
def test_the_sweep_itself_is_told_in_one_line(bad: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = said(capsys, command, "sweep_name=bad", code=2).splitlines()
    assert line.startswith("error: sweep bad: cannot be read")


def test_plan_goes_on_and_names_it(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "note: sweep bad: cannot be read" in said(capsys, "plan", *WORDS)


def test_the_dashboards_list_goes_on_and_names_it(bad: str, store: SqlRegistry, tmp_path: Path) -> None:
    reader = SqliteReader(tmp_path / "train_dir" / "registry.db")
    lines = {one.sweep.name: one for one in SweepSummaries(reader).read(reader.list_sweeps())}
    assert (lines["s"].best, lines["s"].unreadable) == ((1.0,), "")
    assert "need a mapping" in lines["bad"].unreadable
    with pytest.raises(UnreadableSweep):
        Feed(reader, "bad", FeedOptions()).refresh()
    reader.close()


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"slots": "many", "rules": {"budget.dollars": "x", "budget.nonsense": 1}, "world_size": 0, "gpus": []},
        {"rules": 3, "slots": None, "world_size": "x"},
        {"rules": {"[/bold]": 1}},
    ],
)
def test_status_and_dashboard_survive_what_a_driver_would_never_tell(
    detail: dict[str, Any], store: SqlRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add_event("s", "driver_started", run_id=None, by="[/red]\x1b[2J", detail=detail)
    store.add_event("s", "slots_changed", run_id=None, by="me", detail=detail)
    assert "best: s.r.0" in said(capsys, "status", "sweep_name=s")
    Feed(SqliteReader(tmp_path / "train_dir" / "registry.db"), "s", FeedOptions()).refresh()


def test_texts_of_records_are_no_markup_and_no_terminal_commands(
    store: SqlRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = Owner("[/bold]\x1b[2Jhost", "x", 1, 1.0)
    store.reserve("s", Reservation(1, {}, phase="[/x]\x1b]0;owned\x07"), owner, lease_seconds=60, key="r1")
    for words in (("status",), ("status", "sweep_name=s")):
        text = said(capsys, *words)
        assert "[/bold]" in text
        assert "[/x]" in text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_a_row_that_is_no_sweep_is_left_out(store: SqlRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    store.create_sweep("odd", "")
    plant(store, sweeps, sweeps.c.name == "odd", state="on fire")
    assert [one["sweep"] for one in json.loads(said(capsys, "status", "--json"))] == ["s"]


def test_a_column_without_json_is_its_own_sweeps_trouble(
    store: SqlRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create_sweep("odd", "")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET detail = '{' WHERE sweep = 'odd'")
    assert "sweep odd: cannot be read: database: a column does not hold JSON" in said(capsys, "status")


# Patches


def test_a_patch_from_a_registry_names_no_code_and_interpolates_nothing(
    store: SqlRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = yaml.safe_load(store.get_sweep("s").spec_yaml)
    spec["train"]["trainable"] = {"kind": "command", "command": "sh -c 'touch planted'"}
    spec["train"]["trainer"]["curriculum"] = "/env/gymnasium/planted.module:Env-v0"
    spec["train"]["trainer"]["simulation"]["replay_dir"] = "${data_dir}"
    spec["train"]["a\nb: c"] = 1
    plant(store, sweeps, sweeps.c.name == "s", spec_yaml=yaml.safe_dump(spec))
    said(capsys, "best", "sweep_name=s", "--output-dir", "configs/trainer/patch")
    text = Path("configs/trainer/patch/s_best.yaml").read_text()
    assert (
        "# trainable.command: names code to run, and the run's own files are not here; write it yourself."
        in text.splitlines()
    )
    assert "planted" not in text
    with pytest.raises(ConfigError, match=r"trainable.command: \?\?\?") as caught:
        load_train_job(["run=x", "+trainer/patch=s_best"], {})
    assert "trainer.curriculum: ???" in str(caught.value)
    own = ["trainable.kind=ppo", "trainable.command=''", "trainer.curriculum=/env/mettagrid/arena/basic"]
    config = load_train_job(["run=x", "+trainer/patch=s_best", *own], {}).config
    assert config["trainer"]["update_epochs"] == 3
    assert config["trainer"]["simulation"]["replay_dir"] == "${data_dir}"


# Deleting


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what somebody at a terminal types."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda text: monkeypatch.setattr("sys.stdin", Terminal(text))


def test_delete_removes_what_cannot_be_read_and_moves_its_files_aside(
    bad: str, store: SqlRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Path("train_dir/sweep/bad/runs/bad.r.0")
    directory.mkdir(parents=True)
    (directory / "checkpoint").write_text("stale")
    answer = json.loads(said(capsys, "delete", "sweep_name=bad", "--yes", "--json"))
    assert (answer["sweep"], answer["runs"]) == ("bad", 0)
    assert (Path(answer["files"]) / "runs" / "bad.r.0" / "checkpoint").read_text() == "stale"
    assert not Path("train_dir/sweep/bad").exists()
    assert [sweep.name for sweep in store.list_sweeps()] == ["s"]
    assert "no such sweep" in said(capsys, "delete", "sweep_name=bad", "--yes", code=2)


def test_delete_asks_and_takes_only_the_name_for_an_answer(
    store: SqlRegistry, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("yes\n")
    assert "nothing was deleted" in said(capsys, "delete", "sweep_name=s", code=2)
    assert len(store.list_sweeps()) == 1
    typed("s\n")
    assert "s: deleted with its 1 runs" in said(capsys, "delete", "sweep_name=s")
    assert store.list_sweeps() == []


def test_delete_without_a_terminal_needs_yes(
    store: SqlRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("s\n"))
    assert "add --yes" in said(capsys, "delete", "sweep_name=s", code=2)
    assert len(store.list_sweeps()) == 1


def test_delete_refuses_while_somebody_works_on_it_unless_forced(
    store: SqlRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    store.reserve("s", Reservation(1, {}), current_owner(), lease_seconds=60, key="r1")
    assert "somebody works on s.r.1" in said(capsys, "delete", "sweep_name=s", "--yes", code=2)
    plant(
        store, runs, runs.c.id == "s.r.1", owner=Owner(current_owner().host, current_owner().boot_id, 1, 0.5)
    )  # a dead one holds nothing
    said(capsys, "delete", "sweep_name=s", "--yes")
    assert store.list_sweeps() == []


def test_a_new_registrys_tokens_have_an_admin(store: SqlRegistry) -> None:
    token = TokenStore(store.engine).create("root", Role.ADMIN)
    assert TokenStore(store.engine).check(token).role is Role.ADMIN
