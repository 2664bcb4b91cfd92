"""Our commands as somebody would type them: every one that is printed is made here, so that it works as it stands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "python -m metta_sweep"
# What Hydra's grammar takes as a text without quotes
UNQUOTED = re.compile(r"(?!(?:true|false|null|nan|inf)$)[./]*[A-Za-z_][A-Za-z0-9_./:@+-]*( [A-Za-z0-9_./:@+-]+)*", re.I)
FOR_READERS = "settings."  # keys that `train` and `evaluate` do not have


@dataclass(frozen=True, slots=True)
class Address:
    """What a command needs so that it finds the same sweeps and files.

    Attributes:
        words: such as `data_dir=...`; none where a bare command finds them, too.
        config_dirs: of `--config-dir`.
    """

    words: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()

    def command(self, name: str, *words: str) -> str:
        """The command with these words, for a shell."""
        own = [word for word in self.words if name not in ("train", "evaluate") or not word.startswith(FOR_READERS)]
        flags = [part for directory in self.config_dirs for part in ("--config-dir", directory)]
        return f"{PROGRAM} {shlex.join([name, *words, *own, *flags])}"


NO_ADDRESS = Address()


def key_word(key: str, value: str) -> str:
    """`key=value` in Hydra's grammar."""
    if UNQUOTED.fullmatch(value):
        return f"{key}={value}"
    quoted = re.sub(r'(\\*)"', r'\1\1\\"', value)  # Hydra halves backslashes before a quote, and only there
    quoted = re.sub(r"(\\+)$", r"\1\1", quoted)
    return f'{key}="{quoted}"'


def shown_path(path: Path) -> str:
    """As short as it works in the current directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)
