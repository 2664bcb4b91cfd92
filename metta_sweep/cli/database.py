"""Which database `serve` and `token` work on, shown so that no other user of the machine sees its password."""

from __future__ import annotations

import argparse
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from metta_sweep.errors import ConfigError

VARIABLE = "METTA_SWEEP_DATABASE_URL"
KINDS = "sqlite:////absolute/file.db or postgresql+psycopg://user@host/database"


def add_database_arguments(parser: argparse.ArgumentParser) -> None:
    """An address without a password, or a file that holds one with it; else the environment variable."""
    parser.add_argument("--database-url", metavar="URL", help=f"{KINDS}; with a password use {VARIABLE} or a file")
    parser.add_argument("--database-url-file", type=Path, metavar="FILE", help="a file with the URL on its only line")


def database_url(args: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """The address that the user gave.

    Raises:
        ConfigError: none, two, or a password on the command line, which `ps` shows to everybody.
    """
    if args.database_url and args.database_url_file:
        raise ConfigError("--database-url, --database-url-file: give one of them")
    if args.database_url_file:
        return read_url(args.database_url_file)
    if args.database_url:
        refuse_password(args.database_url)
        return str(args.database_url)
    if url := environ.get(VARIABLE):
        return url
    where = f"here, in {VARIABLE}, or in a file: --database-url-file FILE"
    raise ConfigError(f"--database-url: missing; need {KINDS}, {where}")


def read_url(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").split()
    if len(lines) != 1:
        raise ConfigError(f"--database-url-file {file}: need one line with {KINDS}, got {len(lines)} words")
    if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        print(f"note: {file}: others may read it; chmod 600 {file}", file=sys.stderr)
    return lines[0]


def refuse_password(url: str) -> None:
    from metta_sweep.registry.database import parse_url
    from metta_sweep.registry.trouble import secrets_of

    if secrets_of(parse_url(url)):
        where = f"{VARIABLE}, or into a file for you alone: --database-url-file FILE"
        danger = "holds a password, which `ps` shows to every user of this machine"
        raise ConfigError(f"--database-url: {danger}; change it, and put the URL into {where}")
