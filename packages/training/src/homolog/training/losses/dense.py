"""Losses of dense fields, from "Dense Semantic Matching with VGGT Prior".

Supervised: dense and keypoint L2. Unsupervised: matching and reconstruction compare warped images; smoothness and
uncertainty regularise the field and train its confidence.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, identity_grid, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.training.losses.common import area_fraction, in_full_precision, length, masked_mean

Unit = Literal["normalised", "pixel"]
"""Unit of a distance: normalised (image sides span 2), or pixels of the reference image."""


@in_full_precision
def dense_l2(
    field: DenseField,
    truth: DenseField,
    mask: Bool[Tensor, "B H W"] | None = None,
    *,
    unit: Unit = "normalised",
    reference_size: Size | None = None,
) -> Float[Tensor, " B"]:
    """Average the squared distance between predicted and true positions over the labelled cells.

    The paper gives this loss the weight 10000 and names no unit. The mean squared norm in normalised
    coordinates is 1e-4 to 1e-2 at first, so the weighted loss is 1 to 100.

    Args:
        field: predicted field; its confidence is not used.
        truth: labels of the same size; a cell counts where the grid is finite and the confidence above 0.
        mask: only these cells count.
        unit: unit of the distance.
        reference_size: (height, width) of the reference image; for `pixel` only.

    Returns:
        One number per pair; 0 for a pair without labels.

    Raises:
        ShapeError: fields of different sizes.
        ConfigError: an unknown unit, or pixels without a size.
    """
    if field.grid.shape != truth.grid.shape:
        raise ShapeError(
            f"dense L2: expected the truth of the predicted size {list(field.grid.shape)}, got "
            f"{list(truth.grid.shape)}; resize the labels to the size of the network's input"
        )
    known = (truth.confidence > 0) & truth.grid.isfinite().all(dim=1)
    known = known if mask is None else known & mask
    # Where the label is unknown, the prediction replaces it: no error and no gradient.
    wanted = torch.where(known[:, None], truth.grid, field.grid.detach())
    found, wanted = (in_unit(grid.movedim(1, -1), unit, reference_size) for grid in (field.grid, wanted))
    return masked_mean((found - wanted).square().sum(dim=-1), known)


def in_unit(place: Float[Tensor, "*batch 2"], unit: Unit, size: Size | None) -> Float[Tensor, "*batch 2"]:
    """Convert normalised positions to a unit.

    Raises:
        ConfigError: an unknown unit, or pixels without a size.
    """
    one_of("unit", unit, get_args(Unit))
    if unit == "normalised":
        return place
    if size is None:
        raise ConfigError("expected the size of the reference image for distances in pixels, got none")
    return normalised_to_pixel(place, size)


@in_full_precision
def keypoint_l2(
    field: DenseField,
    xy0: Float[Tensor, "B N 2"],
    xy1: Float[Tensor, "B N 2"],
    visible: Bool[Tensor, "B N"] | None = None,
    *,
    query_size: Size,
    reference_size: Size,
    unit: Unit = "pixel",
) -> Float[Tensor, " B"]:
    """Average the squared distance between transferred and annotated keypoints over the visible ones.

    The paper gives this loss the weight 0.01, next to 10000 for the dense one, and names no unit. In squared
    pixels of the network's input, an error of 10 px costs 1 after weighting.

    Args:
        field: field on the image of `xy0` that points into the image of `xy1`; sampled bilinearly.
        xy0: pixel coordinates in an image of `query_size`; arbitrary where not visible.
        xy1: pixel coordinates in an image of `reference_size`; arbitrary where not visible.
        visible: whether a point is visible in both images; None means all with finite coordinates.
        query_size: (height, width) of the network's input images.
        reference_size: (height, width) of the network's input images.
        unit: unit of the distance.

    Returns:
        One number per pair; 0 for a pair without visible keypoints.

    Raises:
        ConfigError: an unknown unit.
    """
    counts = (xy0.isfinite() & xy1.isfinite()).all(dim=-1)
    counts = counts if visible is None else counts & visible
    start, end = (torch.where(counts[..., None], xy, 0) for xy in (xy0, xy1))
    found = field.transfer(start, query_size=query_size, reference_size=reference_size).xy
    found, end = (
        in_unit(pixel_to_normalised(xy, reference_size), unit, reference_size) for xy in (found, end)
    )
    return masked_mean((found - end).square().sum(dim=-1), counts)


Weighting = Literal["detached", "active", "none"]
"""How the confidence weighs distances.

