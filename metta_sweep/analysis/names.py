"""Long names in little room: their middle is cut, for the beginning says whose they are and the end which one."""

from __future__ import annotations

MIN_ROOM = 3  # characters: one of each end, and the mark between


def cut(name: str, room: int) -> str:
    """A name in at most so many characters."""
    room = max(room, MIN_ROOM)
    if len(name) <= room:
        return name
    half = (room - 1) // 2
    return f"{name[: room - 1 - half]}…{name[len(name) - half :]}"


def cut_id(run_id: str, room: int) -> str:
    """A run's id; its number is never cut."""
    name, mark, number = run_id.rpartition(".r.")
    return cut(name, room - len(mark + number)) + mark + number if mark else cut(run_id, room)
