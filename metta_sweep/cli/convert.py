"""`convert`: a W&B sweep file as one of ours."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="wandb_sweep.yaml", help="a sweep file of W&B")


def run(args: argparse.Namespace) -> int:
    import yaml

    from metta_sweep.config.wandb_file import convert
    from metta_sweep.errors import ConfigError

    try:
        theirs = yaml.safe_load(args.file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{args.file}: no such file; give a sweep file of W&B") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{args.file}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    ours, notes = convert(theirs)
    print("".join(f"# {note}\n" for note in notes), end="")
    print(yaml.safe_dump(ours, sort_keys=False, allow_unicode=True), end="")
    return 0
