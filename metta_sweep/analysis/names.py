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


def mark(run_id: str) -> str:
    """`#12` of `my_sweep.r.12`: which run of a sweep that is known."""
    return f"#{run_id.rpartition('.')[2]}"


def cut_id(run_id: str, room: int) -> str:
    """A run's id; its number is never cut."""
    name, mark, number = run_id.rpartition(".r.")
    return cut(name, room - len(mark + number)) + mark + number if mark else cut(run_id, room)
