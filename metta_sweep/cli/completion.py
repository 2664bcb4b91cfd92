"""`completion`: print what makes a shell complete `metta-sweep`."""

from __future__ import annotations

import argparse

INSTALL = {
    "bash": '~/.bashrc: eval "$(metta-sweep completion bash)"',
    "zsh": '~/.zshrc, after compinit: eval "$(metta-sweep completion zsh)"',
    "fish": "~/.config/fish/config.fish: metta-sweep completion fish | source",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "put one line into\n" + "\n".join(f"  {line}" for line in INSTALL.values())
    parser.add_argument("shell", choices=sorted(INSTALL))


def run(args: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["metta-sweep"], shell=args.shell))
    return 0
