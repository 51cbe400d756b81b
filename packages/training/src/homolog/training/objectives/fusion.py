"""The objective of MATCHA's fusion: semantic pairs train F_s, geometric pairs train F_g."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import pixel_to_normalised
from homolog.core.features import Features
from homolog.core.protocols import Backbone
from homolog.core.sampling import sample_points
from homolog.training.batch import PairBatch, known_points
from homolog.training.losses.matcha import Focus, contrastive_loss, dense_flow_loss
from homolog.training.losses.sparse import dual_softmax_loss
from homolog.training.objectives.base import Step, part

_TERMS = {
    "contrastive": ("semantic", "semantic", "contrastive"),
    "flow": ("semantic", "semantic", "flow"),
    "dual_softmax": ("geometric", "geometric", "dual_softmax"),
    "joint_contrastive": ("semantic", "joint", "contrastive"),
    "joint_flow": ("semantic", "joint", "flow"),
    "joint_softmax": ("geometric", "joint", "dual_softmax"),
    "joint_transfer": ("geometric", "joint", "flow"),
}
"""For each term: kind of the pairs, map and loss."""


class FusionObjective(nn.Module):
    """Terms of a backbone with a semantic map F_s and a geometric map F_g (MATCHA, section 3.3).

    A pair is geometric if it has a pose or a homography, otherwise semantic. The points of a semantic pair are
    its keypoints; those of a geometric pair are pixels with dense labels, drawn anew in each step. A term is
    the sum over the pairs of its kind divided by the number of all pairs in the batch. So every pair has the
    same weight, however kinds are mixed and batches are distributed among processes. A pair of the other kind,
    or without points, adds 0.

    | term | of | on |
    |---|---|---|
    | `contrastive`, `flow` | semantic pairs | F_s |
    | `dual_softmax` | geometric pairs | F_g |
    | `joint_contrastive`, `joint_flow` | semantic pairs | joint map (ours) |
    | `joint_softmax`, `joint_transfer` | geometric pairs | joint map (ours); dual softmax, and the error of `flow` |
    | `similarity` | images of different pairs | joint map and its input (ours) |
    | `anchor` | all pairs | 1 - the cosine of F_s and F_g with their inputs (ours) |

    The paper never supervises the joint map, although it is the map that is matched and nothing else trains the
    balance of its two parts. `similarity` is the Kullback-Leibler divergence of the softmax over all cells of
    another pair's image, before and after the fusion: features may change within a scene, but not which points
    of different objects look alike. That is what semantic matching relies on. `similarity` and `anchor` need a
    fusion with `start: union`, which returns its inputs too.
    """

    def __init__(
        self,
        *,
        semantic: str = "semantic",
        geometric: str = "geometric",
        joint: str = "joint",
        points: int = 256,
        semantic_points: int = 0,
        temperature: float | int = 0.02,
        focus: Focus = "all",
        scale: float | int = 1 / 0.07,
        learn_scale: bool = True,
    ) -> None:
        """Set options that the paper leaves open.

        Args:
            semantic: name of the map F_s.
            geometric: name of the map F_g.
            joint: name of the joint map.
            points: number of points drawn from dense labels.
            semantic_points: number of points drawn from the dense labels of a semantic pair, if it has any,
                instead of its keypoints; 0 uses the keypoints.
            temperature: temperature of the soft argmax in `flow`.
            focus: see `dense_flow_loss`.
            scale: multiplies cosines in `dual_softmax`, and in `contrastive` at the start.
            learn_scale: train the scale of `contrastive`, as CLIP does.
        """
        super().__init__()
        self.semantic, self.geometric, self.joint = semantic, geometric, joint
        self.semantic_points = semantic_points
        self.points, self.temperature, self.scale = points, float(temperature), float(scale)
        self.focus: Focus = focus
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)
        self.terms = (*_TERMS, "anchor", "similarity")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms.

        Raises:
            ConfigError: a matcher without a backbone.
        """
        features = part(matcher, "backbone", Backbone)(batch.images)
        drawn = known_points(batch, count=self.points, generator=step.generator)
        zero = batch.images.new_zeros(())
        found: dict[str, list[Tensor]] = {name: [] for name in self.terms if name in step.wanted}
        for index, sample in enumerate(batch.samples):
            kind = "semantic" if sample.pose is None and sample.homography is None else "geometric"
            points = self._points(batch, index, drawn, kind)
            for name in found:
                if name in _TERMS and _TERMS[name][0] == kind and len(points[0]):
                    found[name].append(self._term(name, features, batch, index, points))
        if "anchor" in found:
            away = [
                1 - nn.functional.cosine_similarity(features[name], features[f"{name}_input"], dim=2).mean()
                for name in (self.semantic, self.geometric)
            ]
            found["anchor"] = [(away[0] + away[1]) * len(batch)]
        if "similarity" in found and len(batch) > 1:
            found["similarity"] = self._similarity(features, step)
        return {name: sum(values, zero) / len(batch) for name, values in found.items()}

    def _term(
        self, name: str, features: Features, batch: PairBatch, index: int, points: tuple[Tensor, Tensor]
    ) -> Tensor:
        _, map_, loss = _TERMS[name]
        maps = features[getattr(self, map_)][index]
        if loss == "flow":
            return dense_flow_loss(
                maps[0],
                maps[1],
                *points,
                image_size0=batch.size,
                image_size1=batch.size,
                temperature=self.temperature,
                focus=self.focus,
            )
        one, two = (
            sample_points(map_[None], pixel_to_normalised(xy[None].to(map_), batch.size))[0]
            for map_, xy in zip(maps, points, strict=True)
        )
        if loss == "contrastive":
            return contrastive_loss(one, two, self.log_scale)
        one, two = (nn.functional.normalize(each, dim=1) for each in (one, two))
        return dual_softmax_loss(one, two, scale=self.scale)[0]

    def _similarity(self, features: Features, step: Step) -> list[Tensor]:
        now, before = (
            nn.functional.normalize(features[name][:, 0].flatten(2), dim=1)
            for name in (self.joint, f"{self.joint}_input")
        )
        cells = torch.randint(now.shape[2], (self.points,), generator=step.generator).to(now.device)
        other = now.roll(1, dims=0), before.roll(1, dims=0)
        found, wanted = (
            ((one[:, :, cells].mT @ two) / self.temperature).log_softmax(dim=2)
            for one, two in zip((now, before), other, strict=True)
        )
        divergence = nn.functional.kl_div(found, wanted.detach(), reduction="none", log_target=True)
        return list(divergence.sum(dim=2).mean(dim=1))

    def _points(
        self, batch: PairBatch, index: int, drawn: tuple[Tensor, ...], kind: str
    ) -> tuple[Tensor, Tensor]:
        xy0, xy1, known = (part[index] for part in drawn)
        visible = batch.visible[index]
        if kind == "geometric":
            return xy0[known], xy1[known]
        if bool(visible.any()) and not (self.semantic_points and bool(known.any())):
            return batch.xy0[index][visible], batch.xy1[index][visible]
        # Without keypoints, use dense labels.
        few = self.semantic_points or self.points
        return xy0[known][:few], xy1[known][:few]
