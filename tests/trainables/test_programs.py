"""Commands and functions of the user's own: how they are started, listened to, blamed and ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainables.command import CommandProcess, CommandRun
from trainables.distributed import DistributedContext
from trainables.errors import CodeFailure, HyperparameterFailure, InfrastructureFailure, RunError, SpecError
from trainables.failures import classify
from trainables.function import FunctionContext
from trainables.messages import RunRequest, Trained
from trainables.metering import Meter
from trainables.programs import Reports, Tail, TrainableConfig, load_points, save_point
from trainables.rank_run import RankRun
from trainables.report import PATH_VARIABLE, report
from trainables.result import Costs, Point, Progress, Span
from trainables.run_files import RunFiles, output_to
from trainables.spec import RunSpec, metric_names

TOY = f"{sys.executable} -m tests.trainables.programs.toy {{overrides}}"
ROOT = str(Path(__file__).parents[2])


def command(text: str = TOY, **settings: Any) -> dict[str, Any]:
    return {"kind": "command", "command": text, "workdir": ROOT, "stop_seconds": 0.5, **settings}


def run(trainable: dict[str, Any], directory: Path, **rest: Any) -> tuple[Trained, list[Progress]]:
    """One rank of a run in this process."""
    stop, attempt = rest.pop("stop", threading.Event()), rest.pop("attempt", 1)
    on_progress: Callable[[Progress], None] = rest.pop("on_progress", lambda progress: None)
    mapping = {"run": "s.r.0", "seed": 7, "trainable": trainable, **rest}
    heard: list[Progress] = []

    def listen(progress: Progress) -> None:
        heard.append(progress)
        on_progress(progress)

    request = RunRequest(RunSpec.from_mapping(mapping), directory, attempt)
    rank = RankRun(request, DistributedContext(), Meter("setup"), stop, listen)
    with output_to(request.files.log()):
        return rank.train(), heard


def log(directory: Path) -> str:
    return (directory / "train.log").read_text()


def test_a_program_gets_its_parameters_as_overrides_and_its_reports_become_the_curve(tmp_path: Path) -> None:
    trained, heard = run(command(parameters={"steps": 3}, total_steps=300), tmp_path, suggestion={"optim.lr": 0.5})
    assert "++steps=3 ++optim.lr=0.5" in log(tmp_path)
    assert (trained.complete, trained.env_steps) == (True, 300)
    assert trained.reported == {"score": 1.5, "reward": 1.5, "accuracy": 0.5}
    assert [(point.env_steps, point.score) for point in trained.curve] == [(100, 0.5), (200, 1.0), (300, 1.5)]
    assert [progress.total_env_steps for progress in heard] == [300, 300, 300]


def test_what_a_program_costs_is_the_cpu_time_of_all_its_processes(tmp_path: Path) -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.5: pass"
    shell = f"bash -c \"{sys.executable} -c '{burn}'; echo score=1\""
    trained, _ = run(command(shell, pattern=r"score=(?P<score>[\d.]+)"), tmp_path)
    assert 0.5 < trained.costs.train.cpu_seconds < 5.0
    assert trained.costs.train.wall_seconds >= 0.5


def test_a_program_that_reports_each_episode_is_told_as_means_of_several(tmp_path: Path) -> None:
    episodes = "for i in 1 2 3 4 5 6 7; do echo step $i return $((i * i)); done"
    pattern = r"step (?P<step>\d+) return (?P<score>\S+)"
    trained, heard = run(command(f"bash -c '{episodes}'", pattern=pattern, average=3), tmp_path)
    means = [(3, 14 / 3), (6, 77 / 3), (7, 110 / 3)]  # the last one of the last three, two of which were told before
    assert [(point.env_steps, point.score) for point in trained.curve] == [
        (step, pytest.approx(mean)) for step, mean in means
    ]
    assert trained.curve[0].score_se == pytest.approx(4.041451884327381 / 3**0.5)
    assert trained.reported["score"] == pytest.approx(110 / 3)
    assert len(heard) == 3


def test_placeholders_and_forms_of_overrides(tmp_path: Path) -> None:
    text = "echo {run} {seed} {directory} lr={optim.lr} {config} {overrides}"
    run(
        command(f"bash -c '{text} score=1'", pattern="score=(?P<score>1)", override="--{key} {value}"),
        tmp_path,
        suggestion={"optim": {"lr": 1e-05}},
    )
    assert f"s.r.0 7 {tmp_path} lr=1e-05 {tmp_path}/parameters.yaml --optim.lr 1e-05 score=1" in log(tmp_path)
    assert (tmp_path / "parameters.yaml").read_text() == "optim:\n  lr: 1.0e-05\n"


def test_searched_values_may_be_named_below_trainable_parameters(tmp_path: Path) -> None:
    run(command(parameters={"optim": {"lr": 0.1}}), tmp_path, suggestion={"trainable.parameters.optim.lr": 0.25})
    assert "++optim.lr=0.25" in log(tmp_path)


def test_a_result_can_be_read_from_output_or_from_a_file_of_json_lines(tmp_path: Path) -> None:
    said, _ = run(
        command(
            "bash -c 'echo step 10 return 3.5; echo step 20 return 4.5'",
            pattern=r"step (?P<step>\d+) return (?P<score>\S+)",
        ),
        tmp_path,
    )
    assert [(point.env_steps, point.score) for point in said.curve] == [(10, 3.5), (20, 4.5)]
    lines = 'echo "{\\"step\\": 5, \\"loss\\": 2}" > {directory}/out.jsonl'
    settings = {"results": "{directory}/out.jsonl", "metrics": ["loss"]}
    written, _ = run(command(f"bash -c '{lines}'", **settings), tmp_path / "second", metric="loss")
    assert written.reported == {"loss": 2.0}


@pytest.mark.parametrize(
    ("does", "error", "message", "signature"),
    [
        ("raise", CodeFailure, "ValueError: no data for 0.1", "ValueError at toy.py:"),
        ("nan", HyperparameterFailure, "the program reported score=nan at step 101", ""),
        (
            "torch nan",
            HyperparameterFailure,
            "the program met a number that is not finite: ValueError: Expected parameter logits",
            "",
        ),
        ("out of memory", HyperparameterFailure, "the program ran out of memory: RuntimeError: CUDA out of memory", ""),
        ("be killed", InfrastructureFailure, "the program was killed from outside (signal 9)", ""),
        ("exit", CodeFailure, "the program ended with status 1: usage: toy.py", "status 1"),
        ("crash", CodeFailure, "the program ended with status 139 (SIGSEGV): ", "status 139 (SIGSEGV)"),
    ],
)
def test_blame(tmp_path: Path, does: str, error: type[RunError], message: str, signature: str) -> None:
    with pytest.raises(error) as caught:
        run(command(parameters={"does": does}), tmp_path)
    assert str(caught.value).startswith(message)
    assert signature in classify(caught.value).signature


def test_programs_that_cannot_start_or_say_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(CodeFailure, match="no-such-program: No such file or directory"):
        run(command("no-such-program"), tmp_path / "a")
    with pytest.raises(CodeFailure, match=r"trainable.workdir: /nowhere cannot be used"):
        run({**command("true"), "workdir": "/nowhere"}, tmp_path / "b")
    with pytest.raises(CodeFailure, match=r"without reporting score; call metta_sweep.report\(score=...\)"):
        run(command("true"), tmp_path / "c")


def test_a_stopped_program_is_gone_with_everything_that_it_started(tmp_path: Path) -> None:
    stop = threading.Event()
    trained, _ = run(
        command(parameters={"does": "spawn", "seconds": 60}),
        tmp_path,
        stop=stop,
        on_progress=lambda progress: stop.set(),
    )
    assert not trained.complete
    assert not psutil.pid_exists(int(log(tmp_path).split("child ")[1].split()[0]))


def test_a_program_may_save_its_work_when_it_is_asked_to_end(tmp_path: Path) -> None:
    stop = threading.Event()
    script = "trap 'echo saved; exit 0' TERM; echo score=1; while true; do sleep 0.05; done"
    run(
        command(f'bash -c "{script}"', pattern="score=(?P<score>1)", stop_seconds=10),
        tmp_path,
        stop=stop,
        on_progress=lambda progress: stop.set(),
    )
    assert "saved" in log(tmp_path)


def test_a_program_dies_with_the_process_that_runs_it(tmp_path: Path) -> None:
    code = (
        "import sys, threading; from pathlib import Path; from tests.trainables.test_programs import *\n"
        f"run(command(parameters={{'does': 'spawn', 'seconds': 60}}), Path({str(tmp_path)!r}))"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(lambda: (tmp_path / "train.log").exists() and "child " in log(tmp_path))
    child = int(log(tmp_path).split("child ")[1].split()[0])
    tree = psutil.Process(owner.pid).children(recursive=True)
    assert len(tree) >= 2
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_for(lambda: not any(process.is_running() for process in tree) and not psutil.pid_exists(child))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_that_goes_on_pays_for_its_earlier_work_and_one_that_starts_over_does_not(tmp_path: Path) -> None:
    for step, seconds in ((100, 10.0), (200, 20.0)):
        save_point(tmp_path / "curve.jsonl", Point(step, Span(seconds, seconds), 1.0))
    earlier = load_points(tmp_path / "curve.jsonl")
    attempt = Costs(train=Span(1.0, 1.0))
    resumed, restarted = Reports("score", 0, earlier), Reports("score", 0, earlier)
    for reports, step, paid in ((resumed, 201, 21.0), (restarted, 50, 1.0)):
        progress = reports.add({"score": 2.0, "step": step}, attempt)
        assert progress is not None
        assert progress.costs.train.cpu_seconds == paid
        assert progress.attempt_costs.train.cpu_seconds == 1.0
    assert [point.env_steps for point in resumed.curve] == [100, 200, 201]
    assert [point.env_steps for point in restarted.curve] == [50]


def test_a_point_is_noted_with_the_time_at_which_the_program_told_it(tmp_path: Path) -> None:
    noted = tmp_path / "curve.jsonl"
    reports = Reports("score", 0)
    told = time.time() - 5.0
    for step, when in ((1, {"time": told}), (2, {"time": 12.5}), (3, {"time": "soon"}), (4, {})):
        progress = reports.add({"score": 1.0, "step": step, **when}, Costs())
        assert progress is not None
        assert progress.point is not None
        save_point(noted, progress.point, progress.time)
    first, *others = [json.loads(line)["time"] for line in noted.read_text().splitlines()]
    assert first == told
    assert all(told + 5.0 <= other <= time.time() for other in others)  # what is no time of now is read as it comes


def test_half_a_line_waits_for_the_other_half(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = Tail(path)
    assert list(tail.lines()) == []
    path.write_text("one\ntw")
    assert list(tail.lines()) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert list(tail.lines()) == ["two"]


@pytest.mark.parametrize(
    ("writes", "curve"),
    [
        ('echo "{\\"score\\": 7, \\"step\\": 30}" >> shared.jsonl', [(30, 7.0)]),  # goes on with the file
        ('echo "{\\"score\\": 7, \\"step\\": 30}" > shared.jsonl', [(30, 7.0)]),  # a shorter one
        ("cp shared.jsonl again; cat again > shared.jsonl", [(10, 1.0), (20, 2.0)]),  # the same once more
        ("true", []),
    ],
)
def test_a_file_of_results_of_an_earlier_run_is_not_taken_for_this_ones(
    tmp_path: Path, writes: str, curve: list[tuple[int, float]]
) -> None:
    (tmp_path / "shared.jsonl").write_text('{"score": 1, "step": 10}\n{"score": 2, "step": 20}\n')
    trainable = {**command(f"bash -c '{writes}'", results="shared.jsonl"), "workdir": str(tmp_path)}
    if not curve:
        with pytest.raises(CodeFailure, match="without reporting score"):
            run(trainable, tmp_path / "r")
        return
    trained, _ = run(trainable, tmp_path / "r")
    assert [(point.env_steps, point.score) for point in trained.curve] == curve


def test_report_is_silent_outside_a_sweep_and_one_line_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PATH_VARIABLE, raising=False)
    report(score=1.0)
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "report.jsonl"))
    report(score=1, step=5, loss=0.5)
    line = json.loads((tmp_path / "report.jsonl").read_text())
    assert (line["score"], line["step"], line["loss"]) == (1.0, 5, 0.5)
    assert "score_se" not in line
    report(score=2.0, score_se=0.25)
    assert json.loads((tmp_path / "report.jsonl").read_text().splitlines()[-1])["score_se"] == 0.25


@pytest.mark.parametrize(
    ("metric", "values", "error"),
    [
        ("reward", {"score": 1.0, "score_se": 0.25}, 0.25),
        ("score", {"score": "1.0", "score_se": "0.25"}, 0.25),  # as a pattern finds them
        ("reward", {"score": 1.0}, None),
        ("reward", {"score": 1.0, "score_se": -1.0}, None),
        ("accuracy", {"score": 1.0, "score_se": 0.25, "accuracy": 0.5}, None),  # it is not the accuracy's
    ],
)
def test_a_score_keeps_the_standard_error_that_a_program_reports(
    metric: str, values: dict[str, Any], error: float | None, tmp_path: Path
) -> None:
    progress = Reports(metric, 0).add({**values, "step": 1}, Costs())
    assert progress is not None
    assert progress.point is not None
    assert progress.point.score_se == error
    save_point(tmp_path / "curve.jsonl", progress.point)
    assert load_points(tmp_path / "curve.jsonl") == (progress.point,)
    assert Progress.from_dict(json.loads(json.dumps(asdict(progress)))).point == progress.point


def test_report_needs_only_the_standard_library() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'torch', 'ray', 'psutil', 'yaml'))); import "
        "trainables.report"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def train_here(config: Any, context: FunctionContext) -> dict[str, float]:
    assert context.resume_from is None
    for step in range(1, 3):
        context.report(score=step * config["optim"]["lr"], step=step)
    (context.directory / "checkpoints" / "mine").touch()
    return {"score": 9.0, "step": 3, "accuracy": 0.75}


def train_again(config: Any, context: FunctionContext) -> float:
    assert context.resume_from is not None
    return float((context.resume_from / "mine").exists())


def test_a_function_gets_a_nested_configuration_and_a_context(tmp_path: Path) -> None:
    here = "tests.trainables.test_programs"
    function = {"kind": "function", "function": f"{here}:train_here", "metrics": ["accuracy"]}
    trained, _ = run(function, tmp_path, suggestion={"optim.lr": 0.5})
    assert [(point.env_steps, point.score) for point in trained.curve] == [(1, 0.5), (2, 1.0), (3, 9.0)]
    assert trained.reported["accuracy"] == 0.75
    again, _ = run({**function, "function": f"{here}:train_again"}, tmp_path, attempt=2)
    assert again.reported["score"] == 1.0


@pytest.mark.parametrize("path", ["no.such.module:train", "tests.trainables.test_programs:nothing"])
def test_a_function_that_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(CodeFailure, match=r"trainable.function"):
        run({"kind": "function", "function": path}, tmp_path)


@pytest.mark.parametrize(
    ("trainable", "problem"),
    [
        ({"kind": "command"}, "trainable.command: missing; name the program, such as 'python train.py {overrides}'"),
        ({"kind": "function", "function": "train"}, "trainable.function: need package.module:function, got 'train'"),
        (
            {"kind": "command", "command": "x {lr}"},
            "trainable.command: {lr} is not a parameter of the run; known: overrides, config, run",
        ),
        (
            {"kind": "command", "command": "x", "pattern": "("},
            "trainable.pattern: missing ), unterminated subpattern at position 0, in '('",
        ),
        (
            {"kind": "command", "command": "x", "pattern": "a"},
            "trainable.pattern: need a group (?P<score>...), got 'a'",
        ),
        (
            {"kind": "command", "command": "x", "types": {"width": {}, "depth": []}},
            "trainable.types.width: unknown value {}; known: bool, float, int, str",
        ),
        ({"kind": "comand", "command": "x"}, "trainable.kind: unknown value 'comand'; did you mean command?"),
    ],
)
def test_settings_are_checked_before_anything_starts(trainable: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        RunSpec.from_mapping({"trainable": trainable})
    assert any(line.startswith(problem) for line in caught.value.problems), caught.value.problems


def test_a_program_reports_what_it_declares_and_its_sections_are_its_own() -> None:
    mapping = {
        "trainable": {**command(), "metrics": ["accuracy"]},
        "metric": "accuracy",
        "trainer": {"anything": 1},
        "lr": 3,
    }
    assert metric_names(RunSpec.from_mapping(mapping)) == ("score", "reward", "accuracy")
    with pytest.raises(SpecError, match="metric: unknown 'acuracy'; did you mean accuracy"):
        RunSpec.from_mapping({**mapping, "metric": "acuracy"})


def test_what_a_program_said_before_it_was_asked_to_stop_counts(tmp_path: Path) -> None:
    config = TrainableConfig(**command("bash -c 'echo score=2; sleep 600'", pattern="score=(?P<score>.+)"))
    words = {"run": "s.r.0", "rank": "0", "attempt": "1"}
    reports, files = Reports("score", 1), RunFiles(tmp_path)
    process = CommandProcess(CommandRun(config, {}, words, files, {}), reports, lambda progress: None)
    with output_to(files.log()):
        assert not process.follow(lambda: reports.score is not None)
    assert reports.score == 2.0
