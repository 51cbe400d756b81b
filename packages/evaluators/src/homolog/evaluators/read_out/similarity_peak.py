"""Places on similarity maps: the best cell, and what is expected under a softmax.

Convention: a place is (x, y) in cells, integer = centre of a cell.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import pixel_grid


def peak(similarity: Float[Tensor, "N h w"]) -> Float[Tensor, "N 2"]:
    """Return the most similar cell, the first one in reading order of equal ones."""
    best = similarity.flatten(1).argmax(dim=1)
    width = similarity.shape[2]
    return torch.stack((best % width, best // width), dim=1).to(similarity.dtype)


def soft_argmax(similarity: Float[Tensor, "N h w"], *, temperature: float) -> Float[Tensor, "N 2"]:
    """Return the mean place under the softmax of similarity / temperature over the whole map."""
    flat = similarity.flatten(1)
    # torch's float32 softmax and product over thousands of cells are off by 1e-5 each, that is hundredths
    # of a pixel at the far end; its sums are not.
    weight = ((flat - flat.amax(dim=1, keepdim=True)) / temperature).exp()
    cells = pixel_grid((similarity.shape[1], similarity.shape[2]), device=similarity.device)
    moment = (weight[..., None] * cells.to(weight.dtype)).sum(dim=1)
    return moment / weight.sum(dim=1, keepdim=True)


def zeroed_beyond(similarity: Float[Tensor, "N h w"], *, half: int) -> Float[Tensor, "N h w"]:
    """Set cells farther than `half` rows or columns from the peak to zero.

    To zero, not to minus infinity: under the softmax they weigh as much as a cosine of zero does, more
    than every negative one, which pulls weak matches to the middle of the map (GeoAware-SC, DistillDIFT).
    """
    offset = _from_peak(similarity).abs()
    return similarity * (offset <= half).all(dim=-1)


def gaussian_weighted(similarity: Float[Tensor, "N h w"], *, sigma: float) -> Float[Tensor, "N h w"]:
    """Weigh similarities by a Gaussian around the peak, `sigma` in cells (SFNet's kernel soft-argmax)."""
    squared = _from_peak(similarity).square().sum(dim=-1)
    return similarity * torch.exp(-squared / (2 * sigma**2))


def _from_peak(similarity: Tensor) -> Tensor:
    """Return [N h w 2], how far each cell is from the peak of its map."""
    size = (similarity.shape[1], similarity.shape[2])
    cells = pixel_grid(size, device=similarity.device).reshape(*size, 2).to(similarity.dtype)
    return cells - peak(similarity)[:, None, None]
