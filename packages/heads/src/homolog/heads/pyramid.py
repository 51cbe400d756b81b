"""A feature pyramid: maps of several strides become a coarse one and a fine one."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.weights import load_state, restore

COARSE, FINE = "coarse", "fine"

Start = Literal["random", "features"]


class FeaturePyramid(nn.Module):
    """Passes what coarse maps know down to finer ones (FPN, Lin et al. 2017; LoFTR, Sun et al. 2021, section 3.1).

    Each map is projected, the map above is enlarged and added, and a convolution smooths the sum. Out
    come two levels: `coarse`, where cells are matched, and `fine`, where matches are refined.
    """

    def __init__(
        self,
        *,
        levels: Mapping[str, int],
        coarse: str,
        coarse_channels: int = 256,
        fine_channels: int = 128,
        start: Start = "random",
        checkpoint: Path | None = None,
    ) -> None:
        """Build the pyramid.

        Args:
            levels: channels of each map that is read, by its name, the coarsest first; the last one's
                grid is that of `fine`.
            coarse: the map whose grid is that of `coarse`.
            coarse_channels: of `coarse`, and of all levels down to it.
            fine_channels: of `fine`, and of the levels between.
            start: what an untrained pyramid makes of the map `coarse`: `random` features of it, or the map
                itself, each cell scaled to a root mean square of 1, to which the pyramid learns to add
                (`features`). That is ours: where the map describes cells well already, as XFeat's does, a
                short training begins with what it knows.
            checkpoint: a safetensors file; None starts from random weights.

        Raises:
            ConfigError: fewer than two levels, or a coarse one that is none of them, or the last; no such
                start, or one from a map of another number of channels than `coarse_channels`.
            WeightsError: a checkpoint that does not fit.
        """
        super().__init__()
        names = list(levels)
        if coarse not in names[:-1]:
            raise ConfigError(
                f"pyramid: expected coarse to be one of {', '.join(names[:-1]) or 'two levels or more'}, got {coarse}"
            )
        if start not in get_args(Start):
            raise ConfigError(f"pyramid: there is no start {start}{did_you_mean(start, get_args(Start))}")
        if start == "features" and levels[coarse] != coarse_channels:
            raise ConfigError(
                f"pyramid: expected coarse_channels to be the {levels[coarse]} of {coarse}, to start from it, got "
                f"{coarse_channels}; set start=random for others"
            )
        self.levels, self.coarse = names, coarse
        widths = [
            coarse_channels if index <= names.index(coarse) else fine_channels for index in range(len(names))
        ]
        self.lateral = nn.ModuleList(
            nn.Conv2d(count, width, 1) for count, width in zip(levels.values(), widths, strict=True)
        )
        self.descend = nn.ModuleList(
            nn.Conv2d(above, width, 1) if above != width else nn.Identity()
            for above, width in pairwise(widths)
        )
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths[1:])
        self.added = nn.Conv2d(coarse_channels, coarse_channels, 1) if start == "features" else None
        if self.added is not None:
            nn.init.zeros_(self.added.weight)
            nn.init.zeros_(self.added.get_parameter("bias"))
        self.channels = {COARSE: coarse_channels, FINE: fine_channels}
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=str(checkpoint))

    def forward(self, features: Features) -> Features:
        """Return `coarse` and `fine` of each view."""
        lead = features[self.levels[0]].shape[:2]
        flat = [features[name].flatten(0, 1) for name in self.levels]
        maps: list[Tensor] = [self.lateral[0](flat[0])]
        for index in range(1, len(flat)):
            above = self.descend[index - 1](maps[-1])
            above = F.interpolate(above, size=flat[index].shape[-2:], mode="bilinear", align_corners=False)
            mixed = F.relu(self.lateral[index](flat[index]) + above)
            maps.append(mixed + self.smooth[index - 1](mixed))
        coarse = maps[self.levels.index(self.coarse)]
        if self.added is not None:
            own = flat[self.levels.index(self.coarse)]
            coarse = F.normalize(own, dim=1) * own.shape[1] ** 0.5 + self.added(coarse)
        chosen = {COARSE: coarse, FINE: maps[-1]}
        return Features(
            maps={name: map_.unflatten(0, lead) for name, map_ in chosen.items()},
            image_size=features.image_size,
        )
