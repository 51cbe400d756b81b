"""SuperPoint: keypoints, scores and descriptors from one convolutional network.

Source: DeTone, Malisiewicz, Rabinovich, "SuperPoint: Self-Supervised Interest Point Detection and
Description" (2018), sections 3 and 4. Two sets of published weights load:

- rpautrat/SuperPoint (MIT), retrained, with a batch normalisation after each activation;
- Magic Leap's `superpoint_v1.pth` (research only, no commercial use), without batch normalisation,
  and with descriptors read through another coordinate map, kept here as `sampling="magicleap"`.

Keypoints are pixel coordinates as `homolog.core.coords` has them: both releases already put the
integer at the pixel's centre.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import pixel_to_normalised, resize_pixel
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.keypoints import Keypoints
from homolog.core.sampling import sample_points
from homolog.core.weights import load_state, restore

Sampling = Literal["centre", "magicleap"]
"""Where a descriptor is read: at the keypoint, or where Magic Leap's code reads it."""


class SuperPoint(nn.Module):
    """Detects and describes keypoints; a `homolog.core.protocols.Detector`.

    It is built in evaluation mode: the batch statistics of a single image are no use to anyone.

    Args:
        checkpoint: rpautrat's `superpoint_v6_from_tf.pth`, Magic Leap's `superpoint_v1.pth`, or the
            same tensors as safetensors; None leaves the weights random.
        channels: of each stage and, last, of the two heads; every stage but the first halves the map.
        descriptor_dim: channels of a descriptor.
        batch_norm: whether the weights have batch normalisation (rpautrat: yes, Magic Leap: no).
        sampling: where descriptors are read; Magic Leap's weights are meant for theirs.
        nms_radius: a keypoint has the highest score of a window of 2 nms_radius + 1 pixels.
        border: pixels along each side of the image in which nothing is detected.
        threshold: a keypoint's score is above this; scores are probabilities.
        max_keypoints: keep at most this many keypoints of an image; None keeps all.

    Raises:
        WeightsError: the checkpoint does not hold this network.
    """

    def __init__(
        self,
        *,
        checkpoint: Path | None = None,
        channels: Sequence[int] = (64, 64, 128, 128, 256),
        descriptor_dim: int = 256,
        batch_norm: bool = True,
        sampling: Sampling = "centre",
        nms_radius: int = 4,
        border: int = 4,
        threshold: float = 0.005,
        max_keypoints: int | None = None,
    ) -> None:
        super().__init__()
        self.network = SuperPointNetwork(
            channels=channels, descriptor_dim=descriptor_dim, batch_norm=batch_norm
        )
        self.sampling: Sampling = sampling
        self.nms_radius = nms_radius
        self.border = border
        self.threshold = threshold
        self.max_keypoints = max_keypoints
        if checkpoint is not None:
            # rpautrat's file was converted from TensorFlow, which does not count batches as torch does.
            counters = {
                key: value
                for key, value in self.network.state_dict().items()
                if key.endswith(".bn.num_batches_tracked")
            }
            restore(
                self.network,
                counters | from_magicleap(load_state(checkpoint)),
                name=f"SuperPoint, {checkpoint}",
            )
        self.eval()

    @property
    def multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        return self.network.stride

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, best first, with unit-norm descriptors.

        Args:
            images: RGB in [0, 1]; made gray with the weights of ITU-R BT.601.
            features: not read.

        Raises:
            ShapeError: height or width is no multiple of `multiple`.
        """
        dense = self.network(gray(images))
        peaks = suppress(dense.score, self.nms_radius)
        return [
            self._describe(find_peaks(peak, self.threshold, self.border, self.max_keypoints), descriptor)
            for peak, descriptor in zip(peaks, dense.descriptor, strict=True)
        ]

    def _describe(self, keypoints: Keypoints, descriptor: Tensor) -> Keypoints:
        read = sample_descriptors(
            descriptor[None], keypoints.xy[None], stride=self.network.stride, sampling=self.sampling
        )
        return keypoints.described_by(read[0]).best(None)


class DenseSuperPoint(NamedTuple):
    """What the network predicts for every pixel and every cell.

    Attributes:
        score: [B H W] probability that the pixel is a keypoint, before any suppression.
        descriptor: [B D h w] unit-norm descriptor of each cell.
    """

    score: Float[Tensor, "B H W"]
    descriptor: Float[Tensor, "B D h w"]


class SuperPointNetwork(nn.Module):
    """The network alone, under the key names of rpautrat's weights.

    Args:
        channels: of each stage and, last, of the two heads.
        descriptor_dim: channels of a descriptor.
        batch_norm: normalise after each activation, and after the two last convolutions.
    """

    def __init__(self, *, channels: Sequence[int], descriptor_dim: int, batch_norm: bool = True) -> None:
        super().__init__()
        *stages, head = channels
        self.stride = 2 ** (len(stages) - 1)
        self.backbone = nn.ModuleList(
            nn.Sequential(_block(before, width, 3, batch_norm), _block(width, width, 3, batch_norm))
            for before, width in pairwise((1, *stages))
        )
        # One probability for each pixel of a cell, and one for "none of them".
        self.detector = _head(stages[-1], head, self.stride**2 + 1, batch_norm)
        self.descriptor = _head(stages[-1], head, descriptor_dim, batch_norm)

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> DenseSuperPoint:
        """Map gray values in [0, 1] to scores and descriptors, both in float32.

        Raises:
            ShapeError: height or width is no multiple of the stride.
        """
        check_multiple((image.shape[-2], image.shape[-1]), self.stride, name="SuperPoint")
        for index, stage in enumerate(self.backbone):
            image = stage(F.max_pool2d(image, 2) if index else image)
        probability = self.detector(image).float().softmax(dim=1)[:, :-1]
        return DenseSuperPoint(
            score=F.pixel_shuffle(probability, self.stride)[:, 0],
            descriptor=F.normalize(self.descriptor(image).float(), dim=1),
        )


def gray(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Weigh red, green and blue as ITU-R BT.601 does (0.299, 0.587, 0.114): what both releases were fed."""
    weights = images.new_tensor((0.299, 0.587, 0.114))
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)


