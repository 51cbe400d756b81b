"""A backbone whose maps go through a network that fuses them."""

from collections.abc import Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.protocols import Backbone, Fusion


class Fused(nn.Module):
    """Any backbone followed by any fusion, as one backbone."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        fusion: Fusion,
        keep: Sequence[str] | None = None,
        through: Sequence[str] = (),
    ) -> None:
        """Put both together.

        Args:
            backbone: gives the maps; frozen or not as it was built.
            fusion: reads the maps that it names.
            keep: which of the fused maps to return; None returns all.
            through: maps of the backbone to return as they are, such as a detector's score map.

        Raises:
            ConfigError: a map that neither makes, or one that both make.
        """
        super().__init__()
        for asked, made in ((keep or [], fusion.channels), (through, backbone.channels)):
            for name in asked:
                if name not in made:
                    raise ConfigError(f"Fused: there is no map {name}{did_you_mean(name, made)}")
        kept = list(fusion.channels) if keep is None else list(keep)
        for name in {*kept} & {*through}:
            raise ConfigError(
                f"Fused: expected different names, got {name} of the backbone and of the fusion"
            )
        self.backbone = cast(nn.Module, backbone)
        self.fusion = cast(nn.Module, fusion)
        self.multiple = backbone.multiple
        self.joint = backbone.joint
        self.channels = {name: fusion.channels[name] for name in kept}
        self.channels |= {name: backbone.channels[name] for name in through}

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Run the backbone, fuse its maps, and return those that were asked for."""
        features: Features = self.backbone(images)
        fused: Features = self.fusion(features)
        maps = {**features.maps, **fused.maps}
        return Features(maps={name: maps[name] for name in self.channels}, image_size=features.image_size)
