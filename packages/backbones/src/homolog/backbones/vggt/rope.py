"""Rotary position embedding in two dimensions.

Su et al., "RoFormer" (2021), section 3.4.2, applied per axis: the first half of a head's channels
turns with the patch row, the second half with its column. Channel k of a half turns together with
channel k + half/2 ("split halves", not neighbours).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Rotation(NamedTuple):
    """Cosines and sines for a sequence of tokens, always float32.

    In bfloat16 an angle of 37 is off by 0.1 rad, so tables never take the dtype of the features.
    They are made anew for every call: a table kept from inference mode could not be used in training.

    Attributes:
        cos: [N 2 K] for N tokens, the axes (y, x), and K channel pairs per axis.
        sin: [N 2 K].
    """

    cos: Float[Tensor, "N 2 K"]
    sin: Float[Tensor, "N 2 K"]

    def first(self, tokens: int) -> "Rotation":
        """Return the rotation of the first tokens only, without a copy."""
        return Rotation(self.cos[:tokens], self.sin[:tokens])

    def apply(self, x: Float[Tensor, "B H N D"]) -> Float[Tensor, "B H N D"]:
        """Turn the channels of queries or keys (D = 4 K) of H heads by the position of their token."""
        a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        turned = torch.stack((a * self.cos - b * self.sin, b * self.cos + a * self.sin), dim=-2)
        return turned.flatten(-3)


def patch_rotation(
    *,
    rows: int,
    columns: int,
    specials: int,
    views: int,
    head_width: int,
    base: float | int,
    device: torch.device,
) -> Rotation:
    """Return the rotation of all tokens of all views of a scene.

    Patches have the positions (row + 1, column + 1); the special tokens before them stay at (0, 0),
    where nothing turns. A position does not say which view it is on: all views repeat the same.

    Args:
        rows: patch rows of a view.
        columns: patch columns of a view.
        specials: tokens before the patches of each view.
        views: how many views follow each other.
        head_width: channels of one attention head, a multiple of 4.
        base: of the wavelengths; VGGT uses 100.
        device: where the tables are needed.

    Returns:
        Tables for `views * (specials + rows * columns)` tokens; those of the first view come first.
    """
    y = torch.arange(1, rows + 1, dtype=torch.float32, device=device)[:, None].expand(rows, columns)
    x = torch.arange(1, columns + 1, dtype=torch.float32, device=device).expand(rows, columns)
    patches = torch.stack((y, x), dim=-1).flatten(0, 1)
    positions = torch.cat((patches.new_zeros(specials, 2), patches)).repeat(views, 1)
    half = head_width // 2
    frequency = 1.0 / base ** (torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)
    # A product by broadcasting: a matmul would be rounded under autocast.
    angle = positions[:, :, None] * frequency
    return Rotation(angle.cos(), angle.sin())
