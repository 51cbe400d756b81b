"""What a backbone with heads for geometry learns from: depth, points and cameras, as VGGT did."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import CapabilityError
from homolog.training.batch import PairBatch
from homolog.training.losses.camera import camera_loss
from homolog.training.losses.trusted import trusted_error
from homolog.training.objective import Step
from homolog.training.scene_truth import scene_truth


class GeometryObjective(nn.Module):
    """Terms of a matcher whose backbone says the geometry of what it sees: `camera`, `depth` and `points`.

    Each is the mean over all pairs of the batch; a pair without depth, cameras or pose adds 0. Points of
    both views are told in the frame of the first, so that they ask how one sees the other. Of the camera head's
    estimates only the last is compared: the steps to it add up, so that all of them learn.
    """

    def __init__(
        self, *, delta: float | int = 0.1, alpha: float | int = 0.2, gradient: float | int = 1.0
    ) -> None:
        """Choose what the losses leave open.

        Args:
            delta: of `camera_loss`.
            alpha: of `trusted_error`, for depth and points.
            gradient: of the same.
        """
        super().__init__()
        self.delta, self.alpha, self.gradient = float(delta), float(alpha), float(gradient)
        self.terms = ("camera", "depth", "points")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms.

        Raises:
            CapabilityError: a backbone that says nothing about geometry, or was built without the heads.
        """
        geometry = getattr(matcher.backbone, "geometry", None)
        if geometry is None:
            raise CapabilityError(
                "geometry objective: expected a backbone with geometry, such as vggt_mini with "
                f"heads=[camera,depth], got {type(matcher.backbone).__name__}"
            )
        found, truth = geometry(batch.images), scene_truth(batch)
        terms: dict[str, Tensor] = {}
        if "camera" in step.wanted:
            terms["camera"] = camera_loss(_said(found.pose, "camera"), truth.pose, delta=self.delta).mean()
        if "depth" in step.wanted:
            terms["depth"] = self._trusted(found.depth, found.depth_score, truth.depth, "depth")
        if "points" in step.wanted:
            terms["points"] = self._trusted(found.points, found.points_score, truth.points, "point")
        return terms

    def _trusted(self, value: Tensor | None, score: Tensor | None, truth: Tensor, head: str) -> Tensor:
        found, trust = _said(value, head), _said(score, head)
        found, truth = (each.reshape(*trust.shape, -1) for each in (found, truth))
        return trusted_error(found, trust, truth, alpha=self.alpha, gradient=self.gradient).mean()


def _said(value: torch.Tensor | None, head: str) -> Tensor:
    if value is None:
        raise CapabilityError(
            f"geometry objective: expected a backbone with the head {head}; add it to backbone.heads"
        )
    return value
