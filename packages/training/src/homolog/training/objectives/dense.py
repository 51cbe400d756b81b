"""The objective of dense matchers: the six losses of the VGGT-prior semantic matcher."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, one_of
from homolog.core.protocols import Backbone, DenseHead
from homolog.training.batch import PairBatch
from homolog.training.losses.common import area_fraction, length
from homolog.training.losses.dense import (
    Form,
    Unit,
    Weighting,
    dense_l2,
    distance_map,
    keypoint_l2,
    matching_loss,
    reconstruction_loss,
    smoothness_loss,
    uncertainty_loss,
)
from homolog.training.objectives.base import Step, part

Error = Literal["matching", "reconstruction", "truth"]


class DenseObjective(nn.Module):
    """Terms of a matcher with a joint backbone and a dense head: means over both directions and all pairs.

    `dense` and `keypoint` use labels; `matching`, `reconstruction` and `smoothness` use the images and the
    foreground; `uncertainty` trains the confidence. A pair without the labels of a term adds 0 to its mean.
    """

    def __init__(
        self,
        *,
        encoder: Backbone | None = None,
        map: str | None = None,
        dense_unit: Unit = "normalised",
        keypoint_unit: Unit = "pixel",
        form: Form = "axes",
        weighting: Weighting = "detached",
        error: Error = "matching",
        lambda_conf: float | int = 0.1,
    ) -> None:
        """Set options that the paper leaves open; see the losses.

        Args:
            encoder: frozen backbone for `matching`; None if no stage uses that term.
            map: name of the encoder's map; None takes its only map.
            dense_unit: unit of `dense`.
            keypoint_unit: unit of `keypoint`.
            form: form of `smoothness`.
            weighting: role of the confidence in `matching` and `reconstruction`. A stage's option `weighting`
                overrides it: the paper's last stage makes it `active`.
            error: the error that the confidence predicts: that of `matching` (eq. 7), of `reconstruction`, or
                the distance from the label (`truth`).
            lambda_conf: see `uncertainty_loss`.

        Raises:
            ConfigError: an unknown error, or an encoder with several maps and no `map`.
        """
        super().__init__()
        one_of("error", error, get_args(Error))
        self.encoder = encoder
        if encoder is not None:
            if map is None and len(encoder.channels) != 1:
                raise ConfigError(
                    f"dense objective: expected one of the maps {', '.join(encoder.channels)}; set objective.map"
                )
            self.map = next(iter(encoder.channels)) if map is None else map
            if isinstance(encoder, nn.Module):
                encoder.requires_grad_(False).eval()
        self.dense_unit: Unit = dense_unit
        self.keypoint_unit: Unit = keypoint_unit
        self.form: Form = form
        self.weighting: Weighting = weighting
        self.error: Error = error
        self.lambda_conf = lambda_conf
        self.terms = ("dense", "keypoint", "smoothness", "matching", "reconstruction", "uncertainty")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms.

        Raises:
            ConfigError: a head that is not dense, or a term that needs the missing encoder.
        """
        head, backbone = part(matcher, "head", DenseHead), part(matcher, "backbone", Backbone)
        fields = head(backbone(batch.images))
        sides = _Sides(batch, fields)
        weighting: Weighting = step.options.get("weighting", self.weighting)
        losses: dict[str, Callable[[int], Tensor]] = {
            "dense": lambda side: dense_l2(
                sides.fields[side], sides.truths[side], unit=self.dense_unit, reference_size=batch.size
            ),
            "keypoint": lambda side: keypoint_l2(
                sides.fields[side],
                sides.points[side],
                sides.points[1 - side],
                batch.visible,
                query_size=batch.size,
                reference_size=batch.size,
                unit=self.keypoint_unit,
            ),
            "smoothness": lambda side: smoothness_loss(
                sides.fields[side].grid, sides.masks[side], form=self.form
            ),
            "matching": lambda side: matching_loss(
                *self._encoded(sides, side),
                sides.masks[side],
                sides.fields[side].confidence,
                weighting=weighting,
            ),
            "reconstruction": lambda side: reconstruction_loss(
                sides.images[side],
                sides.fields[side],
                sides.fields[1 - side],
                sides.masks[side],
                weighting=weighting,
            ),
            "uncertainty": lambda side: self._uncertainty(sides, side),
        }
        return {
            name: torch.stack([losses[name](side).mean() for side in (0, 1)]).mean()
            for name in self.terms
            if name in step.wanted
        }

    def _uncertainty(self, sides: "_Sides", side: int) -> Tensor:
        field, mask = sides.fields[side], sides.masks[side]
        confidence = field.confidence
        if self.error == "truth":
            truth = sides.truths[side]
            mask = (truth.confidence > 0) & truth.grid.isfinite().all(dim=1)
            error = length(torch.where(mask[:, None], truth.grid - field.grid, 0), dim=1)
        elif self.error == "reconstruction":
            again = field.warp(sides.fields[1 - side].warp(sides.images[side]))
            error = distance_map(again, sides.images[side])
        else:
            with torch.no_grad():
                error = distance_map(*self._encoded(sides, side))
            size = int(error.shape[1]), int(error.shape[2])
            # A cell belongs to the foreground if most of its pixels do.
            mask, confidence = area_fraction(mask, size) > 0.5, area_fraction(confidence, size)
        return uncertainty_loss(confidence, error, mask, lambda_conf=float(self.lambda_conf))

    def _encoded(self, sides: "_Sides", side: int) -> tuple[Tensor, Tensor]:
        if self.encoder is None:
            raise ConfigError("dense objective: expected an encoder for this loss; set objective.encoder")
        real = sides.images[side]
        warped = sides.fields[side].warp(sides.images[1 - side])
        with torch.no_grad():
            wanted = self.encoder(real[:, None])[self.map][:, 0]
        return self.encoder(warped[:, None])[self.map][:, 0], wanted


class _Sides:
    """Both directions of a batch; index 0 or 1 selects the image."""

    def __init__(self, batch: PairBatch, fields: tuple[DenseField, DenseField]) -> None:
        self.fields = fields
        self.images = batch.images[:, 0], batch.images[:, 1]
        self.truths = batch.field0, batch.field1
        self.masks = batch.mask0, batch.mask1
        self.points = batch.xy0, batch.xy1
