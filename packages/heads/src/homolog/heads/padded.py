"""Keypoints of several images as dense tensors: padded to one length, with a mask of what is real."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import CapabilityError, ShapeError
from homolog.core.keypoints import Keypoints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedKeypoints:
    """The keypoints of B images, each padded to L, the largest number of them, which is at least 1.

    Attributes:
        place: [B L 2] (x, y) from the centre of the image, in units of its longer side: within
            [-0.5, 0.5].
        score: [B L] the detector's.
        descriptor: [B L D] the detector's.
        guidance: [B L G] features that say who may listen to whom, or None.
        valid: [B L] False where there is padding, or None where there is none.
    """

    place: Float[Tensor, "B L 2"]
    score: Float[Tensor, "B L"]
    descriptor: Float[Tensor, "B L D"]
    guidance: Float[Tensor, "B L G"] | None
    valid: Bool[Tensor, "B L"] | None


def place_in_image(xy: Float[Tensor, "N 2"], image_size: Size) -> Float[Tensor, "N 2"]:
    """Express pixel coordinates from the image's centre, in units of its longer side.

    >>> place_in_image(torch.tensor([[-0.5, 1.5]]), (4, 8)).tolist()
    [[-0.5, 0.0]]
    """
    height, width = image_size
    half = xy.new_tensor((width, height)) / (2 * max(height, width))
    return pixel_to_normalised(xy, image_size) * half


def pad_keypoints(
    keypoints: Sequence[Keypoints],
    image_sizes: Sequence[Size],
    guidance: Sequence[Float[Tensor, "_N G"]] | None = None,
    *,
    length: int | None = None,
) -> PaddedKeypoints:
    """Bring keypoints of several images to one length.

    Args:
        keypoints: of each image, with descriptors of one length.
        image_sizes: (height, width) of each image in pixels.
        guidance: features at the keypoints of each image, if there are any.
        length: to pad to; None takes the largest number of keypoints.

    Raises:
        CapabilityError: keypoints without descriptors.
        ShapeError: no images, or more keypoints than the length.
    """
    counts = [len(each) for each in keypoints]
    if not counts:
        raise ShapeError("expected the keypoints of at least one image, got none")
    length = max(1, *counts) if length is None else length
    if length < max(1, *counts):
        raise ShapeError(f"expected a length of at least {max(1, *counts)}, got {length}")
    places = [place_in_image(each.xy, size) for each, size in zip(keypoints, image_sizes, strict=True)]
    valid = None
    if min(counts) < length:
        count = torch.tensor(counts, device=places[0].device)
        valid = torch.arange(length, device=count.device) < count[:, None]
    return PaddedKeypoints(
        place=_padded(places, length),
        score=_padded([each.score for each in keypoints], length),
        descriptor=_padded([_descriptor(each) for each in keypoints], length),
        guidance=None if guidance is None else _padded(list(guidance), length),
        valid=valid,
    )


def _padded(parts: list[Tensor], length: int) -> Tensor:
    whole = parts[0].new_zeros(len(parts), length, *parts[0].shape[1:])
    for sample, part in zip(whole, parts, strict=True):
        sample[: len(part)] = part
    return whole


def _descriptor(keypoints: Keypoints) -> Tensor:
    if keypoints.descriptor is None:
        raise CapabilityError(
            "guided_glue: expected keypoints with descriptors, got none; use a detector that describes them, or "
            "name a map of the backbone as descriptor_map"
        )
    return keypoints.descriptor