def suppress(score: Float[Tensor, "B H W"], radius: int) -> Float[Tensor, "B H W"]:
    """Set to zero every score that is not the peak of its window of 2 radius + 1 pixels.

    After the maxima, two more rounds look for maxima among the pixels outside of the windows of
    those already found. Equal neighbours survive together.
    """
    kept = score == _window_maximum(score, radius)
    for _ in range(2):
        covered = _window_maximum(kept.to(score), radius) > 0
        rest = score.masked_fill(covered, 0)
        kept = kept | (~covered & (rest == _window_maximum(rest, radius)))
    return score.masked_fill(~kept, 0)


def find_peaks(
    peaks: Float[Tensor, "H W"], threshold: float, border: int, max_keypoints: int | None = None
) -> Keypoints:
    """List the peaks of a suppressed score map, undescribed.

    Args:
        peaks: as `suppress` returns it.
        threshold: keep scores above this.
        border: ignore this many pixels along each side.
        max_keypoints: keep at most this many.

    Returns:
        Row by row if all were kept; best first if `max_keypoints` cut some off. Both releases do so.
    """
    height, width = peaks.shape
    inner = peaks[border : max(height - border, border), border : max(width - border, border)]
    y, x = (inner > threshold).nonzero(as_tuple=True)
    found = Keypoints(xy=torch.stack((x, y), dim=1).to(peaks) + border, score=inner[y, x])
    return found if max_keypoints is None or len(found) <= max_keypoints else found.best(max_keypoints)


def sample_descriptors(
    descriptor: Float[Tensor, "B D h w"],
    xy: Float[Tensor, "B N 2"],
    *,
    stride: int,
    sampling: Sampling = "centre",
) -> Float[Tensor, "B N D"]:
    """Read unit-norm descriptors at pixel coordinates.

    Beyond the map descriptors are zero, so that they fade at the border before they are normalised.

    Args:
        descriptor: map of cells of `stride` x `stride` pixels.
        xy: pixel coordinates in the image.
        stride: pixels of a cell.
        sampling: "centre" reads at the point itself. "magicleap" reads where their
            `sample_descriptors` does: it aligns the image's span with the corner cells by dividing by
            `stride w - stride / 2 - 0.5` where the corner cells are `stride (w - 1)` pixels apart, which
            pulls positions to the top left, by almost half a cell at the far end. Their weights come
            with it.
    """
    height, width = descriptor.shape[2:]
    cell = resize_pixel(xy, (height * stride, width * stride), (height, width))
    if sampling == "magicleap":
        apart = stride * (xy.new_tensor((width, height)) - 1)
        cell = cell * apart / (apart + (stride - 1) / 2)
    read = sample_points(descriptor, pixel_to_normalised(cell, (height, width)), padding="zeros")
    return F.normalize(read, dim=-1)


def from_magicleap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of Magic Leap's checkpoint to rpautrat's; any other key stays as it is.

    >>> list(from_magicleap({"conv3b.weight": torch.zeros(1), "convDa.bias": torch.zeros(1)}))
    ['backbone.2.1.conv.weight', 'descriptor.0.conv.bias']
    """
    return {_renamed(key): value for key, value in state.items()}


def _renamed(key: str) -> str:
    parts = re.fullmatch(r"conv([1-9PD])([ab])\.(weight|bias)", key)
    if parts is None:
        return key
    stage, half, parameter = parts.groups()
    place = {"P": "detector", "D": "descriptor"}.get(stage) or f"backbone.{int(stage) - 1}"
    return f"{place}.{'ab'.index(half)}.conv.{parameter}"


def _window_maximum(map_: Tensor, radius: int) -> Tensor:
    # Rows, then columns: the same maximum for 2 (2r + 1) comparisons a pixel instead of (2r + 1)^2.
    span = 2 * radius + 1
    rows = F.max_pool2d(map_, (1, span), stride=1, padding=(0, radius))
    return F.max_pool2d(rows, (span, 1), stride=1, padding=(radius, 0))


def _head(inputs: int, hidden: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    return nn.Sequential(
        _block(inputs, hidden, 3, batch_norm), _block(hidden, outputs, 1, batch_norm, activated=False)
    )


def _block(
    inputs: int, outputs: int, kernel: int, batch_norm: bool, *, activated: bool = True
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    )
    if activated:
        layers["activation"] = nn.ReLU(inplace=True)
    if batch_norm:
        # After the activation and with TensorFlow's epsilon: the weights were converted from there.
        layers["bn"] = nn.BatchNorm2d(outputs, eps=1e-3)
    return nn.Sequential(layers)
