"""`report`: the dashboard's figures of one sweep as a single HTML file."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path

from metta_sweep.cli.commands import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    add = parser.add_argument
    add("--sweep-name", default="", metavar="NAME", help="same as sweep_name=NAME")
    file = add("--output", type=Path, metavar="FILE")
    file.help = "where to write (default: {data_dir}/sweep/{sweep_name}/report.html)"
    add("--max-observations", type=int, metavar="N", help="show the newest N results only")
    add("--hourly-cost", type=float, metavar="DOLLARS", help="price of a GPU-hour (slot-hour without GPUs)")
    add("--theme", choices=("light", "dark"), default="light", help="colours (default light)")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.cli.dashboard import feed_options, located, need_extra
    from metta_sweep.cli.readers import check_exists

    need_extra()
    from metta_sweep.dashboard.background_fits import fit
    from metta_sweep.dashboard.figure_input import FigureInput
    from metta_sweep.dashboard.report import write_report
    from metta_sweep.dashboard.snapshot import Feed
    from metta_sweep.dashboard.view import View
    from metta_sweep.registry.reader import open_reader

    location = located(args, os.environ, need_sweep=False)
    with closing(open_reader(location.data_dir, location.sweep_server_uri)) as reader:
        check_exists(reader, location)
        snapshot = Feed(reader, location.sweep_name, feed_options(args, location)).refresh()
    path = args.output or location.data_dir / "sweep" / location.sweep_name / "report.html"
    write_report(FigureInput(snapshot, View(sweep=location.sweep_name, theme=args.theme), fit(snapshot)), path)
    print(f"wrote {path}")
    return 0
