"""What a submitted job runs on the head: `run`, on a network file system with the registry on a local disk."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from metta_sweep.cli.commands import add_config_arguments
from metta_sweep.cli.main import main as run_command
from metta_sweep.cli.main import report
from metta_sweep.config.registered import load_location
from metta_sweep.errors import DiskError, RegistryError, SweepError
from metta_sweep.launch.head import kept_registry, local_registry
from metta_sweep.registry.database import refuse_network_file_system


def main(words: Sequence[str]) -> int:
    """Run or continue the sweep; takes the words of `run`, and its exit code is that of `run`."""
    parser = argparse.ArgumentParser(prog="metta_sweep.cli.head", allow_abbrev=False)
    add_config_arguments(parser)
    args = parser.parse_intermixed_args(list(words))
    try:
        location = load_location(args.overrides, os.environ, args.config_dirs)
    except SweepError as error:
        return report(error)
    if location.sweep_server_uri is not None:
        return run_command(["run", *words])
    os.umask(location.umask)
    try:
        location.data_dir.mkdir(parents=True, exist_ok=True)
        try:
            refuse_network_file_system(location.data_dir)
        except RegistryError:
            with kept_registry(local_registry(location.data_dir), location.data_dir / "registry.db") as registry:
                return run_command(["run", *words, f"settings.sweep_server_uri=sqlite:///{registry}"])
    except OSError as error:
        return report(DiskError.of(error))
    except RegistryError as error:
        return report(error)
    return run_command(["run", *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
