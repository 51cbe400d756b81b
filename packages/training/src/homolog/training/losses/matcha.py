"""MATCHA's losses of semantic pairs: contrastive and dense flow.

Its loss of geometric pairs, the dual softmax, is in `losses/sparse.py`.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.errors import ConfigError, one_of
from homolog.core.sampling import sample_points
from homolog.training.losses.common import in_full_precision, length, masked_mean

LOG_SCALE = math.log(1 / 0.07)
"""CLIP's initial logarithm of the learned scale."""

_HIGHEST = math.log(100.0)
"""CLIP's upper limit of the logarithm; beyond it training becomes unstable."""


@in_full_precision
def contrastive_loss(
    descriptor0: Float[Tensor, "N D"],
    descriptor1: Float[Tensor, "N D"],
    log_scale: Float[Tensor, ""] | float = LOG_SCALE,
    *,
    valid: Bool[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Return the symmetric cross-entropy of N matching descriptors (CLIP; MATCHA for semantic pairs).

    Mean of both directions. MATCHA's paper only says "CLIP contrastive"; as in GeoAware-SC, the negatives are the
    other points of the call: those of one image pair, or of a whole batch.

    Args:
        descriptor0: row i shows the same point as row i of `descriptor1`; normalised here.
        descriptor1: descriptors of the other image.
        log_scale: logarithm of the scale of the cosines, clamped to log 100; pass a parameter to train it.
        valid: which points count; the rows of all others may hold anything and are no negatives either.

    Returns:
        The loss; 0 with fewer than two points.
    """
    if valid is not None:
        descriptor0, descriptor1 = descriptor0[valid], descriptor1[valid]
    scale = torch.as_tensor(log_scale, dtype=descriptor0.dtype, device=descriptor0.device)
    if not len(descriptor0):
        # Zero, but connected to the graph: distributed training needs a gradient for every parameter.
        return descriptor0.sum() + descriptor1.sum() + 0 * scale
    unit0, unit1 = (F.normalize(each, dim=1, eps=1e-6) for each in (descriptor0, descriptor1))
    logits = scale.clamp(max=_HIGHEST).exp() * (unit0 @ unit1.T)
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


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
    """Return the mean end-point error of the soft argmax at annotated points, in cells of map 1.

    MATCHA names a "dense semantic flow loss" after SFNet; this is the form in GeoAware-SC. The flow is compared at
    the annotated points only, so only their rows of the correlation are computed.

    Args:
        map0: features of image 0; normalised here.
        map1: features of image 1.
        xy0: annotated pixels of image 0; features are sampled bilinearly.
        xy1: the same points in pixels of image 1.
        visible: which points count; None means those with finite coordinates.
        image_size0: (height, width) of image 0 in pixels.
        image_size1: (height, width) of image 1 in pixels.
        temperature: divides the cosines; 0.02 in GeoAware-SC and SFNet.
        focus: which cells enter the softmax: `all` (GeoAware-SC's default in training); `window`, a square around
            the best cell; `kernel`, all cells, with cosines multiplied by a Gaussian around the best cell (SFNet).
        radius: in cells: half the side of the window, or the kernel's standard deviation; 5 in SFNet.
        deviation: standard deviation of Gaussian noise on the targets, in cells of map 1, because annotations are
            inexact. GeoAware-SC uses 0.1 x the radius of its correctness threshold / 2.
        generator: random generator of the noise.

    Returns:
        The loss; 0 without visible points.

    Raises:
        ConfigError: an unknown focus, or numbers out of range.
    """
    one_of("focus", focus, get_args(Focus))
    if temperature <= 0 or radius <= 0 or deviation < 0:
        raise ConfigError(
            "dense flow loss: expected temperature and radius above 0 and a deviation of at least 0, got "
            f"{temperature}, {radius} and {deviation}"
        )
    counts = (xy0.isfinite() & xy1.isfinite()).all(dim=1)
    counts = counts if visible is None else counts & visible
    start, end = (torch.where(counts[:, None], xy, 0) for xy in (xy0, xy1))
    cells = int(map1.shape[1]), int(map1.shape[2])
    query = sample_points(map0[None], pixel_to_normalised(start, image_size0)[None])[0]
    query, keys = F.normalize(query, dim=1, eps=1e-6), F.normalize(map1.flatten(1), dim=0, eps=1e-6)
    found = soft_argmax(query @ keys, cells, temperature=temperature, focus=focus, radius=radius)
    target = resize_pixel(end, image_size1, cells)
    if deviation:
        noise = torch.randn(target.shape, generator=generator, dtype=target.dtype, device=target.device)
        target = target + deviation * noise
    return masked_mean(length(found - target, dim=1)[None], counts[None])[0]


def soft_argmax(
    cosine: Float[Tensor, "N cells"], size: Size, *, temperature: float, focus: Focus, radius: float
) -> Float[Tensor, "N 2"]:
    """Return the expected position (x, y), in cells, of N similarity maps.

    Args:
        cosine: cosines of the cells of a map of `size`, row by row.
        size: (height, width) in cells.
        temperature: divides the cosines.
        focus: as in `dense_flow_loss`.
        radius: as in `dense_flow_loss`.
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
