"""The attention layer that heads on feature maps share, and the places of their tokens."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size


class Attention(nn.Module):
    """What an attention layer with its feed-forward network adds to its queries; normalised before each."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the layer.

        Args:
            width: of the tokens; `heads` has to divide it.
            heads: how many read at once.
        """
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_context, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, query: Float[Tensor, "B N D"], context: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B N D"]:
        """Return what the queries read in the context; the same tokens twice for self-attention."""
        key, value = self.key_value(self.norm_context(context)).chunk(2, dim=-1)
        q, k, v = (self._split(part) for part in (self.query(self.norm_query(query)), key, value))
        read = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return read + self.feed_forward(self.norm_out(query + read))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def sine_cosine(cells: Size, width: int) -> Float[Tensor, "N D"]:
    """Return the place of each cell, row by row: half of the channels for its row, half for its column.

    Added to tokens once, before the first layer: attention alone knows no places.

    Args:
        cells: (height, width) of the grid.
        width: of the tokens, a multiple of 4.
    """
    octaves = torch.arange(width // 4, dtype=torch.float32) / (width // 4)
    frequency = 10000.0**-octaves
    sides = [torch.arange(side, dtype=torch.float32)[:, None] * frequency for side in cells]
    row, column = (torch.cat((angle.sin(), angle.cos()), dim=1) for angle in sides)
    rows = row[:, None].expand(-1, cells[1], -1)
    columns = column[None].expand(cells[0], -1, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1)
