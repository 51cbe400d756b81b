"""ALIKED keypoints and descriptors: the published network and its weights, in a fraction of the time.

Source: Zhao et al., "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable
Transformation" (2023). `kornia.feature.ALIKED` holds the weights and is what the tests compare with.

The authors and kornia enlarge four levels (strides 1, 2, 8 and 32) to full resolution, join and normalise
them, compute scores everywhere, and read descriptors at a few thousand points. The same numbers cost less:

- A 1x1 convolution without bias commutes with bilinear enlarging. So the first convolution of the score
  head runs on each level alone, and its 8 channels are enlarged in place of 128.
- Descriptors need the joined map near keypoints only. There its pixels are joined and normalised one by one.
- What has full resolution is computed in strips of rows that fit into the processor's cache.
- Batch norms are folded into the convolutions before them. They keep their trained statistics, in training
  mode too.

Keypoints are refined to fractions of a pixel, with the integers at pixel centres.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import kornia.feature
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.weights import load_state, restore

Variant = Literal["aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32"]

MULTIPLE = 32  # the sides that the network works on; its coarsest level has this stride
MANY = 20_000  # keypoints of an image without max_keypoints, as in the authors' code
SCALE, ALPHA = 1.0507009873554804934, 1.6732632423543772848  # of SELU
TEMPERATURE = 0.1  # of the softmax that refines a keypoint
STRIP = (
    2**17
)  # pixels of a strip on the CPU: 8 MB of 16 channels; smaller ones make threads wait for each other
STRIP_ON_DEVICE = 2**21  # an accelerator prefers few large steps
CHUNK = 512  # keypoints described at once: their pixels need 20 to 40 MB


class Aliked(nn.Module):
    """Detects and describes keypoints; a `homolog.core.protocols.Detector`.

    An image of which no pixel scores above the threshold keeps its peaks above the mean score: so
    the authors' code does, and so a dim image still has keypoints.

    Args:
        checkpoint: the official file of the variant, `aliked-n16.pth` and so on; None leaves the
            weights random.
        variant: which network: t16 is tiny with 64-d descriptors, the others have 128-d ones.
        nms_radius: a keypoint has the one highest score of a window of 2 nms_radius + 1 pixels.
        threshold: a peak's score, in [0, 1], is above this; 0 keeps the `max_keypoints` best whatever they score.
        max_keypoints: keep at most this many keypoints of an image, those with the highest peaks before
            they are refined; None keeps up to 20 000.

    Raises:
        WeightsError: the checkpoint does not hold this network.
    """

    # Any size: the network repeats the image's edge up to a multiple of 32 and cuts its maps back.
    multiple: int = 1

    def __init__(
        self,
        *,
        checkpoint: Path | None = None,
        variant: Variant = "aliked-n16",
        nms_radius: int = 2,
        threshold: float = 0.2,
        max_keypoints: int | None = None,
    ) -> None:
        super().__init__()
        self.nms_radius, self.threshold, self.max_keypoints = nms_radius, threshold, max_keypoints
        self.network = kornia.feature.ALIKED(
            model_name=variant,
            max_num_keypoints=-1 if max_keypoints is None else max_keypoints,
            detection_threshold=threshold,
            nms_radius=nms_radius,
        )
        if checkpoint is not None:
            # Offsets of a window, no weights: kornia lists them in its state, the official files do not.
            offsets = self.network.dkd.get_buffer("hw_grid")
            restore(
                self.network,
                {"dkd.hw_grid": offsets, **load_state(checkpoint)},
                name=f"ALIKED {variant}, {checkpoint}",
            )
        self.eval()

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the keypoints of each image, best first, with unit-norm descriptors.

        Args:
            images: RGB in [0, 1].
            features: not read.
        """
        dtype = next(self.network.parameters()).dtype
        # One by one: the memory is that of one image, and an image's answer never depends on the others.
        return [self._detect(image[None].to(dtype)) for image in images]

    def _detect(self, image: Float[Tensor, "1 3 H W"]) -> Keypoints:
        levels, score = _levels_and_score(self.network, image)
        peaks = _peaks(score, self.nms_radius, self.threshold, self.max_keypoints)
        xy, at = _refined(score, peaks, self.nms_radius)
        descriptor = _descriptors(self.network.desc_head, levels, xy)
        return Keypoints(xy=xy, score=at, descriptor=descriptor).best(None)


# -- the levels and the score map


