"""Maps side by side as one: what fusion by attention is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from homolog.core.errors import ConfigError
from homolog.core.features import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the maps that are joined.

    Attributes:
        map: its name.
        channels: how many it has.
        stride: only every so-manieth channel is kept.
        weight: its share in a cosine, against those of the others.
    """

    map: str
    channels: int
    stride: int = 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers that leave nothing of the map."""
        if self.channels < 1 or self.stride < 1 or self.weight <= 0:
            raise ConfigError(
                f"concatenation: expected channels and stride of at least 1 and a weight above 0 for {self.map}, "
                f"got {self.channels}, {self.stride} and {self.weight}"
            )


class Concatenation(nn.Module):
    """Concatenates maps, some of them thinned out by a stride over their channels.

    MATCHA's baseline DIFT.Uni is F_l || F_h[::2] (section 3, eq. 6 without fusion). With DINOv2 beside
    it the stride rule of eq. 6 has no solution (1024 / 1280 < 1) and the paper does not say what it
    does; here all of its channels stay.
    """

    def __init__(
        self,
        *,
        parts: Sequence[Mapping[str, Any] | Part],
        merging: Literal["unit_parts", "plain"] = "unit_parts",
        name: str = "unified",
    ) -> None:
        """Choose the maps.

        Args:
            parts: what is joined, in order; the first one's grid is that of the joined map, the others
                are resampled to it.
            merging: `unit_parts` brings each part to unit norm and gives it its weight; `plain` only
                concatenates.
            name: of the joined map.

        Raises:
            ConfigError: no parts, or numbers that leave nothing of one.
        """
        super().__init__()
        if not parts:
            raise ConfigError("concatenation: expected at least one map, got none")
        self.parts = [part if isinstance(part, Part) else Part(**part) for part in parts]
        self.merging, self.name = merging, name
        self.channels = {name: sum(-(-part.channels // part.stride) for part in self.parts)}

    def forward(self, features: Features) -> Features:
        """Return the joined map of each view."""
        first = features[self.parts[0].map]
        size, lead = first.shape[-2:], first.shape[:2]
        total = sum(part.weight for part in self.parts)
        joined: list[torch.Tensor] = []
        for part in self.parts:
            map_ = features[part.map].flatten(0, 1)[:, :: part.stride]
            if map_.shape[-2:] != size:
                map_ = F.interpolate(map_, size=size, mode="bilinear", align_corners=False)
            if self.merging == "unit_parts":
                map_ = F.normalize(map_, dim=1) * (part.weight / total) ** 0.5
            joined.append(map_)
        maps = {self.name: torch.cat(joined, dim=1).unflatten(0, lead)}
        return Features(maps=maps, image_size=features.image_size)
