"""`serve`: the registry as a service for several drivers."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; one that others can reach needs a token first")
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--database-url", required=True, metavar="URL", help="sqlite:////absolute/file.db or postgresql+psycopg://user@host/database")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.registry.serve import serve

    serve(args.database_url, host=args.host, port=args.port, on_ready=lambda url: print(f"registry at {url}", flush=True))
    return 0
