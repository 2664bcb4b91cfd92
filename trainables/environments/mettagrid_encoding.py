"""MettaGrid observation tokens as a dense grid of features, by table look-up; no parameters.

A token is three bytes: location (row in the high nibble, column in the low one; 254 for what concerns the whole agent,
255 for padding), feature id, value. Every cell gets one channel per object kind (1 where it stands) and one per
resource (log(1 + amount)); after the cells come one channel per last action and one for the last reward, and a spare
one that is always zero.
"""

from __future__ import annotations

import math

import torch
from mettagrid.config.mettagrid_config import GameConfig

from trainables.environments.interface import GridShape

_GLOBAL = 254  # location of what belongs to no cell, by mettagrid's layout
_PADDING = 255  # fills what is left of an observation, by mettagrid's layout


class TokenEncoder:
    """Encodes (rows, tokens, 3) uint8 into (rows, features) float32.

    Unknown tokens (group, agent id, vibes) land in the spare last feature, which is then cleared: a branch-free scatter
    is about 40 times faster on a CPU than embedding every token.
    """

    dtype = torch.float32

    def __init__(self, game: GameConfig) -> None:
        features = {feature.name: feature.id for feature in game.id_map().features()}
        num_tags = len(game.id_map().tag_names())
        num_actions = len(game.actions.actions())
        side_y, side_x = game.obs.height, game.obs.width
        channels = num_tags + len(game.resource_names)
        cells = side_x * side_y
        self.grid: GridShape | None = GridShape(channels=channels, height=side_y, width=side_x)
        spare = cells * channels + num_actions + 1
        self.shape: tuple[int, ...] = (spare + 1,)
        offset = torch.full((256, 256), spare, dtype=torch.int64)
        amount = torch.zeros((256, 256), dtype=torch.float32)
        offset[features["tag"], :num_tags] = torch.arange(num_tags)
        amount[features["tag"], :num_tags] = 1.0
        for index, resource in enumerate(game.resource_names):
            row = features[f"inv:{resource}"]
            offset[row] = num_tags + index
            amount[row] = torch.log1p(torch.arange(256, dtype=torch.float32))
        # Relative to the first feature behind the cells, where `_GLOBAL` points.
        offset[features["last_action"], :num_actions] = torch.arange(num_actions)
        amount[features["last_action"], :num_actions] = 1.0
        offset[features["last_reward"]] = num_actions
        amount[features["last_reward"]] = torch.arange(256, dtype=torch.float32) / 100.0
        base = torch.full((256,), spare, dtype=torch.int64)
        for row in range(side_y):
            for column in range(side_x):
                base[row << 4 | column] = (row * side_x + column) * channels
        base[_GLOBAL] = cells * channels
        self._offset, self._amount, self._base = offset.reshape(-1), amount.reshape(-1), base

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        device = observations.device
        if self._base.device != device:
            self._offset, self._amount, self._base = (
                table.to(device) for table in (self._offset, self._amount, self._base)
            )
        location = observations[:, :, 0]
        if device.type == "cpu":  # on a GPU the answer would have to be waited for
            width = _used_columns(location)
            observations, location = observations[:, :width], location[:, :width]
        pair = observations[:, :, 1].int() * 256 + observations[:, :, 2].int()
        rows, tokens = pair.shape
        pair = pair.reshape(-1)
        spare = math.prod(self.shape) - 1
        index = self._offset.index_select(0, pair) + self._base.index_select(0, location.reshape(-1).int())
        features = torch.zeros((rows, spare + 1), dtype=torch.float32, device=device)
        features.scatter_(
            1, index.clamp_(max=spare).view(rows, tokens), self._amount.index_select(0, pair).view(rows, tokens)
        )
        features[:, spare] = 0.0
        return features


def _used_columns(location: torch.Tensor) -> int:
    """How many columns hold tokens, rounded up: padding is at the end of every row, so one column of nothing else ends
    the search.
    """
    tokens = location.shape[1]
    return next((width for width in range(16, tokens, 8) if bool((location[:, width] == _PADDING).all())), tokens)
