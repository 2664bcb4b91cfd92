"""Errors that people see, each with the exit code of the command it ends.

SweepError (Exception)
├── ConfigError (ValueError)       exit 2: every problem at once, one per line
├── RegistryError                  exit 5: the registry cannot be used
│   ├── RegistryUnavailable        exit 5: unreachable, locked or without disk space; the same call may succeed later
│   ├── AccessDenied               exit 5: no token, a wrong one, or a reader's where a writer's is needed
│   ├── OldService                 exit 5: the service is of a version before and lacks a route
│   ├── InvalidRequest (ValueError) exit 2: a value that the registry does not take
│   ├── UnreadableSweep            exit 2: what the registry holds of this sweep makes no sense
│   ├── UnknownSweep (KeyError)    exit 2
│   ├── UnknownRun (KeyError)      exit 2
│   ├── SpecChanged                exit 2
│   ├── NumberTaken                another driver reserved this number first
│   ├── Fenced                     another owner holds the run now
│   └── IllegalTransition          the run is not in a state that allows this
├── DiskError (OSError)            exit 1: a file cannot be read or written
├── ClusterError                   exit 5: no Ray cluster, or one that cannot run this sweep
├── WandbUnreachable               exit 5: WandB's server does not answer
└── SweepAborted                   exit 1: the sweep stopped itself (broken code, too many failures)
"""

from __future__ import annotations

import errno
import os

from trainables.errors import Problem

# What to do about an error of the operating system, whatever the file.
ADVICE = {
    errno.ENOSPC: "free some space and give the same command again",
    errno.EDQUOT: "free some space and give the same command again",
    errno.EROFS: "choose a place that may be written",
    errno.EACCES: "choose another place, or ask its owner",
    errno.EPERM: "choose another place, or ask its owner",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "a file is in the way of a directory; move it, or choose another place",
    errno.EEXIST: "it is in the way of what has to be written; move it, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise `ulimit -n`",
    errno.EIO: "is the disk failing?",
}


def advice(error: OSError) -> str:
    """`No space left on device; free some space and give the same command again`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}; {ADVICE[error.errno]}" if error.errno in ADVICE else reason


def first_line(error: BaseException) -> str:
    """Of an error's text, or its kind when it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class SweepError(Exception):
    """Root of all errors that a command reports without a traceback."""

    exit_code = 1


class ConfigError(SweepError, ValueError):
    """The configuration is wrong.

    Attributes:
        problems: one line each: file and line when known, dotted key, value, and the fix.
    """

    exit_code = 2

    def __init__(self, *problems: str | Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(map(str, problems))


class RegistryError(SweepError):
    """The registry cannot be used."""

    exit_code = 5


class RegistryUnavailable(RegistryError):
    """Unreachable, locked or without disk space: nothing is known about the change; the same call may succeed later."""


class AccessDenied(RegistryError):
    """No token, a wrong one, or a reader's where a writer's is needed."""


class OldService(RegistryError):
    """The service is of a version before this one and lacks what it was asked for; the same call succeeds when it is
    upgraded.
    """


class InvalidRequest(RegistryError, ValueError):
    """A value that the registry does not take; repeating the call cannot help."""

    exit_code = 2


class UnreadableSweep(RegistryError):
    """What the registry holds of this sweep makes no sense, for a reason of one line; others are not concerned."""

    exit_code = 2

    def __init__(self, sweep: str, reason: str, removal: str = "") -> None:
        removal = removal or f"delete sweep_name={sweep}"
        super().__init__(f"sweep {sweep}: cannot be read: {reason}; `{removal}` removes it")
        self.sweep = sweep
        self.reason = reason


class UnknownSweep(RegistryError, KeyError):
    """No sweep of this name."""

    exit_code = 2
    __str__ = Exception.__str__  # KeyError would show the repr of the message


class UnknownRun(RegistryError, KeyError):
    """No run of this id."""

    exit_code = 2
    __str__ = Exception.__str__


class SpecChanged(RegistryError):
    """The sweep exists with another specification.

    Attributes:
        diff: unified diff, registered against new.
    """

    exit_code = 2

    def __init__(self, message: str, diff: str) -> None:
        super().__init__(message)
        self.diff = diff


class NumberTaken(RegistryError):
    """Another driver reserved this number first; compute the suggestion again for the next one."""


class Fenced(RegistryError):
    """Another owner holds the run now; drop it."""


class IllegalTransition(RegistryError):
    """The run is not in a state that allows this change."""


class DiskError(SweepError, OSError):
    """A file cannot be read or written."""

    @classmethod
    def of(cls, error: OSError) -> DiskError:
        """With the file and what to do."""
        return cls(f"{error.filename}: {advice(error)}" if error.filename else str(error))


class ClusterError(SweepError):
    """No Ray cluster, or one that cannot run this sweep."""

    exit_code = 5


class WandbUnreachable(SweepError):
    """WandB's server does not answer; the same call may succeed later."""

    exit_code = 5


class SweepAborted(SweepError):
    """The sweep stopped itself: the training code is broken, or too many runs failed in a row."""
