"""The sizes that make a VGGT; the defaults are the published 1B model."""

from collections.abc import Sequence
from dataclasses import dataclass

from homolog.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Every number that a weight file of VGGT implies.

    Attributes:
        width: channels of a token.
        depth: pairs of one frame block and one global block.
        attention_heads: of frame and global blocks.
        registers: register tokens per view, beside one camera token.
        mlp_ratio: hidden width of the MLP in frame and global blocks, in multiples of `width`.
        rope_base: of the rotary embedding's wavelengths.
        patch: side of a patch in pixels.
        encoder_depth: blocks of the patch encoder (DINOv2 ViT-L with registers).
        encoder_attention_heads: of the patch encoder.
        encoder_mlp_ratio: of the patch encoder's blocks.
        encoder_image_size: side in pixels of the square image that its position grid was made for.
        decoder_taps: pairs that the depth and point decoders read, finest first.
        decoder_width: channels inside these decoders.
        decoder_channels: channels of each tap after its projection.
        decoder_hidden: channels before the last convolution of these decoders.
        camera_depth: blocks of the camera head.
        camera_attention_heads: of the camera head.
        camera_mlp_ratio: of the camera head's blocks, in multiples of twice `width`.
        camera_iterations: how often the camera head refines its estimate.
    """

    width: int = 1024
    depth: int = 24
    attention_heads: int = 16
    registers: int = 4
    mlp_ratio: float | int = 4
    rope_base: float | int = 100
    patch: int = 14
    encoder_depth: int = 24
    encoder_attention_heads: int = 16
    encoder_mlp_ratio: float | int = 4
    encoder_image_size: int = 518
    decoder_taps: Sequence[int] = (4, 11, 17, 23)
    decoder_width: int = 256
    decoder_channels: Sequence[int] = (256, 512, 1024, 1024)
    decoder_hidden: int = 32
    camera_depth: int = 4
    camera_attention_heads: int = 16
    camera_mlp_ratio: float | int = 4
    camera_iterations: int = 4

    def __post_init__(self) -> None:
        """Refuse sizes that no network has.

        Raises:
            ConfigError: heads that do not divide the width into fours (the rotary embedding turns
                pairs of channels along two axes), or decoder taps beyond the last pair.
        """
        if self.width % (4 * self.attention_heads):
            raise ConfigError(
                f"VGGT: expected a width that 4 x attention_heads divides, "
                f"got {self.width} and {self.attention_heads} heads"
            )
        if self.encoder_image_size % self.patch:
            raise ConfigError(
                f"VGGT: expected encoder_image_size to be a multiple of {self.patch}, got {self.encoder_image_size}"
            )
        if max(self.decoder_taps) >= self.depth or min(self.decoder_taps) < 0:
            raise ConfigError(
                f"VGGT: expected decoder_taps from 0 to {self.depth - 1}, got {list(self.decoder_taps)}"
            )

    @property
    def specials(self) -> int:
        """Tokens of a view that stand before its patches: the camera token and the registers."""
        return 1 + self.registers
