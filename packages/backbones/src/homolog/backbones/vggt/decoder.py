"""The DPT of VGGT for heads of other makes: maps in, raw values per pixel out, nothing trained yet."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.backbones.vggt.backbone import DTYPES
from homolog.backbones.vggt.dpt import DPT
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean


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