`detached`: it weighs them without gradient. `active`: with gradient; because it could then reduce the loss by falling
to 0, it needs a target of its own (the uncertainty loss). `none`: all cells weigh the same.
"""


def distance_map(one: Float[Tensor, "B C h w"], other: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Return the norm of the difference over channels, not squared, at each cell.

    This is the error in equations 5 to 7 of the paper. The root is rounded by 1e-6 at 0, where it would have no
    gradient.
    """
    return length(one - other, dim=1)


def mean_distance(
    one: Float[Tensor, "B C h w"],
    other: Float[Tensor, "B C h w"],
    mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"],
    confidence: Float[Tensor, "B H W"] | None,
    weighting: Weighting,
) -> Float[Tensor, " B"]:
    """Return the sum of mask x confidence x distance, divided by the area of the mask.

    Args:
        one: feature maps or pixels.
        other: feature maps or pixels of the same image.
        mask: weights at any resolution; each cell gets the mean of its pixels.
        confidence: at the resolution of the mask; None means 1 everywhere.
        weighting: how the confidence weighs.

    Returns:
        One number per pair; 0 for a pair with an empty mask.

    Raises:
        ConfigError: an unknown weighting.
    """
    one_of("weighting", weighting, get_args(Weighting))
    size = int(one.shape[2]), int(one.shape[3])
    weight = area_fraction(mask, size).to(one.dtype)
    difference = torch.where(weight[:, None] > 0, one - other, 0)
    distance = length(difference, dim=1)
    if confidence is None or weighting == "none":
        return masked_mean(distance, weight)
    factor = confidence.detach() if weighting == "detached" else confidence
    # Within a cell, only the confidence of masked pixels counts.
    weighted = area_fraction(torch.where(mask > 0, mask.to(factor.dtype) * factor, 0), size)
    return masked_mean(distance * weighted / torch.where(weight > 0, weight, 1), weight)


@in_full_precision
def matching_loss(
    warped: Float[Tensor, "B C h w"],
    real: Float[Tensor, "B C h w"],
    mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"],
    confidence: Float[Tensor, "B H W"] | None = None,
    *,
    weighting: Weighting = "detached",
    normalise: bool = False,
) -> Float[Tensor, " B"]:
    """Average the feature distance between a real image and another that was warped onto it.

    Equation 5 of the paper. With a field on the target, `field.warp(source)` is the warped image; encode it (with
    gradient) and the target with the same frozen encoder. Feature maps are coarser than images: pixels are
    warped, features are compared, and masks and confidences are averaged over the cells of the maps. Pixels that
    are warped from outside of the source are black.

    Args:
        warped: features of the warped image.
        real: features of the field's own image; usually without gradient.
        mask: foreground of that image.
        confidence: confidence of the field; None means 1.
        weighting: how the confidence weighs. The paper multiplies by it, and trains it only in the last stage:
            use `detached` before, and `active` together with the uncertainty loss.
        normalise: compare the directions of features; the paper compares the features themselves.

    Returns:
        One number per pair in the unit of the features, independent of the mask's size; 0 if it is empty.

    Raises:
        ConfigError: an unknown weighting.
    """
    if normalise:
        # A blank image may have features of norm 0.
        warped, real = (F.normalize(each, dim=1, eps=1e-6) for each in (warped, real))
    return mean_distance(warped, real, mask, confidence, weighting)


Through = Literal["images", "fields"]
"""`images` warps the image twice; `fields` composes the fields and warps once."""


@in_full_precision
def reconstruction_loss(
    image: Float[Tensor, "B C H W"],
    outward: DenseField,
    homeward: DenseField,
    mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"],
    *,
    weighting: Weighting = "detached",
    through: Through = "images",
) -> Float[Tensor, " B"]:
    """Average the difference between an image and its reconstruction through both fields of a pair.

    Equation 6 of the paper. To reconstruct image 0, `outward` is the field on image 0 and `homeward` the field on
    image 1: `homeward` warps image 0 onto image 1, and `outward` warps it back. Swap them for image 1.

    Args:
        image: pixels or feature maps of the image of `outward`, at the size of its grid.
        outward: field on the image, pointing into the other image.
        homeward: field on the other image, pointing back.
        mask: foreground of the image.
        weighting: how the confidence of `outward` weighs, as in `matching_loss`.
        through: `images` is the paper's and blurs twice; `fields` blurs once.

    Returns:
        One number per pair: norm over channels, mean over the mask; 0 if the mask is empty.

    Raises:
        ConfigError: an unknown option.
    """
    one_of("through", through, get_args(Through))
    if through == "images":
        reconstructed = outward.warp(homeward.warp(image))
    else:
        reconstructed = outward.compose(homeward).warp(image)
    return mean_distance(reconstructed, image, mask, outward.confidence, weighting)


