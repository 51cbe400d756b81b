"""Which keypoints of the other image a keypoint listens to, told by a foundation model's features.

Source: Jiang et al., "OmniGlue" (CVPR 2024), section 3.3: DINOv2 features at the keypoints are compared
across the images, and of each keypoint's edges to the other image the better half is kept.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import ConfigError
from homolog.core.sampling import sample_points

Lookup = Literal["centre", "release"]
"""Where a map is read: as it covers the image, or as OmniGlue's release reads it."""

_CHUNK = 1 << 22
"""Similarities ranked at a time."""


def look_up(
    map_: Float[Tensor, "C h w"], xy: Float[Tensor, "N 2"], image_size: Size, *, lookup: Lookup = "centre"
) -> Float[Tensor, "N C"]:
    """Read the guidance at keypoints.

    Args:
        map_: of the whole image.
        xy: pixel coordinates in that image.
        image_size: (height, width) in pixels.
        lookup: `centre` takes each cell's value to be that of its centre, as everywhere in homolog.
            `release` is the function `lookup_descriptor_bilinear` of OmniGlue's code: cell i is taken to
            lie at i times the cell's size, its upper left corner, half a cell before its centre. Beyond
            the last of these places the value fades out. Only for features that were trained so.

    Raises:
        ConfigError: an unknown lookup.
    """
    if lookup == "centre":
        return sample_points(map_[None], pixel_to_normalised(xy, image_size)[None])[0]
    if lookup != "release":
        raise ConfigError(f"expected the lookup centre or release, got {lookup}")
    (height, width), cells = image_size, (map_.shape[1], map_.shape[2])
    index = xy * xy.new_tensor((cells[1] / width, cells[0] / height))
    return sample_points(map_[None], pixel_to_normalised(index, cells)[None], padding="zeros")[0]


def guided_edges(
    guidance0: Float[Tensor, "B N G"],
    guidance1: Float[Tensor, "B M G"],
    *,
    keep: float = 0.5,
    valid0: Bool[Tensor, "B N"] | None = None,
    valid1: Bool[Tensor, "B M"] | None = None,
) -> tuple[Bool[Tensor, "B N M"], Bool[Tensor, "B M N"]]:
    """Choose for each keypoint the keypoints of the other image that it listens to.

    All cosines are computed once and read both ways. The two graphs are directed: that a listens to b
    does not mean that b listens to a.

    Args:
        guidance0: features at the keypoints of image 0, of any length but zero.
        guidance1: features at the keypoints of image 1.
        keep: the share of the other image's keypoints that is kept, rounded up, at least one. The
            paper keeps the "top half"; its table 5 tries 0.3 to 0.6.
        valid0: False where a keypoint is padding; None when there is none.
        valid1: False where a keypoint is padding; None when there is none.

    Returns:
        [B N M]: True where a keypoint of image 0 listens to one of image 1; [B M N] the other way. Of
        equally similar keypoints those of lowest index are kept. Nothing listens to padding, and where
        the other image has no keypoint at all, nothing is listened to.

    Raises:
        ConfigError: a share outside (0, 1].
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"expected to keep a share in (0, 1], got {keep}")
    with torch.no_grad(), torch.autocast(guidance0.device.type, enabled=False):
        wide = torch.promote_types(guidance0.dtype, torch.float32)
        unit0, unit1 = (F.normalize(each.to(wide), dim=2) for each in (guidance0, guidance1))
        similarity = unit0 @ unit1.transpose(1, 2)
        return (
            _best_of_rows(similarity, keep, valid1),
            _best_of_rows(similarity.transpose(1, 2).contiguous(), keep, valid0),
        )


def _best_of_rows(similarity: Tensor, keep: float, valid: Tensor | None) -> Tensor:
    """Mark the best valid columns of each row of each sample."""
    chosen = torch.zeros(similarity.shape, dtype=torch.bool, device=similarity.device)
    counts = [similarity.shape[2]] * len(similarity) if valid is None else valid.sum(dim=1).tolist()
    for sample, count in enumerate(counts):
        if not count:
            continue
        among = similarity[sample]
        if valid is not None and count < among.shape[1]:
            among = among.masked_fill(~valid[sample], -torch.inf)
        wanted = max(1, math.ceil(round(keep * count, 6)))
        rows = max(1, _CHUNK // among.shape[1])
        for marked, part in zip(chosen[sample].split(rows), among.split(rows), strict=True):
            marked.copy_(_best(part, wanted))
    return chosen


def _best(similarity: Tensor, wanted: int) -> Tensor:
    """Mark the `wanted` largest entries of each row, those of lowest index among equals."""
    # The smallest value that is kept tells all the others apart; only ties at it need their order.
    # A stable sort of everything takes a CPU six times as long.
    least = similarity.topk(wanted, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above, ties = similarity > least, similarity == least
    room = wanted - above.sum(dim=1, keepdim=True)
    if bool((ties.sum(dim=1, keepdim=True) == room).all()):
        return above | ties
    return above | (ties & (ties.cumsum(dim=1) <= room))
