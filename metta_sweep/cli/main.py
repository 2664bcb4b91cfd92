"""Find the command, run it, turn errors into one clear message and an exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from metta_sweep.cli.commands import COMMANDS, add_common_arguments, module_of
from metta_sweep.errors import DiskError, SweepError
from trainables.disk import PRIVATE

EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 failed, 2 usage or configuration, 3 a cap of money or time ended it, 4 finished with failed runs,
        5 registry, cluster or WandB unreachable, 130 interrupted.
    """
    if "_ARGCOMPLETE" in os.environ and argv is None:
        from metta_sweep.cli.complete import complete

        complete()
    arguments = list(sys.argv[1:] if argv is None else argv)
    before = os.umask(PRIVATE)  # a command that reads `share_files` may loosen it
    try:
        return dispatch(arguments)
    finally:
        os.umask(before)


def dispatch(arguments: list[str]) -> int:
    """Run the command that the words name; its errors become a message and an exit code."""
    parser = top_parser()
    if not arguments or arguments[0] in ("-h", "--help"):
        parser.print_help()
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        parser.error(unknown_command(name))
    module = importlib.import_module(module_of(name))
    command = argparse.ArgumentParser(
        prog=f"metta-sweep {name}", description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.", allow_abbrev=False
    )
    module.add_arguments(command)
    add_common_arguments(command, name)
    try:
        args = command.parse_intermixed_args(arguments[1:])
        if args.verbose:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        return int(module.run(args))
    except SweepError as error:
        return report(error)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a disk that is full, read-only or another's
        return report(DiskError.of(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def top_parser() -> argparse.ArgumentParser:
    """The parser that shows the list of commands; each command has its own."""
    lines = [f"  {name:<14}{help_text}" for name, help_text in COMMANDS.items()]
    return argparse.ArgumentParser(
        prog="metta-sweep",
        usage="metta-sweep COMMAND [key=value ...] [--flags]",
        description="Cost-aware hyperparameter sweeps for reinforcement learning: the best policy per dollar.",
        epilog="commands:\n" + "\n".join(lines) + "\n\n`metta-sweep COMMAND --help` explains its arguments.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def unknown_command(name: str) -> str:
    """The message for a command that does not exist, with the nearest that does."""
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; one of {', '.join(COMMANDS)}"
    return f"unknown command {name!r}{hint}"


def report(error: SweepError) -> int:
    """Print what is wrong, one line a problem; the traceback only when HYDRA_FULL_ERROR asks for it."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
    for line in str(error).splitlines():
        print(f"error: {line}" if not line.startswith(" ") else line, file=sys.stderr)
    return error.exit_code
