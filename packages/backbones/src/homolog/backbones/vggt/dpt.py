"""The dense decoder: token maps of several depths fused, coarse to fine, into one map per image pixel.

Ranftl et al., "Vision Transformers for Dense Prediction" (ICCV 2021), section 3, as VGGT trained it.
Modules carry the names of the published weights. `Decoder` offers it, untrained, to other heads.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.backbones.vggt.layers import DTYPES
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, ShapeError, did_you_mean

Activation = Callable[[Tensor], Tensor]


def inverse_log(x: Tensor) -> Tensor:
    """Return sign(x) (exp(|x|) - 1): small values stay small, large ones reach far."""
    return x.sign() * x.abs().expm1()


def one_plus_exp(x: Tensor) -> Tensor:
    """Return 1 + exp(x), VGGT's score of a pixel: 1 means no trust at all."""
    return 1 + x.exp()


class ResidualUnit(nn.Module):
    """Two convolutions around a skip."""

    def __init__(self, width: int) -> None:
        """Build the unit for maps of `width` channels."""
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Refine a map.

        The skip carries the rectified input: upstream's first ReLU works in place, and the weights
        were trained with it. A textbook pre-activation unit is wrong by half of the output.
        """
        rectified = x.relu()
        return rectified + self.conv2(self.conv1(rectified).relu_())


class Fusion(nn.Module):
    """Joins what came from the coarser levels with the map of this level, and enlarges it."""

    def __init__(self, width: int, *, skip: bool) -> None:
        """Build the stage.

        Args:
            width: channels of all maps.
            skip: False for the coarsest level, which nothing came before.
        """
        super().__init__()
        if skip:
            self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(
        self, x: Float[Tensor, "B C h w"], skip: Float[Tensor, "B C h w"] | None, size: Size
    ) -> Float[Tensor, "B C H W"]:
        """Fuse and resize to `size`."""
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        # Upstream enlarges first. A 1x1 convolution and an interpolation whose weights sum to one
        # commute, and this order needs a quarter of the work.
        return resize(self.out_conv(self.resConfUnit2(x)), size)


class DPT(nn.Module):
    """Fuses maps of several depths into values and a score per pixel of the image.

    Attributes:
        frames_per_chunk: images decoded at once; fewer need less memory, the mathematics is the same.
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        channels: Sequence[int] = (256, 512, 1024, 1024),
        scales: Sequence[float | int] = (4, 2, 1, 0.5),
        width: int = 256,
        hidden: int = 32,
        activation: Activation = torch.exp,
        score_activation: Activation = one_plus_exp,
        position_weight: float | int = 0.1,
        frames_per_chunk: int = 1,
    ) -> None:
        """Build the decoder.

        Args:
            inputs: channels of each map it reads.
            outputs: channels it writes, the score included.
            channels: per level, finest first: channels after its projection.
            scales: per level: how much larger than its map it is decoded; at least 1 or a half.
            width: channels during fusion.
            hidden: channels before the last convolution.
            activation: of all output channels but the last.
            score_activation: of the last output channel.
            position_weight: of the sinusoidal positions added to the maps; 0 leaves them out.
            frames_per_chunk: images decoded at once.

        Raises:
            ConfigError: levels that do not fit each other, channels that positions cannot share, or no
                image in a chunk.
        """
        super().__init__()
        if len(channels) != len(scales):
            raise ConfigError(f"DPT: expected one scale per level, got {len(channels)} and {len(scales)}")
        if position_weight and any(count % 4 for count in (*channels, width // 2)):
            raise ConfigError(
                f"DPT: expected channels and width / 2 in fours, got {list(channels)} and {width}"
            )
        if frames_per_chunk < 1:
            raise ConfigError(f"DPT: expected frames_per_chunk of at least 1, got {frames_per_chunk}")
        self.activation = activation
        self.score_activation = score_activation
        self.position_weight = position_weight
        self.frames_per_chunk = frames_per_chunk
        self.norm = nn.LayerNorm(inputs)
        self.projects = nn.ModuleList([nn.Conv2d(inputs, count, 1) for count in channels])
        self.resize_layers = nn.ModuleList(
            [_resampler(count, scale) for count, scale in zip(channels, scales, strict=True)]
        )
        scratch: dict[str, nn.Module] = {}
        for level, count in enumerate(channels, start=1):
            scratch[f"layer{level}_rn"] = nn.Conv2d(count, width, 3, padding=1, bias=False)
            scratch[f"refinenet{level}"] = Fusion(width, skip=level < len(channels))
        scratch["output_conv1"] = nn.Conv2d(width, width // 2, 3, padding=1)
        scratch["output_conv2"] = nn.Sequential(
            nn.Conv2d(width // 2, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, outputs, 1)
        )
        self.scratch = nn.ModuleDict(scratch)

    def forward(
        self, maps: Sequence[Float[Tensor, "B V C h w"]], image_size: Size
    ) -> tuple[Float[Tensor, "B V K H W"], Float[Tensor, "B V H W"]]:
        """Decode one map per level into K values and a score per pixel.

        Args:
            maps: finest level first; all of the same size.
            image_size: (height, width) of the images, and of the result.

        Returns:
            Values and scores, after their activations, in float32.
        """
        raw = self.raw(maps, image_size)
        return self.activation(raw[:, :, :-1]), self.score_activation(raw[:, :, -1])

    def raw(self, maps: Sequence[Float[Tensor, "B V C h w"]], image_size: Size) -> Float[Tensor, "B V K H W"]:
        """Decode without activations; the last of the K channels is the score."""
        if len(maps) != len(self.projects):
            raise ShapeError(f"DPT: expected {len(self.projects)} maps, got {len(maps)}")
        chunks = zip(*(map_.flatten(0, 1).split(self.frames_per_chunk) for map_ in maps), strict=True)
        decoded = [self.finish(self.fuse(self.levels(chunk, image_size)), image_size) for chunk in chunks]
        return torch.cat(decoded).unflatten(0, maps[0].shape[:2])

    def levels(self, maps: Sequence[Float[Tensor, "B C h w"]], image_size: Size) -> list[Tensor]:
        """Project every map, mark it with positions, and bring it to the scale of its level."""
        levels: list[Tensor] = []
        for map_, project, resample in zip(maps, self.projects, self.resize_layers, strict=True):
            # Channels last in memory: the norm and the 1x1 convolution then read tokens as they lie.
            normal = self.norm(map_.movedim(1, -1).to(self.norm.weight.dtype)).movedim(-1, 1)
            level = project(normal.to(cast(nn.Conv2d, project).weight.dtype))
            levels.append(resample(self._mark(level, image_size)))
        return levels

    def fuse(self, levels: Sequence[Float[Tensor, "B _C _h _w"]]) -> Float[Tensor, "B C h w"]:
        """Fuse the levels from the coarsest to the finest; the result is twice as fine as that."""
        sizes = [_size(level) for level in levels]
        finest = sizes[0][0] * 2, sizes[0][1] * 2
        x = self.scratch[f"layer{len(levels)}_rn"](levels[-1])
        for index in range(len(levels), 0, -1):
            skip = self.scratch[f"layer{index}_rn"](levels[index - 1]) if index < len(levels) else None
            x = self.scratch[f"refinenet{index}"](x, skip, sizes[index - 2] if index > 1 else finest)
        return self.scratch["output_conv1"](x)

    def finish(self, fused: Float[Tensor, "B C h w"], image_size: Size) -> Float[Tensor, "B K H W"]:
        """Enlarge to the image and read off the outputs, in float32 whatever came before.

        Just below 1, neighbouring bfloat16 numbers are 2^-8 apart: about a pixel of a 518 px grid.
        """
        last = self.scratch["output_conv2"]
        with torch.autocast(fused.device.type, enabled=False):
            return last(self._mark(resize(fused.float(), image_size), image_size))

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Cast all convolutions but the last two, in place."""
        for module in (self.projects, self.resize_layers, self.scratch):
            module.to(dtype)
        self.scratch["output_conv2"].float()

    def _mark(self, x: Tensor, image_size: Size) -> Tensor:
        if not self.position_weight:
            return x
        # Half of the channels depend on the column alone, the others on the row alone: adding them
        # as such, in place on what a convolution just made, never builds a map of image size.
        half = x.shape[1] // 2
        height, width = image_size
        diagonal = math.hypot(height, width)
        columns = _sinusoids(x.shape[3], width / diagonal, half, x.device) * self.position_weight
        rows = _sinusoids(x.shape[2], height / diagonal, half, x.device) * self.position_weight
        x[:, :half] += columns[:, None, :]
        x[:, half:] += rows[:, :, None]
        return x


def resize(x: Float[Tensor, "B C h w"], size: Size) -> Float[Tensor, "B C H W"]:
    """Resize bilinearly with the corner cells' centres kept in place, as the weights were trained."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _resampler(channels: int, scale: float | int) -> nn.Module:
    if scale == 1:
        return nn.Identity()
    if scale > 1:
        return nn.ConvTranspose2d(channels, channels, int(scale), stride=int(scale))
    return nn.Conv2d(channels, channels, 3, stride=round(1 / scale), padding=1)


def _sinusoids(count: int, extent: float, channels: int, device: torch.device) -> Tensor:
    """Return [channels count]: sines, then cosines, of cell centres that span -extent to extent."""
    limit = extent * (count - 1) / count
    positions = torch.linspace(-limit, limit, count, dtype=torch.float32).double()
    exponents = torch.arange(channels // 2, dtype=torch.float64) / (channels / 2)
    # On the CPU, because frequencies need float64 and not every accelerator has it.
    angles = positions * (100.0**-exponents)[:, None]
    return torch.cat((angles.sin(), angles.cos())).float().to(device)


def _size(x: Tensor) -> Size:
    return int(x.shape[2]), int(x.shape[3])


class Decoder(nn.Module):
    """Fuses maps of several depths into K raw values per pixel of the image, always float32.

    What the values mean, and which activation makes them that, is up to the head that it is handed to.

    Attributes:
        inputs: channels of each map it reads.
        levels: how many maps it reads, finest level first.
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        channels: Sequence[int] = (256, 512, 1024, 1024),
        scales: Sequence[float | int] = (4, 2, 1, 0.5),
        width: int = 256,
        hidden: int = 32,
        position_weight: float | int = 0.1,
        frames_per_chunk: int = 1,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        """Build the decoder.

        Args:
            inputs: channels of each map it reads.
            outputs: K, raw values per pixel.
            channels: per level, finest first: channels after its projection.
            scales: per level: how much larger than its map it is decoded; at least 1 or a half.
            width: channels during fusion.
            hidden: channels before the last convolution.
            position_weight: of the sinusoidal positions added to the maps; 0 leaves them out.
            frames_per_chunk: images decoded at once.
            dtype: of all convolutions but the last two, which stay float32.

        Raises:
            ConfigError: sizes that do not fit each other, or no such dtype.
        """
        super().__init__()
        if dtype not in DTYPES:
            raise ConfigError(f"DPT: no dtype named {dtype}{did_you_mean(dtype, DTYPES)}")
        self.inputs = inputs
        self.levels = len(channels)
        self.dpt = DPT(
            inputs=inputs,
            outputs=outputs,
            channels=channels,
            scales=scales,
            width=width,
            hidden=hidden,
            position_weight=position_weight,
            frames_per_chunk=frames_per_chunk,
        )
        self.dpt.to(memory_format=torch.channels_last)
        self.dpt.lower_precision(DTYPES[dtype])

    @property
    def last(self) -> nn.Conv2d:
        """The convolution that writes the raw values."""
        return cast(nn.Conv2d, cast(nn.Sequential, self.dpt.scratch["output_conv2"])[-1])

    def forward(
        self, maps: Sequence[Float[Tensor, "B V C h w"]], image_size: Size
    ) -> Float[Tensor, "B V K H W"]:
        """Decode one map per level.

        Args:
            maps: finest level first; all of the same size.
            image_size: (height, width) of the images, and of the result.

        Raises:
            ShapeError: another number of maps than levels.
        """
        return self.dpt.raw(maps, image_size)
