"""Visual-AI's four read-outs: descriptors between cells, the best cell or an expected one.

After Visual-AI/Semantic-Correspondence:utils/matching.py.

Convention: maps and images share their corner pixels, so that coordinates scale by (n - 1) / (N - 1);
`to_cells` and `to_pixels` do that, and the read-outs take and return (x, y) in cells.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.sampling import sample_points
from homolog.evaluators.read_out.similarity_peak import gaussian_weighted, peak, soft_argmax

TEMPERATURE = 0.04
SIGMA = 7.0


def to_cells(xy: Float[Tensor, "N 2"], *, image: Size, cells: Size) -> Float[Tensor, "N 2"]:
    """Scale pixels of an image of size `image` to cells of its map.

    >>> to_cells(torch.tensor([[8.0, 4.0]]), image=(9, 9), cells=(3, 5)).tolist()
    [[4.0, 1.0]]
    """
    return _aligned(xy, image, cells)


def to_pixels(xy: Float[Tensor, "N 2"], *, cells: Size, image: Size) -> Float[Tensor, "N 2"]:
    """Scale cells of a map to pixels of its image of size `image`."""
    return _aligned(xy, cells, image)


def nearest_cell(
    map0: Float[Tensor, "D h w"], map1: Float[Tensor, "D H W"], cell0: Float[Tensor, "N 2"]
) -> Float[Tensor, "N 2"]:
    """Return the most similar cell of map 1 (`nn`); the source is read between its cells."""
    return peak(_similarity(map0, map1, cell0))


def corners_mean(
    map0: Float[Tensor, "D h w"], map1: Float[Tensor, "D H W"], cell0: Float[Tensor, "N 2"]
) -> Float[Tensor, "N 2"]:
    """Return the mean of the matches of the four cells around the source, weighted bilinearly (`bilinear`)."""
    last = cell0.new_tensor((map0.shape[2] - 1, map0.shape[1] - 1))
    at = torch.minimum(cell0.clamp_min(1e-5), last - 1e-5)
    low = at.floor()
    beyond = at - low
    found = torch.zeros_like(at)
    for right in (0, 1):
        for below in (0, 1):
            step = at.new_tensor((right, below))
            weight = (1 - step + (2 * step - 1) * beyond).prod(dim=1, keepdim=True)
            found = found + weight * nearest_cell(map0, map1, low + step)
    return found


def soft_cell(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    cell0: Float[Tensor, "N 2"],
    *,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, "N 2"]:
    """Return the expected cell of map 1 (`softmax`)."""
    return soft_argmax(_similarity(map0, map1, cell0), temperature=temperature)


def kernel_soft_cell(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    cell0: Float[Tensor, "N 2"],
    *,
    temperature: float = TEMPERATURE,
    sigma: float = SIGMA,
) -> Float[Tensor, "N 2"]:
    """Return the expected cell of map 1, similarities weighted by a Gaussian around the best (`kernelsoftmax`)."""
    weighted = gaussian_weighted(_similarity(map0, map1, cell0), sigma=sigma)
    return soft_argmax(weighted, temperature=temperature)


_READ: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "nn": nearest_cell,
    "bilinear": corners_mean,
    "softmax": soft_cell,
    "kernelsoftmax": kernel_soft_cell,
}


def transfer_points(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    method: Literal["nn", "bilinear", "softmax", "kernelsoftmax"],
) -> Float[Tensor, "N 2"]:
    """Say where points of image 0 are in image 1, by one of the four in its shipped settings.

    Args:
        map0: features of image 0.
        map1: features of image 1.
        xy0: (x, y) in pixels of image 0.
        size0: (height, width) of image 0.
        size1: (height, width) of image 1.
        method: as official code names it.

    Raises:
        ConfigError: no such method.
    """
    if method not in _READ:
        raise ConfigError(f"visual_ai: no method {method}{did_you_mean(method, _READ)}")
    cells0, cells1 = ((map_.shape[1], map_.shape[2]) for map_ in (map0, map1))
    found = _READ[method](map0, map1, to_cells(xy0, image=size0, cells=cells0))
    return to_pixels(found, cells=cells1, image=size1)


def _similarity(map0: Tensor, map1: Tensor, cell0: Tensor) -> Tensor:
    at = pixel_to_normalised(cell0, (map0.shape[1], map0.shape[2]))
    query = _unit(sample_points(map0[None], at[None])[0], dim=1)
    return torch.einsum("nd,dhw->nhw", query, _unit(map1, dim=0))


def _unit(values: Tensor, *, dim: int) -> Tensor:
    return values / (torch.linalg.vector_norm(values, dim=dim, keepdim=True) + 1e-6)


def _aligned(xy: Tensor, source: Size, target: Size) -> Tensor:
    last_source, last_target = (xy.new_tensor((size[1] - 1, size[0] - 1)) for size in (source, target))
    return xy / last_source * last_target
