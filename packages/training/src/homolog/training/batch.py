"""Batches: image pairs at one size, with their labels at that size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, identity_grid, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ShapeError
from homolog.core.image import Image, resize
from homolog.core.samples import PairSample
from homolog.core.sampling import sample_points, warp_maps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairBatch:
    """B image pairs at one size. Missing labels are marked as unknown.

    Attributes:
        images: [B 2 3 H W] RGB in [0, 1].
        field0: true dense field on image 0; confidence 0 and NaN where unknown.
        field1: true dense field on image 1.
        xy0: [B K 2] keypoints in pixels of `images`; 0 where there is none.
        xy1: [B K 2] the corresponding points in image 1.
        visible: [B K] whether the keypoint exists and is visible in both images.
        mask0: [B H W] foreground of image 0; the whole image if there is no mask.
        mask1: [B H W] foreground of image 1.
        samples: the other labels of each pair: poses, homographies, depth, Gaussians. They refer to the
            original files; the samples' images are those of the batch, and their `to_original` maps to the
            files. Dense fields and masks are removed, because they are above.
    """

    images: Float[Tensor, "B 2 3 H W"]
    field0: DenseField
    field1: DenseField
    xy0: Float[Tensor, "B K 2"]
    xy1: Float[Tensor, "B K 2"]
    visible: Bool[Tensor, "B K"]
    mask0: Bool[Tensor, "B H W"]
    mask1: Bool[Tensor, "B H W"]
    samples: tuple[PairSample, ...]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.images)

    @property
    def size(self) -> Size:
        """(height, width) of the images in pixels."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    def to(self, device: torch.device | str) -> "PairBatch":
        """Return the batch with its tensors on a device; the samples stay where they are."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("images", "xy0", "xy1", "visible", "mask0", "mask1")
        }
        fields = {
            name: DenseField(grid=field.grid.to(device), confidence=field.confidence.to(device))
            for name, field in (("field0", self.field0), ("field1", self.field1))
        }
        return replace(self, **moved, **fields)


def collate(samples: Sequence[PairSample], *, size: Size) -> PairBatch:
    """Resize samples and their labels to one size.

    Images are stretched to `size`, so normalised fields keep their values. Fields are sampled at the nearest
    pixel, because interpolation between a known and an unknown pixel is undefined. Keypoints follow the
    resizing; invisible ones are removed.

    Args:
        samples: at least one.
        size: (height, width) in pixels.

    Raises:
        ShapeError: no samples.
    """
    if not samples:
        raise ShapeError("expected at least one sample in a batch, got none")
    pairs = [(resize(sample.image0, size), resize(sample.image1, size)) for sample in samples]
    points = [_points(sample, pair) for sample, pair in zip(samples, pairs, strict=True)]
    xy0, xy1, visible = _padded(points)
    fields0 = [_field(sample.dense0, size) for sample in samples]
    fields1 = [_field(sample.dense1, size) for sample in samples]
    return PairBatch(
        images=torch.stack([torch.stack([image.pixels for image in pair]) for pair in pairs]),
        field0=_joined(fields0),
        field1=_joined(fields1),
        xy0=xy0,
        xy1=xy1,
        visible=visible,
        mask0=torch.cat([_mask(sample.mask0, size) for sample in samples]),
        mask1=torch.cat([_mask(sample.mask1, size) for sample in samples]),
        samples=tuple(_rest(sample, pair) for sample, pair in zip(samples, pairs, strict=True)),
    )


def swapped(sample: PairSample) -> PairSample:
    """Swap the two images of a pair, with all labels."""
    pose, homography = sample.pose, sample.homography
    return replace(
        sample,
        image0=sample.image1,
        image1=sample.image0,
        xy0=sample.xy1,
        xy1=sample.xy0,
        box0=sample.box1,
        box1=sample.box0,
        camera0=sample.camera1,
        camera1=sample.camera0,
        pose=None if pose is None else pose.inverse(),
        homography=None if homography is None else torch.linalg.inv(homography.double()).to(homography.dtype),
        dense0=sample.dense1,
        dense1=sample.dense0,
        depth0=sample.depth1,
        depth1=sample.depth0,
        mask0=sample.mask1,
        mask1=sample.mask0,
        gaussians=None if sample.gaussians is None else sample.gaussians.swapped(),
    )


def _rest(sample: PairSample, pair: tuple[Image, Image]) -> PairSample:
    # Workers send batches between processes: labels at the size of the files would be most of the data.
    return replace(sample, image0=pair[0], image1=pair[1], dense0=None, dense1=None, mask0=None, mask1=None)


def _points(sample: PairSample, pair: tuple[Image, Image]) -> tuple[Tensor, Tensor]:
    if sample.xy0 is None or sample.xy1 is None:
        return torch.zeros(0, 2), torch.zeros(0, 2)
    xy0, xy1 = (
        image.xy_from_original(xy.double()).float()
        for image, xy in zip(pair, (sample.xy0, sample.xy1), strict=True)
    )
    visible = (xy0.isfinite() & xy1.isfinite()).all(dim=1)
    if sample.visible is not None:
        visible &= sample.visible
    return xy0[visible], xy1[visible]


def _padded(points: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    longest = max(len(first) for first, _ in points)
    xy0, xy1 = torch.zeros(len(points), longest, 2), torch.zeros(len(points), longest, 2)
    visible = torch.zeros(len(points), longest, dtype=torch.bool)
    for index, (first, second) in enumerate(points):
        xy0[index, : len(first)], xy1[index, : len(first)] = first, second
        visible[index, : len(first)] = True
    return xy0, xy1, visible


def _field(field: DenseField | None, size: Size) -> DenseField:
    if field is None:
        return DenseField(grid=torch.full((1, 2, *size), torch.nan), confidence=torch.zeros(1, *size))
    if field.size == size:
        return field
    at = identity_grid(size)[None]
    grid = warp_maps(field.grid, at, mode="nearest", padding="border")
    confidence = warp_maps(field.confidence[:, None], at, mode="nearest", padding="border")[:, 0]
    return DenseField(grid=grid, confidence=confidence)


def _joined(fields: list[DenseField]) -> DenseField:
    return DenseField(
        grid=torch.cat([field.grid for field in fields]),
        confidence=torch.cat([field.confidence for field in fields]),
    )


def _mask(mask: Tensor | None, size: Size) -> Tensor:
    if mask is None:
        return torch.ones(1, *size, dtype=torch.bool)
    if tuple(mask.shape) == size:
        return mask[None]
    return (
        warp_maps(mask[None, None].float(), identity_grid(size)[None], mode="nearest", padding="border")[0]
        > 0.5
    )


def known_points(
    batch: PairBatch, *, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "B count 2"], Float[Tensor, "B count 2"], Bool[Tensor, "B count"]]:
    """Draw pixels of image 0 whose position in image 1 is known from the dense labels.

    Args:
        batch: with `field0`.
        count: number of pixels per pair, drawn with replacement.
        generator: random generator, on the CPU.

    Returns:
        Pixels of image 0, their positions in image 1, and whether they are valid: all False for a pair
        without dense labels.
    """
    weight = (batch.field0.confidence > 0).flatten(1).float().cpu()
    some = weight.sum(dim=1) > 0
    # `multinomial` cannot draw from a row of zeros; such rows are marked as invalid below.
    drawn = torch.multinomial(
        torch.where(some[:, None], weight, 1), count, replacement=True, generator=generator
    )
    width = batch.size[1]
    xy0 = torch.stack((drawn % width, drawn // width), dim=-1).to(batch.images)
    grid = batch.field0.grid.flatten(2).gather(2, drawn[:, None].expand(-1, 2, -1).to(batch.images.device))
    xy1 = normalised_to_pixel(grid.transpose(1, 2), batch.size)
    valid = some[:, None].expand(-1, count).to(batch.images.device)
    return xy0, torch.where(valid[..., None], xy1, 0), valid


def sample_maps(
    map_: Float[Tensor, "B C h w"], xy: Float[Tensor, "B N 2"], size: Size
) -> Float[Tensor, "B N C"]:
    """Sample feature maps at pixels of images of `size`, with gradient."""
    return sample_points(map_, pixel_to_normalised(xy, size))
