"""`best`: the best configurations of a sweep, and a patch file to train with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metta_sweep.cli.readers import OpenSweep, add_reader_arguments, address, print_json, reading
from metta_sweep.errors import ConfigError

if TYPE_CHECKING:
    from metta_sweep.driver.summary import Ranking
    from metta_sweep.registry.reader import Reader
    from metta_sweep.typed_commands import Address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    parser.add_argument("--top-n", type=int, default=1, metavar="N", help="configurations to show (default 1)")
    by = parser.add_argument("--by", choices=("posterior", "score"), default="posterior")
    by.help = "rank by the estimated true score (what is recommended), or by the measured one"
    directory = parser.add_argument("--output-dir", type=Path, metavar="DIR")
    directory.help = "write DIR/SWEEP_best.yaml, a patch for `train`, and say how to train with it"
    parser.add_argument("--force", action="store_true", help="overwrite a patch that exists")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.analysis.recommend import report_of
    from metta_sweep.driver.display import new_console
    from metta_sweep.driver.summary import rank

    if args.top_n < 1:
        raise ConfigError(f"--top-n: need at least 1, got {args.top_n}")
    with reading(args) as source:
        ranking = rank(source.registry, source.sweep_name, top_n=args.top_n, by=args.by)
        at = address(args, source.location)
    if not ranking.best:
        word = f"sweep_name={source.sweep_name}"
        raise ConfigError(f"{word}: no run has a score yet; see `{at.command('status', word)}`")
    patch = write_patch(args, source, ranking) if args.output_dir else None
    if args.json:
        front = ranking.front[["id", "score", "cost_seconds", "params"]].to_dict("records")
        best = [asdict(one) for one in ranking.best]
        said = report_of(ranking.recommendation) if ranking.recommendation else None
        patched = str(patch) if patch else None
        told = {"sweep": source.sweep_name, "best": best, "recommendation": said, "front": front, "patch": patched}
        print_json(told)
    else:
        show(ranking)
        console = new_console(sys.stdout)
        for line in patch_lines(args, source.sweep_name, ranking, patch, at):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    return 0


def write_patch(args: argparse.Namespace, source: OpenSweep[Reader], ranking: Ranking) -> Path:
    """Write the winner's configuration as a patch file that makes `train` reproduce it.

    Raises:
        ConfigError: it exists and `--force` is not given.
    """
    from metta_sweep.analysis.recommend import head_lines
    from metta_sweep.config.patches import FinishedRun, run_patch, without_code
    from trainables.disk import write_whole

    path: Path = args.output_dir / f"{source.sweep_name}_best.yaml"
    if path.exists() and not args.force:
        raise ConfigError(f"{path}: exists; use --force to overwrite it, or another --output-dir")
    path.parent.mkdir(parents=True, exist_ok=True)
    winner = ranking.best[0]
    config = own_config(source, winner.id)
    # What a registry says may come from anybody who writes to it: it never names the code that `train` runs.
    run = FinishedRun(ranking.spec.train if config is None else config, winner.params, ranking.spec.choices)
    run, code = without_code(run) if config is None else (run, ())
    header = head_lines(source.sweep_name, winner)
    header += [f"{key}: names code to run, and the run's own files are not here; write it yourself." for key in code]
    write_whole(path, run_patch(run, header, os.environ, args.config_dirs))
    return path


def own_config(source: OpenSweep[Reader], run_id: str) -> Mapping[str, Any] | None:
    """What the run was given, from its own file; None when that is on another machine."""
    import yaml

    file = source.location.data_dir / "sweep" / source.sweep_name / "runs" / run_id / "train_config_overrides.yaml"
    if not file.exists():
        return None
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, Mapping):
        raise ConfigError(f"{file}: is damaged; move it away, and the patch is made from the registry")
    return config


def patch_lines(
    args: argparse.Namespace, sweep_name: str, ranking: Ranking, patch: Path | None, at: Address
) -> list[str]:
    """Where the patch is and what trains with it; without one the patch to copy, and what writes and uses it."""
    from metta_sweep.analysis.recommend import head_lines, next_commands, train_command
    from metta_sweep.config.files import search_directories
    from metta_sweep.config.patches import patch_text

    if patch is not None:
        found = [directory / "trainer" / "patch" for directory in search_directories(args.config_dirs)]
        word = f"+trainer/patch={patch.stem}" if patch.parent.resolve() in found else str(patch)
        return ["", f"wrote {patch}; train with it:", f"  {train_command(word, at)}"]
    winner = ranking.best[0]
    text = patch_text(winner.params, head_lines(sweep_name, winner))
    return ["", text, "write it with all that belongs to it, and train with it:", *next_commands(sweep_name, at)]


def show(ranking: Ranking) -> None:
    """The configuration to use and why, the ranking that was asked for, and the Pareto front."""
    from rich.table import Table

    from metta_sweep.analysis.duration import elapsed
    from metta_sweep.analysis.recommend import sentences
    from metta_sweep.driver.display import format_value, new_console, plain, short_names
    from metta_sweep.driver.summary import print_front

    console = new_console(sys.stdout)
    for text in sentences(ranking.recommendation) if ranking.recommendation else ():
        console.print(plain(text), highlight=False, soft_wrap=True)
    names = list(ranking.best[0].params)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for label in ("#", "run", "score", "± s.e.", "model", "cost", *map(plain, short_names(names))):
        table.add_column(label, justify="left" if label == "run" else "right", no_wrap=True)
    for one in ranking.best:
        error = "" if one.standard_error is None else f"{one.standard_error:.2g}"
        model = "" if one.posterior is None else f"{one.posterior.mean:.4g}"
        values = [plain(format_value(one.params.get(name, ""))) for name in names]
        table.add_row(str(one.rank), one.id, f"{one.score:.4g}", error, model, elapsed(one.cost_seconds), *values)
    console.print(table)
    print_front(ranking, console)
