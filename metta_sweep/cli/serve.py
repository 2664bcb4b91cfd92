"""`serve`: the registry as a service for several drivers."""

from __future__ import annotations

import argparse
import os

from metta_sweep.cli.database import add_database_arguments, database_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    host = parser.add_argument("--host", default="127.0.0.1")
    host.help = "address to listen on (default 127.0.0.1); one that others can reach needs a token first"
    parser.add_argument("--port", type=int, default=8800, help="port to listen on (default 8800)")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from metta_sweep.registry.serve import serve

    url = database_url(args, os.environ)
    serve(url, host=args.host, port=args.port, on_ready=lambda url: print(f"registry at {url}", flush=True))
    return 0
