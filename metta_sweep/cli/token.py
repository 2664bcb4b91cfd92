"""`token`: create, list and revoke the tokens of a registry service."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from metta_sweep.cli.database import add_database_arguments, database_url
from metta_sweep.cli.readers import print_json
from metta_sweep.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("create", "list", "revoke"), help="what to do")
    parser.add_argument("name", nargs="?", default="", help="create: what the token is for; revoke: its id")
    role = parser.add_argument("--role", choices=("reader", "writer", "admin"), default="writer")
    role.help = "what the token may do (default writer); an admin may also delete sweeps"
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from metta_sweep.registry.tokens import create_token, list_tokens, revoke_token

    url = database_url(args, os.environ)
    if args.action == "list":
        print_json([asdict(token) for token in list_tokens(url)])
    elif not args.name:
        raise ConfigError(f"token {args.action}: need {'a name' if args.action == 'create' else 'the id of a token'}")
    elif args.action == "create":
        print(create_token(url, args.name, args.role))
    else:
        print(f"revoked {revoke_token(url, args.name).name}")
    return 0
