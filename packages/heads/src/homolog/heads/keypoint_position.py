"""Where a keypoint is, as a vector that attention can add to its descriptor."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError

Encoding = Literal["mlp", "fourier"]
"""What the layers refine: the coordinates themselves, or learned waves over the image."""

Norm = Literal["layer", "batch"]
"""What normalises inside of an MLP."""

_HIDDEN = (32, 64, 128, 256)


class TokenNorm(nn.Module):
    """Normalises [B L C] token by token, or over all tokens that are not padding.

    SuperGlue normalises over the batch. Its statistics depend on who else is in the batch, and padding
    would enter them; the default everywhere is the layer norm. Padding comes out as zeros.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        """Choose the kind.

        Args:
            width: C.
            norm: `layer`, or `batch`.

        Raises:
            ConfigError: another kind.
        """
        super().__init__()
        if norm not in ("layer", "batch"):
            raise ConfigError(f"expected the norm layer or batch, got {norm}")
        self.layer = nn.LayerNorm(width) if norm == "layer" else None
        self.batch = nn.BatchNorm1d(width) if norm == "batch" else None

    def forward(
        self, tokens: Float[Tensor, "B L C"], valid: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L C"]:
        """Normalise."""
        if self.layer is not None:
            return self.layer(tokens)
        assert self.batch is not None
        if valid is None:
            return self.batch(tokens.flatten(0, 1)).view_as(tokens)
        known = tokens[valid]
        # One token has no deviation to learn from.
        if not len(known) or (self.training and len(known) < 2):
            return tokens
        return torch.zeros_like(tokens).index_put((valid,), self.batch(known))


class KeypointPosition(nn.Module):
    """Encodes places in an image.

    OmniGlue, section 3.4: "normalized keypoint locations are encoded with positional embeddings, and we
    further refine them using MLP layers". The widths are SuperGlue's. Whether the embedding is more than
    the coordinates themselves, the paper does not say.
    """

    def __init__(
        self,
        width: int,
        *,
        encoding: Encoding = "mlp",
        norm: Norm = "layer",
        divisor: float = 0.7,
        use_score: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            width: of the result.
            encoding: `mlp` on the coordinates, as SuperGlue does, or on `fourier` features of them.
            norm: in the layers.
            divisor: coordinates count from the centre, in this share of the longer side: 0.7 in
                SuperGlue, 0.5 in LightGlue.
            use_score: also tell the layers the detector's score, as SuperGlue does. The paper's
                position is of the location only.

        Raises:
            ConfigError: an unknown encoding or norm, an odd width for waves, or a divisor not above 0.
        """
        super().__init__()
        if encoding not in ("mlp", "fourier"):
            raise ConfigError(f"expected the encoding mlp or fourier, got {encoding}")
        if divisor <= 0:
            raise ConfigError(f"expected a divisor above 0, got {divisor}")
        if encoding == "fourier" and width % 2:
            raise ConfigError(f"expected an even width for the encoding fourier, got {width}")
        self.divisor = divisor
        self.use_score = use_score
        inputs = 2 + use_score
        self.waves = nn.Linear(inputs, width // 2, bias=False) if encoding == "fourier" else None
        widths = [inputs, *_HIDDEN] if self.waves is None else [width, width]
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip(widths, [*widths[1:], width], strict=True)
        )
        self.norms = nn.ModuleList(TokenNorm(after, norm) for after in widths[1:])
        self.activation = nn.ReLU() if norm == "batch" else nn.GELU()
        # Without a bias at the end the encoding begins centred, as SuperGlue's does.
        nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def forward(
        self,
        place: Float[Tensor, "B L 2"],
        score: Float[Tensor, "B L"],
        valid: Bool[Tensor, "B L"] | None,
    ) -> Float[Tensor, "B L C"]:
        """Encode places as `PaddedKeypoints` has them."""
        given = place / self.divisor
        if self.use_score:
            given = torch.cat((given, score[..., None].to(given)), dim=-1)
        tokens = given.to(self.layers[0].get_parameter("weight").dtype)
        if self.waves is not None:
            phase = self.waves(tokens)
            tokens = torch.cat((phase.cos(), phase.sin()), dim=-1)
        *hidden, last = self.layers
        for layer, norm in zip(hidden, self.norms, strict=True):
            tokens = self.activation(norm(layer(tokens), valid))
        return last(tokens)
