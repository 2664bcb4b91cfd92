"""Modules of the user's own, imported before a configuration is read: they register environments and distributions."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from trainables.errors import Problem


def import_plugins(names: Sequence[str]) -> list[str]:
    """Import each module, once a process.

    Args:
        names: dotted names that the user wrote, on a command line or in a file of this machine.

    Returns:
        What is wrong with each that cannot be imported.
    """
    return [problem for name in names if (problem := _import(name))]


def plugin_problems(names: object) -> list[Problem]:
    """Import what `plugins` of a configuration names; what is no list of texts is refused with the other sections."""
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []
    return [Problem("plugins", text) for text in import_plugins(texts)]


def _import(name: str) -> str:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return f"cannot import {name!r} ({error}); is its directory on PYTHONPATH?"
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever the user's own code raises at its import
        return f"{name!r} fails when it is imported ({type(error).__name__}: {error})"
    return ""
