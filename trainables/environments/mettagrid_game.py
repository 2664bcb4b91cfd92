"""From the numbers of a task to the configuration of the MettaGrid simulator: objects, what bumping into them does,
rewards.
"""

from __future__ import annotations

from typing import Any

from mettagrid.config.action_config import ActionsConfig, ChangeVibeActionConfig, MoveActionConfig, NoopActionConfig
from mettagrid.config.filter import actorHas, targetHas
from mettagrid.config.game_value import StatValue
from mettagrid.config.handler_config import FirstMatch, Handler
from mettagrid.config.mettagrid_config import (
    AgentConfig,
    GameConfig,
    GridObjectConfig,
    InventoryConfig,
    ResourceLimitsConfig,
    WallConfig,
)
from mettagrid.config.mutation import logActorAgentStat, updateActor, updateTarget, withdraw
from mettagrid.config.obs_config import GlobalObsConfig, ObsConfig
from mettagrid.config.reward_config import AgentReward, inventoryReward, reward
from mettagrid.map_builder.random_map import RandomMapBuilder

from trainables.environments.mettagrid_tasks import COMBAT_RESOURCES, RESOURCES, Task, has_combat, object_counts


def game_config(task: Task, combat_vocabulary: bool = False) -> GameConfig:
    """The simulator's configuration of a task.

    Args:
        task: the numbers.
        combat_vocabulary: declare the resources and objects of combat although the task has none, so that one policy
            reads both.
    """
    combat = combat_vocabulary or has_combat(task)
    return GameConfig(
        num_agents=task.num_agents,
        max_steps=task.max_steps,
        episode_truncates=True,
        resource_names=[*RESOURCES, *(COMBAT_RESOURCES if combat else ())],
        protocol_details_obs=False,
        objects=_objects(task, combat),
        actions=ActionsConfig(
            noop=NoopActionConfig(),
            move=MoveActionConfig(),
            change_vibe=ChangeVibeActionConfig(enabled=False, vibes=[]),
        ),
        obs=ObsConfig(
            width=task.window,
            height=task.window,
            num_tokens=task.num_tokens,
            global_obs=GlobalObsConfig(episode_completion_pct=False),
        ),
        agent=AgentConfig(
            inventory=InventoryConfig(
                default_limit=task.inventory_limit,
                limits={"heart": ResourceLimitsConfig(base=255, resources=["heart"])},
            ),
            rewards=_rewards(task),
            on_use_handler=_bump() if task.combat else None,
        ),
        map_builder=RandomMapBuilder.Config(
            agents=task.num_agents,
            width=task.width,
            height=task.height,
            border_width=1,
            objects=object_counts(task),
            seed=0,
        ),
    )


def _rewards(task: Task) -> dict[str, AgentReward]:
    # Paid on gaining and kept: paying for what is held would be taken back when it is spent, and learns more slowly.
    return {
        "heart": inventoryReward("heart", weight=task.heart_reward),
        "ore": reward(StatValue(name="ore.gained"), weight=task.ore_reward),
        "battery": reward(StatValue(name="battery.gained"), weight=task.battery_reward),
    }


def _objects(task: Task, combat: bool) -> dict[str, Any]:
    objects = {
        "wall": WallConfig(),
        "mine": _converter("mine", needs={}, gives={"ore": 1}),
        "generator": _converter("generator", needs={"ore": task.ore_per_battery}, gives={"battery": 1}),
        "altar": _free_altar()
        if task.free_hearts
        else _converter("altar", needs={"battery": task.batteries_per_heart}, gives={"heart": 1}),
    }
    if combat:
        objects["armory"] = _converter("armory", needs={"ore": 1}, gives={"armor": 1})
        objects["lasery"] = _converter("lasery", needs={"ore": 1}, gives={"laser": 1})
    return objects


def _converter(name: str, needs: dict[str, int], gives: dict[str, int]) -> GridObjectConfig:
    """An object that turns one inventory into another when an agent bumps into it."""
    deltas = {**{resource: -amount for resource, amount in needs.items()}, **gives}
    handler = Handler(
        filters=[actorHas(needs)] if needs else [],
        mutations=[updateActor(deltas), logActorAgentStat(f"action.use.{name}")],
    )
    return GridObjectConfig(name=name, on_use_handler=handler)


def _free_altar() -> GridObjectConfig:
    handler = Handler(
        filters=[targetHas({"heart": 1})],
        mutations=[logActorAgentStat("action.use.altar"), withdraw({"heart": 1}, remove_when_empty=True)],
    )
    return GridObjectConfig(name="altar", inventory=InventoryConfig(initial={"heart": 1}), on_use_handler=handler)


def _bump() -> FirstMatch:
    """A laser takes a heart from the agent it hits; armor is used up instead. (The library's own attack does nothing
    without vibes.)
    """
    blocked = Handler(
        name="blocked",
        filters=[actorHas({"laser": 1}), targetHas({"armor": 1})],
        mutations=[updateActor({"laser": -1}), updateTarget({"armor": -1}), logActorAgentStat("attack.blocked")],
    )
    hit = Handler(
        name="hit",
        filters=[actorHas({"laser": 1}), targetHas({"heart": 1})],
        mutations=[updateActor({"laser": -1}), withdraw({"heart": 1}), logActorAgentStat("attack.hit")],
    )
    return FirstMatch(handlers=[blocked, hit])
