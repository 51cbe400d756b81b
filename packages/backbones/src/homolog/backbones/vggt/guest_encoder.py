"""Another backbone in the place of VGGT's patch encoder."""

import torch
from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from homolog.backbones.vggt.architecture import Architecture
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.protocols import Backbone


class GuestEncoder(nn.Module):
    """Makes patch tokens of a map of a backbone: normalised per cell, projected, and told where they are.

    VGGT starts from DINOv2, which already knows what images show. A small VGGT has no such encoder to start
    from, and takes what is at hand: what it adds is how views see each other.
    """

    def __init__(self, backbone: Backbone, architecture: Architecture, map: str | None = None) -> None:
        """Put a projection and positions behind a backbone.

        Args:
            backbone: sees each image alone; has one cell for each patch in the chosen map.
            architecture: of the VGGT it serves.
            map: of the backbone; None takes its only one.

        Raises:
            ConfigError: views that know of each other, no such map, or several of which none was chosen.
        """
        super().__init__()
        if backbone.joint:
            raise ConfigError("VGGT: expected an encoder that sees each image alone, got one that sees all")
        if map not in backbone.channels and (map is not None or len(backbone.channels) != 1):
            raise ConfigError(
                f"VGGT: expected one of the encoder's maps {', '.join(backbone.channels)}, got {map}; set encoder_map"
            )
        self.backbone = backbone
        self.map = next(iter(backbone.channels)) if map is None else map
        self.patch = architecture.patch
        side = architecture.encoder_image_size // architecture.patch
        self.norm = nn.LayerNorm(backbone.channels[self.map])
        self.project = nn.Linear(backbone.channels[self.map], architecture.width)
        self.position = nn.Parameter(torch.empty(1, side * side, architecture.width))
        nn.init.normal_(
            self.position, std=0.5
        )  # as large as what is projected: a place counts like a content

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P C"]:
        """Return the tokens of patches, row by row.

        Args:
            images: RGB in [0, 1], of a size that both the patch and the backbone's multiple divide.

        Raises:
            ShapeError: a map with other cells than patches.
        """
        found = self.backbone(images[:, None])[self.map][:, 0]
        cells, wanted = (
            tuple(found.shape[-2:]),
            (images.shape[-2] // self.patch, images.shape[-1] // self.patch),
        )
        if cells != wanted:
            raise ShapeError(
                f"VGGT: expected {wanted[0]} x {wanted[1]} cells from its encoder, one for each patch of "
                f"{self.patch} pixels, got {cells[0]} x {cells[1]}; choose another map or patch"
            )
        cells_first = self.norm(found.flatten(2).mT.float()).to(self.project.weight.dtype)
        tokens = self.project(cells_first).float()
        return tokens + resample_abs_pos_embed(self.position, list(cells), num_prefix_tokens=0)
