"""Where a point is found among all cells of the other image should be where it is."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.sampling import sample_points
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import length, masked_mean

Focus = Literal["all", "window", "kernel"]


@in_full_precision
def dense_flow_loss(
    map0: Float[Tensor, "C h0 w0"],
    map1: Float[Tensor, "C h1 w1"],
    xy0: Float[Tensor, "N 2"],
    xy1: Float[Tensor, "N 2"],
    visible: Bool[Tensor, " N"] | None = None,
    *,
    image_size0: Size,
    image_size1: Size,
    temperature: float = 0.02,
    focus: Focus = "all",
    radius: float = 5.0,
    deviation: float = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Average the end-point error of the soft argmax of annotated points, in cells of map 1.

    MATCHA names a "dense semantic flow loss" after SFNet; this is the form that GeoAware-SC trains with. The
    flow is compared at the annotated points only, so only their rows of the correlation are made.

    Args:
        map0: features of image 0, normalised here.
        map1: features of image 1.
        xy0: annotated pixels of image 0; read between the cells.
        xy1: the same points in pixels of image 1.
        visible: which of them count; None means those whose coordinates are finite.
        image_size0: (height, width) of the images that the pixels are of.
        image_size1: (height, width) of the images that the pixels are of.
        temperature: divides the cosines; GeoAware-SC and SFNet take 0.02.
        focus: which cells the softmax sees. `all`, GeoAware-SC's default in training; `window`, a square
            around the best one; `kernel`, all, with cosines multiplied by a Gaussian around the best one
            (SFNet).
        radius: in cells, of the window to each side, or the kernel's standard deviation; SFNet takes 5.
        deviation: of Gaussian noise on the targets, in cells of map 1, so that annotations are not taken to
            be exact. GeoAware-SC takes 0.1 x the radius within which it calls points right / 2.
        generator: draws that noise.

    Returns:
        0 without visible points.

    Raises:
        ConfigError: no such focus, or numbers out of range.
    """
    if focus not in get_args(Focus):
        raise ConfigError(f"dense flow loss: no focus named {focus}{did_you_mean(focus, get_args(Focus))}")
    if temperature <= 0 or radius <= 0 or deviation < 0:
        raise ConfigError(
            "dense flow loss: expected temperature and radius above 0 and a deviation of at least 0, got "
            f"{temperature}, {radius} and {deviation}"
        )
    seen = (xy0.isfinite() & xy1.isfinite()).all(dim=1)
    seen = seen if visible is None else seen & visible
    start, end = (torch.where(seen[:, None], xy, 0) for xy in (xy0, xy1))
    cells = int(map1.shape[1]), int(map1.shape[2])
    query = sample_points(map0[None], pixel_to_normalised(start, image_size0)[None])[0]
    query, keys = F.normalize(query, dim=1, eps=1e-6), F.normalize(map1.flatten(1), dim=0, eps=1e-6)
    found = soft_argmax(query @ keys, cells, temperature=temperature, focus=focus, radius=radius)
    target = resize_pixel(end, image_size1, cells)
    if deviation:
        noise = torch.randn(target.shape, generator=generator, dtype=target.dtype, device=target.device)
        target = target + deviation * noise
    return masked_mean(length(found - target, dim=1)[None], seen[None])[0]


def soft_argmax(
    cosine: Float[Tensor, "N cells"], size: Size, *, temperature: float, focus: Focus, radius: float
) -> Float[Tensor, "N 2"]:
    """Return the expected place (x, y), in cells, of N maps of similarities.

    Args:
        cosine: of each of the cells of a map of `size`, row by row.
        size: (height, width) in cells.
        temperature: divides the cosines.
        focus: which cells count, as in `dense_flow_loss`.
        radius: of the window or kernel, in cells.
    """
    places = pixel_grid(size, device=cosine.device).to(cosine.dtype)
    logits = cosine
    if focus != "all":
        offset = places - places[cosine.detach().argmax(dim=1)][:, None]
        if focus == "window":
            logits = cosine.masked_fill(offset.abs().amax(dim=2) > radius, -torch.inf)
        else:
            logits = cosine * (-offset.square().sum(dim=2) / (2 * radius**2)).exp()
    return (logits / temperature).softmax(dim=1) @ places
