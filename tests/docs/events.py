"""The page of events: what `events.jsonl` and the registry hold, and what the driver's parts tell each other."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass

from metta_sweep.driver import messages
from metta_sweep.registry.records import EventRecord

# Kind by kind; tests/docs/test_reference.py holds it against the code.
MEANINGS = {
    "created": "the sweep was registered",
    "spec_updated": "`run --update` changed its specification; `diff` has the lines",
    "sweep_active": "a driver works on it",
    "sweep_draining": "`stop`: no new runs, running ones finish",
    "sweep_stopped": "`stop --now`: running runs write a checkpoint and end",
    "reserved": "a run got its number and its point",
    "replaced": "a run that had not started got a newer point",
    "started": "an attempt of a run began",
    "interrupted": "an attempt ended early; the run goes on later",
    "released": "a driver gave up a run that it had not started",
    "claimed": "a driver took over a run that nobody alive held",
    "late_result": "a result came after its run had passed to another driver; it does not count",
    "remarked": "somebody wrote a note or tags on the sweep or one of its runs",
    "retry": "`retry`: a failed run runs again",
    "completed": "a run ended with a score",
    "stopped_early": "a run was stopped on the optimiser's advice, with a score",
    "failed": "a run failed",
    "driver_started": "a driver began; its slots and stop rules",
    "driver_ended": "a driver ended; why, and whether the sweep has what it was to do",
    "moved_aside": "files of an earlier sweep or run of this name were moved into `earlier-N`",
    "waiting_for_resources": "a run waits for a place; what is missing",
    "slots_changed": "the number of slots changed",
    "node_cordoned": "a node lost several runs soon after their start; it gets no more",
}


def events() -> str:
    """The page."""
    rows = [f"| `{kind}` | {meaning} |" for kind, meaning in MEANINGS.items()]
    columns = ", ".join(f"`{item.name}`" for item in fields(EventRecord))
    parts = [
        "# Events",
        f"Each line of `{{data_dir}}/sweep/{{sweep}}/events.jsonl` is one event of the registry as JSON: {columns}.",
        "| kind | meaning |\n| --- | --- |\n" + "\n".join(rows),
        "## Inside the driver",
        "What the driver's threads tell its state machine, and what that asks for. "
        "[How they work together](../explanation/architecture.md).",
        *(described(kind) for kind in messages_of(messages.Event, messages.MachineCommand)),
    ]
    return "\n\n".join(parts) + "\n"


def messages_of(*bases: type) -> list[type]:
    """The dataclasses of messages.py that are events or commands, in the order of the file."""
    return [
        kind
        for kind in vars(messages).values()
        if inspect.isclass(kind) and issubclass(kind, bases) and is_dataclass(kind)
    ]


def described(kind: type) -> str:
    """One message: what it is for, its fields."""
    role = (
        "event and command"
        if issubclass(kind, messages.Event) and issubclass(kind, messages.MachineCommand)
        else ("event" if issubclass(kind, messages.Event) else "command")
    )
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")[0]
    names = ", ".join(f"`{item.name}`" for item in fields(kind)) if is_dataclass(kind) else ""
    return (
        f"### {kind.__name__}\n\nAn {role}. ".replace("An command", "A command")
        + " ".join(text.split())
        + (f" Fields: {names}." if names else "")
    )
