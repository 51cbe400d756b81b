"""The dense grid head: the position of every pixel of either view in the other, with a confidence.

Decoding and losses as in the VGGT-prior semantic matcher, whose equations are cited below; where it is
silent, each reading is an option.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, ShapeError, did_you_mean, one_of
from homolog.core.features import Features
from homolog.core.protocols import Backbone, Decoder
from homolog.core.weights import load_state, restore

Coordinates = Literal["absolute", "offset"]
Activation = Literal["linear", "tanh"]


class DenseGrid(nn.Module):
    """Decodes both views of a pair that was encoded jointly into a grid and a confidence each.

    **Direction.** Eq. 3 defines I_{s->t} = W(I_s, G_{s->t}): G_{s->t} is indexed by target pixels and
    holds source positions, and eq. 5 pairs it with the target's mask and confidence. So what is decoded
    from a view's features lives on that view and points to the other one; fields are named by where
    they live, see `homolog.core.dense`.

    **Range.** The paper states that the grid lies in [-1, 1] and names no activation. With
    `activation="linear"` gradients do not vanish at the image border, and the L2 loss bounds the
    values; `clamp` brings them into the stated range outside of training.

    **Confidence.** "Adding one dimension" is read as a third channel; stated to lie in [0, 1], it is a
    sigmoid (VGGT's own 1 + exp is at least 1).

    Grid and confidence are float32 whatever came before: just below 1, neighbouring bfloat16 numbers
    are a pixel of a 518 px image apart.
    """

    def __init__(
        self,
        *,
        decoder: Decoder,
        maps: Sequence[str] | None = None,
        coordinates: Coordinates = "absolute",
        activation: Activation = "linear",
        clamp: bool = True,
        initial_scale: float | int = 1e-3,
        checkpoint: Path | None = None,
    ) -> None:
        """Put activations behind a decoder.

        Args:
            decoder: three values per pixel: x, y and the score of the confidence.
            maps: names of the maps to decode, finest level first; None takes all, in their order.
            coordinates: what the values say. `absolute`: where to look in the other view, so that an
                untrained head returns its centre everywhere. `offset`: how far from the same place; the
                paper mentions no such residual.
            activation: `linear`, or `tanh`, which keeps absolute coordinates within [-1, 1] and offsets
                within [-2, 2] in training too, at the price of small gradients near these.
            clamp: bring grids into [-1, 1] in evaluation mode; a place outside of the other view then
                becomes the nearest on its border.
            initial_scale: standard deviation of the decoder's last weights before training; its biases
                start at 0. The paper reports exploding gradients: a small scale starts finite, with
                confidence one half.
            checkpoint: this head's `state_dict`; None starts from random numbers.

        Raises:
            ConfigError: a decoder of another number of outputs, or no such option.
            WeightsError: the file does not fit.
        """
        super().__init__()
        one_of("coordinates", coordinates, get_args(Coordinates))
        one_of("activation", activation, get_args(Activation))
        if decoder.last.out_channels != 3:
            raise ConfigError(
                "dense grid: expected a decoder of 3 outputs (x, y, confidence), "
                f"got {decoder.last.out_channels}; set head.decoder.outputs=3"
            )
        self.decoder = decoder
        self.maps = None if maps is None else tuple(maps)
        self.coordinates, self.activation, self.clamp = coordinates, activation, clamp
        nn.init.normal_(decoder.last.weight, std=initial_scale)
        if decoder.last.bias is not None:
            nn.init.zeros_(decoder.last.bias)
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=checkpoint.name)

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone whose maps this head cannot read.

        Raises:
            ConfigError: views that do not know of each other, or maps of other names, number or channels.
        """
        if not backbone.joint:
            raise ConfigError(
                "dense grid: expected a backbone that sees both images together, such as vggt_semantic, got one "
                "that sees each alone; take that one with head=nearest in a sparse matcher"
            )
        names = self._names(backbone.channels)
        if len(names) != self.decoder.levels:
            raise ConfigError(
                f"dense grid: expected {self.decoder.levels} maps, one for each level of the decoder, "
                f"got {', '.join(names)}; choose them by head.maps"
            )
        for name in names:
            channels = backbone.channels[name]
            if channels != self.decoder.inputs:
                raise ConfigError(
                    f"dense grid: expected maps of {self.decoder.inputs} channels, got {name} of {channels}; "
                    f"set head.decoder.inputs={channels}"
                )

    def forward(self, features: Features) -> tuple[DenseField, DenseField]:
        """Return the field that lives on view 0 and points to view 1, and the one the other way round.

        Args:
            features: of two views of B pairs, V = 2.

        Returns:
            Fields with one cell per pixel of the images that `features` cover, float32.

        Raises:
            ShapeError: another number of views.
            ConfigError: no such map.
        """
        maps = [features[name] for name in self._names(features.maps)]
        if maps[0].shape[1] != 2:
            raise ShapeError(f"dense grid: expected features of 2 views, got {maps[0].shape[1]}")
        raw = self.decoder(maps, features.image_size).float()
        with torch.autocast(raw.device.type, enabled=False):
            grid, confidence = self._grid(raw[:, :, :2]), raw[:, :, 2].sigmoid()
        field0, field1 = (DenseField(grid=grid[:, view], confidence=confidence[:, view]) for view in range(2))
        return field0, field1

    def _grid(self, raw: Tensor) -> Tensor:
        absolute = self.coordinates == "absolute"
        if self.activation == "tanh":
            reach = 1 if absolute else 2
            raw = reach * (raw / reach).tanh()
        if not absolute:
            raw = raw + identity_grid((raw.shape[-2], raw.shape[-1]), device=raw.device)
        return raw.clamp(-1, 1) if self.clamp and not self.training else raw

    def _names(self, there: dict[str, int] | dict[str, Tensor]) -> tuple[str, ...]:
        names = tuple(there) if self.maps is None else self.maps
        for name in names:
            if name not in there:
                raise ConfigError(f"dense grid: no map named {name}{did_you_mean(name, there)}")
        return names
