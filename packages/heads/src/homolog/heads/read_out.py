"""Where descriptors lie on a feature map, below the size of its cells."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import pixel_grid
from homolog.core.errors import ConfigError, ShapeError
from homolog.heads.mutual import CHUNK


class Located(NamedTuple):
    """Places of N descriptors on a map of h x w cells.

    Attributes:
        xy: [N 2] position in cells: (x, y), integer = centre of a cell.
        similarity: [N] the highest cosine on the map.
        concentration: [N] in (0, 1], the share of the softmax over the whole map that falls into the
            window around that peak: 1 when nothing else resembles the descriptor.
    """

    xy: Float[Tensor, "N 2"]
    similarity: Float[Tensor, " N"]
    concentration: Float[Tensor, " N"]


def locate(
    query: Float[Tensor, "N D"],
    map_: Float[Tensor, "D h w"],
    *,
    window: int,
    temperature: float,
    chunk: int = CHUNK,
) -> Located:
    """Find each descriptor on a map: the most similar cell, refined by its surroundings.

    The refinement is a soft-argmax of the similarities in a window around the best cell, as GeoAware-SC
    (Zhang et al., CVPR 2024, section 4.3) proposes. Cells beyond the map's border take no part; its
    code gives them similarity zero, which outweighs every negative cosine and draws points outwards.

    Only the N rows asked for are compared, a chunk of them at a time. Gradients flow to both inputs.

    Args:
        query: unit descriptors.
        map_: unit descriptors per cell.
        window: side of the window in cells, odd; 1 returns centres of cells.
        temperature: divides the cosines before the softmax; small trusts the peak.
        chunk: how many similarities to hold at a time, at least one row of them.

    Raises:
        ShapeError: descriptors of different lengths.
        ConfigError: an even window, a temperature that is not above 0, or a chunk below 1.
    """
    if query.shape[1] != map_.shape[0]:
        raise ShapeError(
            f"expected descriptors of one length, got {list(query.shape)} for a map {list(map_.shape)}; "
            "take both from the same map"
        )
    if window < 1 or window % 2 == 0 or temperature <= 0 or chunk < 1:
        raise ConfigError(
            f"expected an odd window, a temperature above 0 and a chunk of at least 1, got {window}, "
            f"{temperature} and {chunk}"
        )
    rows = max(1, chunk // max(1, map_.shape[1] * map_.shape[2]))
    parts = [_locate(part @ map_.flatten(1), map_, window, temperature) for part in query.split(rows)]
    return Located(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _locate(similarity: Tensor, map_: Tensor, window: int, temperature: float) -> Located:
    height, width = map_.shape[1:]
    best = similarity.argmax(dim=1)
    peak = torch.stack((best % width, best // width), dim=-1)
    offset = pixel_grid((window, window), device=map_.device).long() - window // 2
    cells = peak[:, None] + offset  # [N window*window 2]
    x, y = cells.unbind(dim=-1)
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    near = similarity.gather(1, index).masked_fill(outside, -torch.inf) / temperature
    share = near.softmax(dim=1)
    xy = (share[..., None] * cells).sum(dim=1)
    whole = (similarity / temperature).logsumexp(dim=1)
    return Located(
        xy, similarity.gather(1, best[:, None])[:, 0], (near.logsumexp(dim=1) - whole).exp().clamp_max(1)
    )
