"""Batches: image pairs at one size, with their labels at that size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, identity_grid, normalised_to_pixel
from homolog.core.dense import DenseField
from homolog.core.errors import ShapeError
from homolog.core.image import Image, resize
from homolog.core.samples import PairSample
from homolog.core.sampling import warp_maps
from homolog.core.tensors import move


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
        return replace(move(replace(self, samples=()), device), samples=self.samples)


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
    xy0, xy1, visible = _padded([_points(*each) for each in zip(samples, pairs, strict=True)])
    return PairBatch(
        images=torch.stack([torch.stack([image.pixels for image in pair]) for pair in pairs]),
        field0=_fields([sample.dense0 for sample in samples], size),
        field1=_fields([sample.dense1 for sample in samples], size),
        xy0=xy0,
        xy1=xy1,
        visible=visible,
        mask0=torch.cat([_mask(sample.mask0, size) for sample in samples]),
        mask1=torch.cat([_mask(sample.mask1, size) for sample in samples]),
        # Workers send batches between processes: labels at the size of the files would be most of the data.
        samples=tuple(
            replace(sample, image0=image0, image1=image1, dense0=None, dense1=None, mask0=None, mask1=None)
            for sample, (image0, image1) in zip(samples, pairs, strict=True)
        ),
    )


def swapped(sample: PairSample) -> PairSample:
    """Swap the two images of a pair, with all labels."""
    pose, homography = sample.pose, sample.homography
    labels = ("image", "xy", "box", "camera", "dense", "depth", "mask")
    return replace(
        sample,
        **{f"{name}{side}": getattr(sample, f"{name}{1 - side}") for name in labels for side in (0, 1)},
        pose=None if pose is None else pose.inverse(),
        homography=None if homography is None else torch.linalg.inv(homography.double()).to(homography.dtype),
        gaussians=None if sample.gaussians is None else sample.gaussians.swapped(),
    )


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


def nearest_pixels(map_: Float[Tensor, "B C h w"], size: Size) -> Float[Tensor, "B C H W"]:
    """Resize a map by taking the nearest pixel: known and unknown pixels do not mix."""
    if tuple(map_.shape[-2:]) == size:
        return map_
    return warp_maps(map_, identity_grid(size)[None], mode="nearest", padding="border")


def _fields(fields: list[DenseField | None], size: Size) -> DenseField:
    unknown = torch.full((1, 2, *size), torch.nan), torch.zeros(1, 1, *size)
    parts = [unknown if field is None else (field.grid, field.confidence[:, None]) for field in fields]
    grid, confidence = (
        torch.cat([nearest_pixels(part, size) for part in each]) for each in zip(*parts, strict=True)
    )
    return DenseField(grid=grid, confidence=confidence[:, 0])


def _mask(mask: Tensor | None, size: Size) -> Tensor:
    if mask is None:
        return torch.ones(1, *size, dtype=torch.bool)
    return nearest_pixels(mask[None, None].float(), size)[0] > 0.5


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
