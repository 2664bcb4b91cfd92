"""MettaGrid tasks of our own, as plain numbers, all of which can be swept as `env.*`.

Imports no simulator, so that checking a configuration is fast.

The library's ready-made arenas hand out no reward, so each task is a small recipe world: mines give ore, generators
turn ore into battery, altars turn battery into hearts, and hearts are the score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from trainables.errors import Problem
from trainables.fields import Count, Flag, Number, Positive, Share, Whole, at_least, in_range

MAX_WALL_SHARE = 0.25  # of the inner cells at difficulty 1; more can cut the map into pieces


@dataclass(frozen=True, slots=True)
class Task:
    """One MettaGrid task; counts are per map.

    Attributes:
        num_agents: agents per environment.
        width: cells, border included.
        height: cells, border included.
        max_steps: length of an episode, in steps; a limit of time, so values are bootstrapped beyond it.
        window: side of the square that an agent sees, odd, at most 15; the area decides the speed.
        num_tokens: room for observation tokens; too little makes the simulator raise in the middle of an episode.
        mines: objects that give ore.
        generators: objects that turn ore into battery.
        altars: objects that give hearts.
        armories: objects that turn ore into armor.
        laseries: objects that turn ore into laser.
        walls: extra walls inside.
        difficulty: in [0, 1]: share of `MAX_WALL_SHARE` of the inner cells that become further walls.
        ore_per_battery: price of a battery.
        batteries_per_heart: price of a heart.
        free_hearts: True: an altar holds one heart, free for the first who comes, and vanishes with it.
        combat: True: bumping into an agent with a laser steals a heart, unless armor blocks it.
        ore_reward: shaping, paid per ore gained and kept.
        battery_reward: shaping, paid per battery gained and kept.
        heart_reward: paid per heart held.
        inventory_limit: most an agent carries of each resource but hearts.
    """

    num_agents: Positive = 4
    width: Annotated[Whole, at_least(4)] = 11
    height: Annotated[Whole, at_least(4)] = 11
    max_steps: Positive = 128
    window: Annotated[Whole, in_range("an odd number from 3 to 15", lambda side: side in range(3, 16, 2))] = 9
    num_tokens: Count = 96
    mines: Count = 3
    generators: Count = 3
    altars: Count = 3
    armories: Count = 0
    laseries: Count = 0
    walls: Count = 0
    difficulty: Share = 0.0
    ore_per_battery: Positive = 1
    batteries_per_heart: Positive = 1
    free_hearts: Flag = False
    combat: Flag = False
    ore_reward: Number = 0.1
    battery_reward: Number = 0.3
    heart_reward: Number = 1.0
    inventory_limit: Count = 10


# By the name that `env.task` takes
TASKS = {
    "arena/basic": Task(),
    "arena/advanced": Task(ore_per_battery=2, batteries_per_heart=2, ore_reward=0.05, battery_reward=0.2),
    "arena/combat": Task(
        num_agents=8, width=13, height=13, mines=4, generators=4, altars=4, armories=2, laseries=2, combat=True
    ),
    "navigation": Task(width=15, height=15, mines=0, generators=0, altars=60, walls=12, free_hearts=True),
}

RESOURCES = ("ore", "battery", "heart")  # of every task, in the order of its observations
COMBAT_RESOURCES = ("laser", "armor")  # what tasks with combat add
OBJECTS = ("mine", "generator", "altar")  # of every task
COMBAT_OBJECTS = ("armory", "lasery")  # what tasks with combat add


def task_problems(key: str, task: Task) -> list[Problem]:
    """Whether everything has room on the map; `key` is the path of the options in the configuration."""
    wanted, room = num_placed(task), (task.width - 2) * (task.height - 2)
    if wanted <= room:
        return []
    text = f"{wanted} objects and agents do not fit {room} inner cells; use a larger width or height, or fewer objects"
    return [Problem(key, text)]


def num_placed(task: Task) -> int:
    """Objects, extra walls and agents on one map."""
    return sum(object_counts(task).values()) + task.num_agents


def object_counts(task: Task) -> dict[str, int]:
    inner = (task.width - 2) * (task.height - 2)
    walls = task.walls + round(task.difficulty * MAX_WALL_SHARE * inner)
    counts = {
        "mine": task.mines,
        "generator": task.generators,
        "altar": task.altars,
        "armory": task.armories,
        "lasery": task.laseries,
        "wall": walls,
    }
    return {name: count for name, count in counts.items() if count}


def has_combat(task: Task) -> bool:
    """Whether the task needs the resources and objects of combat."""
    return task.combat or task.armories > 0 or task.laseries > 0


def random_map(task: Task, rng: np.random.Generator) -> list[list[str]]:
    """Names of the cells, row by row: a border of walls, everything else scattered evenly over the inside."""
    names = [name for name, count in object_counts(task).items() for _ in range(count)] + [
        "agent.agent"
    ] * task.num_agents
    cells = rng.permutation((task.width - 2) * (task.height - 2))[: len(names)]
    grid = (
        [["wall"] * task.width]
        + [["wall", *["empty"] * (task.width - 2), "wall"] for _ in range(task.height - 2)]
        + [["wall"] * task.width]
    )
    for name, cell in zip(names, cells, strict=True):
        row, column = divmod(int(cell), task.width - 2)
        grid[row + 1][column + 1] = name
    return grid


def with_observation_of(task: Task, other: Task) -> Task:
    """The task, seen through the window of another: a policy can only read what it was trained on."""
    return replace(task, window=other.window, num_tokens=other.num_tokens)