Form = Literal["axes", "flattened"]


@in_full_precision
def smoothness_loss(
    grid: Float[Tensor, "B 2 H W"],
    mask: Bool[Tensor, "B H W"] | None = None,
    *,
    form: Form = "axes",
    subtract_identity: bool = False,
) -> Float[Tensor, " B"]:
    """Average the squared first differences of a grid, in normalised coordinates.

    Args:
        grid: grid of a field.
        mask: only neighbours that both lie in it count; None counts all.
        form: `axes` compares each cell with its neighbours to the right and below. `flattened` follows the paper
            literally: the grid is flattened to a vector, so cells are compared along rows only, and the last of
            a row with the first of the next.
        subtract_identity: subtract the differences of the identity, which then costs nothing. The paper does
            not.

    Returns:
        One number per pair, the mean over neighbours; 0 if there are none.

    Raises:
        ConfigError: an unknown form.
    """
    one_of("form", form, get_args(Form))
    height, width = int(grid.shape[2]), int(grid.shape[3])
    if subtract_identity:
        grid = grid - identity_grid((height, width), device=grid.device, dtype=grid.dtype)
    inside = grid.isfinite().all(dim=1)
    inside = inside if mask is None else inside & mask
    grid = torch.where(inside[:, None], grid, 0)
    if form == "flattened":
        squared, both = _along(grid.flatten(2), inside.flatten(1), -1)
        return masked_mean(squared, both)
    across, down = _along(grid, inside, -1), _along(grid, inside, -2)
    squared, both = (
        torch.cat((a.flatten(1), d.flatten(1)), dim=1) for a, d in zip(across, down, strict=True)
    )
    return masked_mean(squared, both)


def _along(grid: Tensor, inside: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the squared differences of neighbours, and whether both count."""
    count = max(0, grid.shape[dim] - 1)
    near, far = inside.narrow(dim, 0, count), inside.narrow(dim, min(1, inside.shape[dim]), count)
    return grid.diff(dim=dim).square().sum(dim=1), near & far


Extrema = Literal["masked", "literal"]
Penalty = Literal["doubt", "trust", "none"]


@in_full_precision
def uncertainty_loss(
    confidence: Float[Tensor, "B h w"],
    error: Float[Tensor, "B h w"],
    mask: Bool[Tensor, "B h w"],
    *,
    lambda_conf: float = 0.1,
    penalty: Penalty = "doubt",
    extrema: Extrema = "masked",
    detach_error: bool = True,
) -> Float[Tensor, " B"]:
    """Compare the confidence with one minus the error, normalised to [0, 1] within the mask.

    Equation 7 of the paper is the error (`distance_map`), 8 its normalisation by minimum and maximum, 9 the L1
    distance and a penalty weighted by lambda. Both sums are divided by the area of the mask, so that neither
    grows with the object.

    Args:
        confidence: predicted confidence in [0, 1].
        error: error of each cell in any unit; arbitrary outside of the mask.
        mask: foreground.
        lambda_conf: weight of the penalty; below 1 it changes the speed, not the optimum.
        penalty: `doubt` is the mean of 1 - confidence, which keeps the confidence from falling to 0 everywhere;
            `trust` is the mean confidence; or `none`.
        extrema: `masked` takes minimum and maximum over the mask. `literal` takes them over mask x error as
            printed, where the zeros outside make the minimum 0.
        detach_error: use the error as a target without gradient; otherwise it could grow to agree with a low
            confidence.

    Returns:
        One number per pair; 0 if the mask is empty. If all errors are equal, the target is 1.

    Raises:
        ConfigError: an unknown option.
    """
    one_of("extrema", extrema, get_args(Extrema))
    one_of("penalty", penalty, get_args(Penalty))
    target = 1 - _normalised(error.detach() if detach_error else error, mask, extrema)
    loss = masked_mean((confidence - target).abs(), mask)
    if penalty == "none":
        return loss
    return loss + lambda_conf * masked_mean(1 - confidence if penalty == "doubt" else confidence, mask)


def _normalised(error: Tensor, mask: Tensor, extrema: Extrema) -> Tensor:
    inside = torch.where(mask, error, 0)
    if extrema == "literal":
        low, high = inside.amin(dim=(1, 2)), inside.amax(dim=(1, 2))
    else:
        low = torch.where(mask, error, torch.inf).amin(dim=(1, 2))
        high = torch.where(mask, error, -torch.inf).amax(dim=(1, 2))
    span = torch.where(high > low, high - low, 1)
    # An empty mask has infinite extrema.
    low = torch.where(low.isfinite(), low, 0)
    return (inside - low[:, None, None]) / span[:, None, None]
