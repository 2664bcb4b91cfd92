"""`token`: create, list and revoke the tokens of a registry service."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from metta_sweep.cli.readers import print_json
from metta_sweep.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("create", "list", "revoke"))
    parser.add_argument("name", nargs="?", default="", help="create: what the token is for; revoke: its id")
    parser.add_argument("--role", choices=("reader", "writer"), default="writer")
    parser.add_argument("--database-url", required=True, metavar="URL", help="database of the service")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.registry.tokens import create_token, list_tokens, revoke_token

    if args.action == "list":
        print_json([asdict(token) for token in list_tokens(args.database_url)])
    elif not args.name:
        raise ConfigError(f"token {args.action}: need {'a name' if args.action == 'create' else 'the id of a token'}")
    elif args.action == "create":
        print(create_token(args.database_url, args.name, args.role))
    else:
        print(f"revoked {revoke_token(args.database_url, args.name).name}")
    return 0
