"""Per-episode results in one SQLite file, `eval/stats.db`.

Tables: `episodes` (run, suite, simulation, episode, task, num_steps, score, shaped_return), one row per episode;
`episode_stats` (run, suite, simulation, episode, name, value), one row per counter, means over agents.
`episode` is the index of the held-out episode: equal indices are equal maps, in every run with the same `sim.seed`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from trainables.simulation.aggregate import PlayedEpisode

# Of `eval/stats.db`; readers outside know it.
_SCHEMA = """
create table if not exists episodes (
    run text not null, suite text not null, simulation text not null, episode integer not null,
    task text not null, num_steps integer not null, score real not null, shaped_return real not null,
    primary key (run, suite, simulation, episode)
);
create table if not exists episode_stats (
    run text not null, suite text not null, simulation text not null, episode integer not null,
    name text not null, value real not null,
    primary key (run, suite, simulation, episode, name)
) without rowid;
"""


def write(path: Path, run: str, suite: str, episodes: Sequence[PlayedEpisode]) -> None:
    """Adds the episodes in one transaction; those of an earlier evaluation of the same run and suite are replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_SCHEMA)
        with database:
            for table in ("episodes", "episode_stats"):
                database.execute(f"delete from {table} where run = ? and suite = ?", (run, suite))
            database.executemany(
                "insert into episodes values (?, ?, ?, ?, ?, ?, ?, ?)",
                [(run, suite, e.simulation, e.index, e.task, e.num_steps, e.score, e.shaped_return) for e in episodes],
            )
            database.executemany(
                "insert into episode_stats values (?, ?, ?, ?, ?, ?)",
                [(run, suite, e.simulation, e.index, name, value) for e in episodes for name, value in e.stats.items()],
            )