class _Levels(NamedTuple):
    """What the joined map is made of, and where the image lies in it (the rest is padding)."""

    full: Tensor  # [1 C H W], before its 1x1 convolution
    project: Tensor  # [D/4 C 1 1], that convolution
    coarse: list[Tensor]  # three maps [1 D/4 h w]
    corner: tuple[int, int]  # (x, y) of the image's first pixel
    size: Size  # of the image


def _levels_and_score(network: Any, image: Tensor) -> tuple[_Levels, Float[Tensor, "H W"]]:
    size = (image.shape[-2], image.shape[-1])
    down, right = (-side % MULTIPLE for side in size)
    corner = (right // 2, down // 2)
    padded = F.pad(image, (corner[0], right - corner[0], corner[1], down - corner[1]), mode="replicate")
    padded = padded.contiguous(memory_format=torch.channels_last)

    # The first layer of the score head, cut into the part of each level.
    first, *others = (layer.weight for layer in network.score_head if isinstance(layer, nn.Conv2d))
    parts = first.chunk(4, dim=1)
    full, half, score8 = _full_resolution(network, padded, parts[0])
    x3, level2 = _half_resolution(network, half)
    x3 = _deformable_block(network.block3, x3)
    x4 = _deformable_block(network.block4, F.avg_pool2d(x3, 4))
    level3, level4 = _selu(_pointwise(x3, network.conv3.weight)), _selu(_pointwise(x4, network.conv4.weight))
    coarse = [level2, level3, level4]
    heads = [_pointwise(level, part) for level, part in zip(coarse, parts[1:], strict=True)]
    # In float32, so that neighbours do not tie in half precision: ties are no peaks.
    with torch.autocast(image.device.type, enabled=False):
        score = _score(score8, heads, [weight.float() for weight in others])
    inside = score[corner[1] : corner[1] + size[0], corner[0] : corner[0] + size[1]]
    return _Levels(full, network.conv1.weight, coarse, corner, size), inside


def _full_resolution(network: Any, image: Tensor, head: Tensor) -> list[Tensor]:
    """Return the first level [1 C H W], the same at half resolution, and its part of the score head [1 8 H W]."""
    block = network.block1
    first, second = _folded(block.conv1, block.bn1), _folded(block.conv2, block.bn2)

    def strips() -> Iterator[list[Tensor]]:
        for top, bottom in _strips(image):
            x = _selu(_two_convolutions(image, top, bottom, first, second))
            yield [x, F.avg_pool2d(x, 2), _pointwise(_selu(_pointwise(x, network.conv1.weight)), head)]

    height = image.shape[2]
    return _assembled(strips(), height, height // 2, height)


def _half_resolution(network: Any, x: Tensor) -> list[Tensor]:
    """Return the input of the third block, at a quarter of the resolution of x, and the second level."""
    block = network.block2
    first, second = _folded(block.conv1, block.bn1), _folded(block.conv2, block.bn2)

    def strips() -> Iterator[list[Tensor]]:
        for top, bottom in _strips(x):
            shortcut = _pointwise(x[:, :, top:bottom], block.downsample.weight, block.downsample.bias)
            out = _selu(_two_convolutions(x, top, bottom, first, second) + shortcut)
            yield [F.avg_pool2d(out, 4), _selu(_pointwise(out, network.conv2.weight))]

    return _assembled(strips(), x.shape[2] // 4, x.shape[2])


def _score(score8: Tensor, heads: list[Tensor], weights: list[Tensor]) -> Float[Tensor, "H W"]:
    """Add the enlarged parts of the coarse levels, and run the rest of the score head."""
    channels, height, width = score8.shape[1:]
    halo = len(weights)
    # Along rows first, where the maps are still few rows high.
    wide = [
        F.interpolate(head.float(), size=(head.shape[2], width), mode="bilinear", align_corners=True)
        for head in heads
    ]

    def strips() -> Iterator[list[Tensor]]:
        for top, bottom in _strips(score8):
            start, end = max(top - halo, 0), min(bottom + halo, height)
            x = _flat_rows(score8[:, :, start:end]).float()
            for map_ in wide:
                x = _add_enlarged(x, map_, start, height)
            x = x.reshape(1, end - start, width, channels).permute(0, 3, 1, 2)
            for weight in weights:
                x, start = _convolved(_selu(x), start, height, weight, None)
            yield [x[:, :, top - start : bottom - start].sigmoid()]

    return _assembled(strips(), height)[0][0, 0]


def _flat_rows(x: Float[Tensor, "1 C h W"]) -> Float[Tensor, "h WC"]:
    return x[0].permute(1, 2, 0).flatten(1)


def _add_enlarged(x: Float[Tensor, "R WC"], map_: Tensor, start: int, height: int) -> Float[Tensor, "R WC"]:
    """Add rows of a map [1 C h W] enlarged to `height` rows (`align_corners=True`), from row `start` on.

    Interpolation is a product with a matrix of triangles, of which a strip needs a few columns.
    """
    scale = (map_.shape[2] - 1) / (height - 1)
    first, last = int(start * scale), min(int((start + len(x) - 1) * scale) + 1, map_.shape[2] - 1)
    at = torch.arange(start, start + len(x), device=x.device)[:, None] * scale
    triangle = (1 - (at - torch.arange(first, last + 1, device=x.device)).abs()).clamp(min=0)
    return x.addmm(triangle, _flat_rows(map_[:, :, first : last + 1]))


# -- convolutions


def _folded(convolution: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution without bias, followed by a batch norm in evaluation mode."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = convolution.weight * scale[:, None, None, None]
    return weight.contiguous(memory_format=torch.channels_last), norm.bias - norm.running_mean * scale


def _selu(x: Tensor) -> Tensor:
    """Return `F.selu(x)`; on the CPU torch's is half as slow again, and most of the time is spent here."""
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return F.selu(x)
    below = x.clamp(max=0).exp_()
    slope = SCALE * ALPHA
    return torch.rsub(x, -slope, alpha=-SCALE).clamp_(min=-slope).add_(below, alpha=slope)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a 1x1 convolution, by oneDNN with one thread too: torch takes it for dilated kernels only."""
    return F.conv2d(x, weight, bias, dilation=2)


def _strips(x: Tensor) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each strip of a map; their rows are multiples of 4, as pooling needs."""
    pixels = STRIP if x.device.type == "cpu" else STRIP_ON_DEVICE
    rows = max(8, pixels // x.shape[3] // 4 * 4)
    for top in range(0, x.shape[2], rows):
        yield top, min(top + rows, x.shape[2])


def _assembled(strips: Iterable[list[Tensor]], *heights: int) -> list[Tensor]:
    """Copy consecutive strips to maps of these heights; `torch.cat` would hold all of them twice."""
    maps: list[Tensor] = []
    rows = [0 for _ in heights]
    for parts in strips:
        if not maps:
            maps = [
                part.new_empty(1, height, part.shape[3], part.shape[1]).permute(0, 3, 1, 2)
                for part, height in zip(parts, heights, strict=True)
            ]
        for number, part in enumerate(parts):
            end = rows[number] + part.shape[2]
            maps[number][:, :, rows[number] : end] = part
            rows[number] = end
    return maps


def _two_convolutions(
    x: Tensor, top: int, bottom: int, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> Tensor:
    """Return rows top to bottom of two 3x3 convolutions with SELU between them."""
    height = x.shape[2]
    start = max(top - 2, 0)
    middle, start = _convolved(x[:, :, start : min(bottom + 2, height)], start, height, *first)
    out, start = _convolved(_selu(middle), start, height, *second)
    return out[:, :, top - start : bottom - start]


def _convolved(
    strip: Tensor, start: int, height: int, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, int]:
    """Return the 3x3 convolution of the rows whose neighbours are known, and the first of them.

    Args:
        strip: rows of a map, from row `start` on.
        start: see strip.
        height: rows of the whole map. Zeros lie above and below the map, as they do beside it.
        weight: [O I 3 3].
        bias: [O] or None.
    """
    above, below = start == 0, start + strip.shape[2] == height
    padded = F.pad(strip, (0, 0, int(above), int(below))) if above or below else strip
    return F.conv2d(padded, weight, bias, padding=(0, 1)), start if above else start + 1


def _deformable_block(block: Any, x: Tensor) -> Tensor:
    middle = _selu(_deformed(block.conv1, block.bn1, x))
    shortcut = _pointwise(x, block.downsample.weight, block.downsample.bias)
    return _selu(_deformed(block.conv2, block.bn2, middle) + shortcut)


def _deformed(
    convolution: Any, norm: nn.BatchNorm2d, x: Float[Tensor, "1 C h w"]
) -> Float[Tensor, "1 O h w"]:
    """Apply a 3x3 deformable convolution and its batch norm: each tap reads the map at a learned offset."""
    height, width = x.shape[-2:]
    weight, bias = _folded(convolution.regular_conv, norm)
    reach = max(height, width) / 4
    offset = convolution.offset_conv(x).float().clamp(-reach, reach)
    # Tap by tap, (y, x) each, then pixel by pixel.
    offset = offset.unflatten(1, (3, 3, 2))[0]
    tap = torch.arange(-1, 2, device=x.device)
    down = offset[:, :, 0] + tap[:, None, None, None] + torch.arange(height, device=x.device)[:, None]
    right = offset[:, :, 1] + tap[:, None, None] + torch.arange(width, device=x.device)
    right, down = (part.permute(2, 3, 0, 1).flatten() for part in (right, down))
    read = _read(x, right, down).to(x.dtype).reshape(height * width, -1)
    out = F.linear(read, weight.permute(0, 2, 3, 1).flatten(1), bias)
    return out.reshape(1, height, width, -1).permute(0, 3, 1, 2)


# -- reading maps at points


def _corners(
    x: Float[Tensor, " P"], y: Float[Tensor, " P"], size: Size
) -> tuple[Int[Tensor, "P 4"], Float[Tensor, "P 4"]]:
    """Return the four pixels around each point, as y * width + x, and their bilinear weights, zero outside."""
    left, right, left_weight, right_weight = _neighbours(x, size[1])
    top, bottom, top_weight, bottom_weight = _neighbours(y, size[0])
    top, bottom = top * size[1], bottom * size[1]
    index = torch.stack((top + left, top + right, bottom + left, bottom + right)).T
    weight = torch.stack(
        (
            top_weight * left_weight,
            top_weight * right_weight,
            bottom_weight * left_weight,
            bottom_weight * right_weight,
        )
    ).T
    return index.contiguous(), weight.contiguous()


def _neighbours(x: Float[Tensor, " P"], length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the pixels below and above each coordinate, clamped to the map, and their weights."""
    below = x.floor()
    part, above = x - below, below + 1
    first, second = below.clamp(0, length - 1), above.clamp(0, length - 1)
    return first.long(), second.long(), (1 - part) * (first == below), part * (second == above)


def _read(
    map_: Float[Tensor, "1 C h w"], x: Float[Tensor, " P"], y: Float[Tensor, " P"]
) -> Float[Tensor, "P C"]:
    """Read a map at pixel positions, bilinearly, with zeros outside; in float32.

    A weighted sum of rows of a table is what `embedding_bag` computes, without the four corners in memory.
    """
    index, weight = _corners(x, y, (map_.shape[2], map_.shape[3]))
    return F.embedding_bag(index, _table(map_).float(), per_sample_weights=weight, mode="sum")


def _table(map_: Float[Tensor, "1 C h w"]) -> Float[Tensor, "P C"]:
    return map_[0].permute(1, 2, 0).flatten(0, 1)


# -- keypoints


def _peaks(
    score: Float[Tensor, "H W"], radius: int, threshold: float, max_keypoints: int | None
) -> Int[Tensor, " N"]:
    """Return the peaks to keep, as y * W + x: each is the one maximum of its window, all inside the image."""
    height, width = score.shape
    if min(height, width) <= 2 * radius:
        return torch.empty(0, dtype=torch.long, device=score.device)
    found = score.detach()
    y, x = _maxima(found, radius).nonzero(as_tuple=True)
    peaks = (y + radius) * width + x + radius
    value = found.flatten()[peaks]
    if threshold > 0:
        bound = threshold if bool((value > threshold).any()) else found.mean()
    else:
        bound = found.mean() if max_keypoints is None else -torch.inf
    peaks, value = peaks[value > bound], value[value > bound]
    order = value.sort(descending=True, stable=True).indices
    return peaks[order[: MANY if max_keypoints is None else max_keypoints]]


def _maxima(score: Float[Tensor, "H W"], radius: int) -> Bool[Tensor, "h w"]:
    """Return which pixels exceed all others of their window; without the border, where windows leave the map.

    Whole rows of the windows first, then their maximum above and below: a maximum of shifted maps is an order
    of magnitude faster than torch's pooling.
    """
    height, width = (length - 2 * radius for length in score.shape)
    shifts = range(2 * radius + 1)
    beside = torch.full_like(score[:, :width], -torch.inf)
    for shift in shifts:
        if shift != radius:
            beside = torch.maximum(beside, score[:, shift : shift + width])
    rows = torch.maximum(beside, score[:, radius : radius + width])
    others = beside[radius : radius + height]
    for shift in shifts:
        if shift != radius:
            others = torch.maximum(others, rows[shift : shift + height])
    return score[radius : radius + height, radius : radius + width] > others


def _window(radius: int, width: int, device: torch.device) -> Int[Tensor, " K"]:
    step = torch.arange(-radius, radius + 1, device=device)
    return (step[:, None] * width + step).flatten()


def _refined(
    score: Float[Tensor, "H W"], peaks: Int[Tensor, " N"], radius: int
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, " N"]]:
    """Move each peak to the soft-argmax of its window; return the pixel positions and the scores there."""
    width = score.shape[1]
    window = score.flatten()[peaks[:, None] + _window(radius, width, score.device)]
    weight = (window / TEMPERATURE).softmax(dim=1).unflatten(1, (2 * radius + 1, -1))
    step = torch.arange(-radius, radius + 1, device=score.device, dtype=weight.dtype)
    # Sums of products, not matrix products, which autocast would round to half precision.
    shift = torch.stack([(weight.sum(dim=axis) * step).sum(dim=1) for axis in (1, 2)], dim=1)
    xy = torch.stack((peaks % width, peaks // width), dim=1) + shift
    return xy, _read(score[None, None], *xy.unbind(1))[:, 0]


# -- descriptors


def _descriptors(head: Any, levels: _Levels, xy: Float[Tensor, "N 2"]) -> Float[Tensor, "N D"]:
    """Describe keypoints by features at deformable positions around them."""
    if len(xy) == 0:
        return xy.new_empty(0, head.agg_weights.shape[2])
    return torch.cat([_described(head, levels, part) for part in xy.split(CHUNK)])


def _described(head: Any, levels: _Levels, xy: Float[Tensor, "N 2"]) -> Float[Tensor, "N D"]:
    height, width = levels.size
    first, _, second = head.offset_conv
    side = head.kernel_size
    limit = torch.tensor((width - 1 - side, height - 1 - side), device=xy.device)
    corner = (xy.long() - 1).minimum(limit).clamp(min=0)
    step = torch.arange(side, device=xy.device)
    index = (corner[:, 1, None, None] + step[:, None]) * width + corner[:, 0, None, None] + step
    patch, inverse = _joined(levels, index.flatten())
    patch = (patch * inverse[:, None].to(patch.dtype)).reshape(len(xy), -1)
    offset = F.linear(patch, first.weight.permute(0, 2, 3, 1).flatten(1), first.bias)
    offset = F.linear(_selu(offset), second.weight[:, :, 0, 0], second.bias)
    reach = max(height, width) / 4
    offset = offset.float().clamp(-reach, reach).unflatten(1, (2, -1)).transpose(1, 2)

    # Normalised pixels are interpolated, and not normalised again: so the network was trained.
    at = (xy[:, None] + offset).flatten(0, 1)
    index, weight = _corners(at[:, 0], at[:, 1], levels.size)
    pixels, inverse = _joined(levels, index.flatten())
    rows = torch.arange(index.numel(), device=xy.device).reshape(index.shape)
    weight = weight * inverse.reshape(index.shape)
    features = F.embedding_bag(rows, pixels.float(), per_sample_weights=weight, mode="sum").to(pixels.dtype)
    features = _selu(F.linear(features, head.sf_conv.weight[:, :, 0, 0]))
    descriptor = features.reshape(len(xy), -1) @ head.agg_weights.flatten(0, 1)
    return F.normalize(descriptor.float(), dim=1)


def _joined(levels: _Levels, index: Int[Tensor, " P"]) -> tuple[Float[Tensor, "P D"], Float[Tensor, " P"]]:
    """Return pixels of the image, y * width + x, in the joined and enlarged map, and one over their norms."""
    width = levels.size[1]
    x, y = index % width + levels.corner[0], index // width + levels.corner[1]
    rows, columns = levels.full.shape[2:]
    own = F.embedding(y * columns + x, _table(levels.full))
    parts = [_selu(F.linear(own, levels.project[:, :, 0, 0]))]
    for level in levels.coarse:
        scale = (level.shape[3] - 1) / (columns - 1), (level.shape[2] - 1) / (rows - 1)
        parts.append(_read(level, x * scale[0], y * scale[1]).to(own.dtype))
    joined = torch.cat(parts, dim=1)
    return joined, 1 / torch.linalg.vector_norm(joined.float(), dim=1).clamp(min=1e-12)
