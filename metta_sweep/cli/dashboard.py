"""`dashboard`: an interactive page that shows where the money goes and what it bought."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from metta_sweep.cli.main import add_config_arguments
from metta_sweep.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--sweep-name", default="", metavar="NAME", help="sweep to open; without it the page lists all")
    parser.add_argument("--entity", default="", help="WandB entity of a sweep that only WandB knows; it is imported first")
    parser.add_argument("--project", default="", help="its WandB project")
    parser.add_argument("--max-observations", type=int, metavar="N", help="show (and import) the newest N results only")
    parser.add_argument(
        "--hourly-cost", type=float, metavar="DOLLARS", help="price of a GPU-hour (slot-hour without GPUs); default budget.hourly_cost"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8050, help="port to serve on (default 8050)")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.config.job import Budget
    from metta_sweep.config.registered import load_location
    from metta_sweep.dashboard.app import create_app, serve
    from metta_sweep.dashboard.desk import Desk
    from metta_sweep.dashboard.digests import Digests
    from metta_sweep.dashboard.reader import open_reader
    from metta_sweep.dashboard.snapshot import FeedOptions
    from metta_sweep.dashboard.source import Source
    from metta_sweep.dashboard.studies import Studies

    overrides = [*args.overrides, *([f"sweep_name={args.sweep_name}"] if args.sweep_name else [])]
    location = load_location(overrides, config_dirs=[Path(path) for path in args.config_dir], environ=os.environ, need_sweep=False)
    reader = open_reader(location.data_dir, location.sweep_server_uri)
    price = args.hourly_cost if args.hourly_cost is not None else location.hourly_cost
    source = Source(reader, FeedOptions(Budget(hourly_cost=price), args.max_observations))
    studies = Studies()
    try:
        if location.sweep_name:
            source.snapshot(location.sweep_name)
        app = create_app(Desk(source, studies, Digests(reader), location.data_dir, location.sweep_name), host=args.host)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        print(f"dashboard: http://{args.host}:{args.port}/  (Ctrl-C ends it; the sweep goes on)")
        serve(app, args.host, args.port)
    except OSError as error:
        raise ConfigError(f"--host {args.host} --port {args.port}: {error.strerror or error}; choose another --port") from error
    except KeyboardInterrupt:
        return 0
    finally:
        studies.close()
        source.close()
    return 0
