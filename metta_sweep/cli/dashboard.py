"""`dashboard`: an interactive page that shows where the money goes and what it bought."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from metta_sweep.cli.commands import add_config_arguments
from metta_sweep.errors import ConfigError

if TYPE_CHECKING:
    from metta_sweep.config.registered import Location
    from metta_sweep.dashboard.actions import Actions
    from metta_sweep.dashboard.snapshot import FeedOptions
    from metta_sweep.registry.reader import Reader


TOKEN = "METTA_SWEEP_DASHBOARD_TOKEN"
MIN_TOKEN_LENGTH = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--sweep-name", default="", metavar="NAME", help="sweep to open; without it the page lists all")
    add = parser.add_argument
    add("--entity", default="", help="WandB entity of a sweep that only WandB has; it is imported first")
    add("--project", default="", help="its WandB project")
    add("--max-observations", type=int, metavar="N", help="show (and import) the newest N results only; default: all")
    add("--hourly-cost", type=float, metavar="DOLLARS", help="price of a GPU-hour (slot-hour without GPUs)")
    add("--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1); others ask for a token")
    names = add("--allow-host", action="append", default=[], metavar="NAME")
    names.help = "a name under which others reach the page (repeat for several); asks for a token"
    add("--port", type=int, default=8050, help="port to serve on (default 8050)")
    permission = add("--allow-actions", action="store_true")
    permission.help = "whoever has the printed token may retry runs, stop the sweep and write notes on the page"


def run(args: argparse.Namespace) -> int:
    need_extra()
    from metta_sweep.registry.reader import open_reader

    location = located(args, os.environ, need_sweep=False)
    reader = open_reader(location.data_dir, location.sweep_server_uri)
    if args.entity or args.project:
        import_first(args, location, reader)
    serve_pages(args, location, reader)
    return 0


def need_extra() -> None:
    """Raises `ConfigError` when the packages of the extra `dashboard` are not there."""
    needed = ("dash", "dash_ag_grid", "dash_bootstrap_components", "flask_bootstrap", "plotly")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"{', '.join(missing)}: not installed; pip install 'metta_sweep[dashboard]'")


def located(args: argparse.Namespace, environ: Mapping[str, str], *, need_sweep: bool) -> Location:
    """Registry and sweep that the words and flags name.

    Raises:
        ConfigError: a word or flag that cannot be read.
    """
    from metta_sweep.cli.readers import locate

    if args.max_observations is not None and args.max_observations < 1:
        raise ConfigError(f"--max-observations: need at least 1, got {args.max_observations}")
    return locate(args, need_sweep=need_sweep, environ=environ)


def feed_options(args: argparse.Namespace, location: Location) -> FeedOptions:
    """Caps from the configuration's `budget`, price from the flag before it."""
    from metta_sweep.cli.readers import address
    from metta_sweep.dashboard.snapshot import FeedOptions

    price = args.hourly_cost if args.hourly_cost is not None else location.budget.hourly_cost
    return FeedOptions(replace(location.budget, hourly_cost=price), args.max_observations, address(args, location))


def import_first(args: argparse.Namespace, location: Location, reader: Reader) -> None:
    """Bring a sweep that the registry does not know from WandB into it; one that it knows stays as it is."""
    from metta_sweep.registry.open import open_registry
    from metta_sweep.tracking.wandb_import import import_wandb

    if not location.sweep_name:
        raise ConfigError("--entity, --project: name the sweep to import with --sweep-name")
    if location.sweep_name in [sweep.name for sweep in reader.list_sweeps()]:
        return
    project, limit = args.project or location.wandb.project, args.max_observations or location.max_observations_to_load
    with closing(open_registry(location.data_dir, location.sweep_server_uri)) as registry:
        report = import_wandb(args.entity, project, location.sweep_name, registry, limit)
    print(f"{location.sweep_name}: {len(report.imported)} runs imported from WandB, {len(report.skipped)} skipped")


def serve_pages(args: argparse.Namespace, location: Location, reader: Reader) -> None:
    """Read the sweep once, then serve until Ctrl-C.

    Raises:
        ConfigError: the address cannot be served on.
    """
    from metta_sweep.dashboard.app import create_app, serve
    from metta_sweep.dashboard.background_fits import BackgroundFits
    from metta_sweep.dashboard.door import Door
    from metta_sweep.dashboard.queries import Queries
    from metta_sweep.dashboard.source import Source
    from metta_sweep.dashboard.sweep_summaries import SweepSummaries

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    options = feed_options(args, location)
    source, fits = Source(reader, options), BackgroundFits()
    try:
        if location.sweep_name:
            source.snapshot(location.sweep_name)
        queries = Queries(
            source, fits, SweepSummaries(reader), location.data_dir, location.sweep_name, address=options.address
        )
        door = Door(args.host, access_token(args, os.environ), args.allow_host)
        app = create_app(queries, door=door, actions=actions(location) if args.allow_actions else None)
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"dashboard: http://{host}:{args.port}/  (Ctrl-C ends it; the sweep goes on)", flush=True)
        serve(app, args.host, args.port)
    except OSError as error:
        problem = f"{error.strerror or error}; choose another --port"
        raise ConfigError(f"--host {args.host} --port {args.port}: {problem}") from error
    except KeyboardInterrupt:
        return
    finally:
        fits.close()
        source.close()


def access_token(args: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """What a browser must show: the environment's, else a new one that is printed here; "" where nobody else comes.

    Raises:
        ConfigError: the environment's is too short.
    """
    from metta_sweep.registry.serve import is_loopback

    if own := environ.get(TOKEN):
        if len(own) < MIN_TOKEN_LENGTH:
            raise ConfigError(f"{TOKEN}: need at least {MIN_TOKEN_LENGTH} characters, got {len(own)}")
        return own
    if is_loopback(args.host) and not args.allow_host:
        return ""
    token = secrets.token_urlsafe(24)
    print(f"token: {token}  (each browser needs it once; {TOKEN} sets one of your own)")
    return token


def actions(location: Location) -> Actions:
    """Retry and stop, for who has the token that is printed here."""
    from metta_sweep.dashboard.actions import Actions
    from metta_sweep.registry.open import open_registry

    token = secrets.token_urlsafe(16)
    print(f"token for actions: {token}")
    return Actions(lambda: open_registry(location.data_dir, location.sweep_server_uri), token)
