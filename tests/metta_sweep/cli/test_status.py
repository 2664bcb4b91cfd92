"""`status` of many runs and of many sweeps: the newest, what is left out, and ids that can be typed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta_sweep.analysis.ending import DRIVER_ENDED, DRIVER_STARTED
from metta_sweep.analysis.names import cut_id
from metta_sweep.cli.main import main
from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import NewObservation, Reservation

LONG = "a-sweep-with-a-name-that-is-much-longer-than-anybody-needs"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A directory to work in, and its registry."""
    monkeypatch.chdir(tmp_path)
    registry = open_registry(tmp_path / "train_dir", None)
    yield registry
    registry.close()


def with_runs(registry: Registry, name: str, count: int) -> None:
    registry.create_sweep(name, "")
    for number in range(count):
        run = registry.reserve(name, Reservation(number, {}), current_owner(), lease_seconds=60, key=f"r{number}")
        registry.start(run.id, run.fence, num_gpus=0, key=f"s{number}")
        registry.finish(run.id, run.fence, NewObservation("completed", float(number), 1.0, 1.0), key=f"f{number}")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["status", *words]) == 0
    return capsys.readouterr().out


def ids(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if ".r." in line.split(" ")[0]]


def test_a_sweep_shows_its_newest_runs_first_and_how_many_more_there_are(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    with_runs(registry, "s", 43)
    text = said(capsys, "sweep_name=s")
    assert ids(text) == [f"s.r.{number}" for number in range(42, 22, -1)]
    assert "43 completed" in text
    assert text.endswith("The newest 20 of 43 runs. --all shows all of them, --limit 40 more.\n")
    few = said(capsys, "sweep_name=s", "--limit", "2")
    assert ids(few) == ["s.r.42", "s.r.41"]
    every = said(capsys, "sweep_name=s", "--all")
    assert len(ids(every)) == 43
    assert "The newest" not in every
    bounded = json.loads(said(capsys, "sweep_name=s", "--json"))
    assert bounded["num_runs"] == 43
    assert [run["id"] for run in bounded["runs"]] == ids(text)
    assert len(json.loads(said(capsys, "sweep_name=s", "--json", "--all"))["runs"]) == 43


def test_notes_and_tags_are_in_the_json(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    with_runs(registry, "s", 2)
    registry.remark("s", run_id="s.r.0", note="odd", tags=["seed 1", "keep"], by="me")
    registry.remark("s", run_id=None, note="for the paper", tags=["paper"], by="me")
    told = json.loads(said(capsys, "sweep_name=s", "--json"))
    assert (told["note"], told["tags"]) == ("for the paper", ["paper"])
    assert [(run["note"], run["tags"]) for run in told["runs"]] == [("", []), ("odd", ["seed 1", "keep"])]


def test_many_sweeps_take_a_line_each_the_newest_first(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(22):
        registry.create_sweep(f"s{number}", "")
    with_runs(registry, "last", 1)
    lines = said(capsys).splitlines()
    assert lines[0].startswith("last active, no driver runs: 1 completed; best single score: 0")
    assert [line.split()[0] for line in lines[1:20]] == [f"s{number}" for number in range(21, 2, -1)]
    assert lines[20:] == ["The newest 20 of 23 sweeps. --all shows all of them, --limit 40 more."]
    assert len(json.loads(said(capsys, "--json"))) == 20


def test_the_number_of_a_run_is_never_cut(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_runs(registry, LONG, 12)
    monkeypatch.setattr("metta_sweep.driver.display.PLAIN_WIDTH", 50)
    text = said(capsys, f"sweep_name={LONG}")
    shown = ids(text[text.index("\nrun ") :])
    assert [one.rpartition(".r.")[2] for one in shown] == [str(number) for number in range(11, -1, -1)]
    assert all(one.startswith("a-sw") for one in shown)


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert cut_id("sweep.r.4711", 20) == "sweep.r.4711"
    assert cut_id("abcdefghijklmnop.r.4711", 16) == "abcd…mnop.r.4711"


@pytest.mark.parametrize("number", ["0", "-3", "x"])
def test_a_limit_is_a_positive_number(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["status", f"--limit={number}"])
    assert "--limit: invalid positive value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "sweep_name=demp"], "sweep_name='demp': no such sweep. In ./train_dir there are: demo, other"),
        (["best", "sweep_name=demp"], "sweep_name='demp': no such sweep. In ./train_dir there are: demo, other"),
        (["delete", "sweep_name=x"], "sweep_name='x': no such sweep. In ./train_dir there are: other, demo"),
        (["best"], "Which sweep? Add sweep_name=NAME. In ./train_dir there are: other, demo"),
        (["stop"], "Which sweep? Add sweep_name=NAME. In ./train_dir there are: other, demo"),
        (
            ["best", "data_dir=elsewhere"],
            "Which sweep? Add sweep_name=NAME. There are no sweeps in ./elsewhere; data_dir=DIRECTORY looks elsewhere",
        ),
    ],
)
def test_a_missing_or_unknown_name_is_told_with_what_is_there(
    registry: Registry, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("demo", "other"):
        registry.create_sweep(name, "")
    assert main(words) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_sync_without_a_network_says_so_once(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.create_sweep("s", "")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert main(["sync", "sweep_name=s", "wandb=auto"]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: WandB at http://127.0.0.1:9 does not answer (")
    assert len(said.err.splitlines()) == 1


def ended(registry: Registry, name: str, reason: str, *, is_finished: bool) -> None:
    """What a driver says when it begins and when it ends."""
    rules = {"sweep.num_samples": 3, "budget.dollars": 5.0, "budget.hourly_cost": 3600.0}
    registry.add_event(name, DRIVER_STARTED, run_id=None, by="run", detail={"slots": 1, "gpus": 0, "rules": rules})
    detail = {"reason": reason, "is_finished": is_finished}
    registry.add_event(name, DRIVER_ENDED, run_id=None, by="run", detail=detail)


def test_a_finished_sweep_says_why_what_is_unspent_and_that_there_is_nothing_to_stop(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    with_runs(registry, "s", 3)
    ended(registry, "s", "all 3 runs are done (sweep.num_samples)", is_finished=True)
    text = said(capsys, "sweep_name=s")
    assert "s finished (all 3 runs are done (sweep.num_samples)): 3 completed" in text
    assert "spent of $5.000, $" in text
    assert "unspent" in text
    assert "committed" not in text
    assert "per hour now" not in text
    told = json.loads(said(capsys, "sweep_name=s", "--json"))
    assert told["state"] == "finished"
    assert told["ending"] == {"reason": "all 3 runs are done (sweep.num_samples)", "is_finished": True}
    assert main(["stop", "sweep_name=s"]) == 0
    assert capsys.readouterr().out == "s: nothing runs; it is finished: all 3 runs are done (sweep.num_samples)\n"
    assert registry.get_sweep("s").state == "active"  # `run` with more runs goes on as if nothing had been asked


def test_a_sweep_that_was_interrupted_is_not_finished_and_one_that_was_killed_is_when_it_has_all_its_runs(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    with_runs(registry, "s", 2)
    ended(registry, "s", "interrupted; the same command continues it", is_finished=False)
    assert "s ended (interrupted; the same command continues it): 2 completed" in said(capsys, "sweep_name=s")
    assert main(["stop", "sweep_name=s"]) == 0
    assert "s: nothing runs, and nothing new starts" in capsys.readouterr().out
    with_runs(registry, "killed", 3)
    rules = {"rules": {"sweep.num_samples": 3}}
    registry.add_event("killed", DRIVER_STARTED, run_id=None, by="run", detail=rules)
    assert "killed finished (all 3 runs are done" in said(capsys, "sweep_name=killed")


def test_a_retried_run_makes_a_finished_sweep_unfinished(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    with_runs(registry, "s", 2)
    run = registry.reserve("s", Reservation(2, {}), current_owner(), lease_seconds=60, key="r2")
    registry.start(run.id, run.fence, num_gpus=0, key="s2")
    registry.finish(run.id, run.fence, NewObservation("failed", None, 1.0, 1.0, failure="code"), key="f2")
    ended(registry, "s", "all 3 runs are done (sweep.num_samples)", is_finished=True)
    assert "finished" in said(capsys, "sweep_name=s")
    registry.retry(run.id, by="test", key="again")
    assert "s active, no driver runs" in said(capsys, "sweep_name=s")
