"""What MATCHA's fusion learns from: semantic pairs teach F_s, geometric ones F_g; their union is never supervised."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.features import Features
from homolog.training.batch import PairBatch, known_points, sampled
from homolog.training.losses.contrastive import contrastive_loss
from homolog.training.losses.dense_flow import Focus, dense_flow_loss
from homolog.training.losses.dual_softmax import dual_softmax_loss
from homolog.training.objective import Step


class FusionObjective(nn.Module):
    """Terms of a backbone that gives a semantic and a geometric map (MATCHA, section 3.3).

    A pair is geometric if its pose or its homography is known, semantic otherwise. The points of a
    semantic pair are its keypoints, those of a geometric one pixels of its dense truth, drawn anew each
    step. Terms are sums over the pairs of their kind, divided by all pairs of the batch, so that every pair
    counts the same however kinds are mixed and batches shared among processes; where batches alternate, that
    is the mean. A pair of the other kind, or without points, adds 0.
    """

    def __init__(
        self,
        *,
        semantic: str = "semantic",
        geometric: str = "geometric",
        points: int = 256,
        temperature: float | int = 0.02,
        focus: Focus = "all",
        scale: float | int = 1 / 0.07,
        learn_scale: bool = True,
    ) -> None:
        """Choose what the paper leaves open.

        Args:
            semantic: name of F_s.
            geometric: name of F_g.
            points: drawn of a pair that has dense truth and no keypoints.
            temperature: of the soft argmax of `flow`.
            focus: of the same.
            scale: that multiplies cosines in `contrastive` at first and in `dual_softmax`; descriptors are
                brought to unit length.
            learn_scale: the first of these is learnt, as CLIP does.
        """
        super().__init__()
        self.semantic, self.geometric = semantic, geometric
        self.points, self.temperature, self.scale = points, float(temperature), float(scale)
        self.focus: Focus = focus
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)
        self.terms = ("contrastive", "flow", "dual_softmax")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms."""
        features: Features = matcher.backbone(batch.images)  # type: ignore[operator]
        drawn = known_points(batch, count=self.points, generator=step.generator)
        zero = batch.images.new_zeros(())
        found: dict[str, list[Tensor]] = {name: [] for name in self.terms if name in step.wanted}
        for index, sample in enumerate(batch.samples):
            if sample.pose is None and sample.homography is None:
                terms = self._of_semantic(features, batch, index, drawn, step)
            else:
                terms = self._of_geometric(features, batch, index, drawn, step)
            for name, value in terms.items():
                found[name].append(value)
        return {name: sum(values, zero) / len(batch) for name, values in found.items()}

    def _of_semantic(
        self, features: Features, batch: PairBatch, index: int, drawn: tuple[Tensor, ...], step: Step
    ) -> dict[str, Tensor]:
        xy0, xy1 = self._points(batch, index, drawn)
        if not len(xy0):
            return {}
        maps = features[self.semantic][index]
        terms: dict[str, Tensor] = {}
        if "contrastive" in step.wanted:
            one, two = self._read(maps, xy0, xy1, batch)
            terms["contrastive"] = contrastive_loss(one, two, self.log_scale)
        if "flow" in step.wanted:
            terms["flow"] = dense_flow_loss(
                maps[0],
                maps[1],
                xy0,
                xy1,
                image_size0=batch.size,
                image_size1=batch.size,
                temperature=self.temperature,
                focus=self.focus,
            )
        return terms

    def _of_geometric(
        self, features: Features, batch: PairBatch, index: int, drawn: tuple[Tensor, ...], step: Step
    ) -> dict[str, Tensor]:
        if "dual_softmax" not in step.wanted:
            return {}
        xy0, xy1, seen = (part[index] for part in drawn)
        if not bool(seen.any()):
            return {}
        one, two = self._read(features[self.geometric][index], xy0, xy1, batch)
        one, two = (nn.functional.normalize(each, dim=1) for each in (one, two))
        return {"dual_softmax": dual_softmax_loss(one, two, scale=self.scale)[0]}

    def _points(self, batch: PairBatch, index: int, drawn: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        seen = batch.seen[index]
        if bool(seen.any()):
            return batch.xy0[index][seen], batch.xy1[index][seen]
        xy0, xy1, known = (part[index] for part in drawn)
        return xy0[known], xy1[known]

    def _read(self, maps: Tensor, xy0: Tensor, xy1: Tensor, batch: PairBatch) -> tuple[Tensor, Tensor]:
        one = sampled(maps[:1], xy0[None].to(maps), batch.size)[0]
        return one, sampled(maps[1:], xy1[None].to(maps), batch.size)[0]
