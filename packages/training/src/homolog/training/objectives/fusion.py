"""What MATCHA's fusion learns from: semantic pairs teach F_s, geometric ones F_g; their union is never supervised."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.features import Features
from homolog.core.protocols import Backbone
from homolog.training.batch import PairBatch, known_points, sampled
from homolog.training.losses.contrastive import contrastive_loss
from homolog.training.losses.dense_flow import Focus, dense_flow_loss
from homolog.training.losses.dual_softmax import dual_softmax_loss
from homolog.training.objective import Step
from homolog.training.parts import part

_TERMS = {
    "contrastive": ("semantic", "semantic", "contrastive"),
    "flow": ("semantic", "semantic", "flow"),
    "dual_softmax": ("geometric", "geometric", "dual_softmax"),
    "joint_contrastive": ("semantic", "joint", "contrastive"),
    "joint_flow": ("semantic", "joint", "flow"),
    "joint_softmax": ("geometric", "joint", "dual_softmax"),
    "joint_transfer": ("geometric", "joint", "flow"),
}
"""Kind of the pairs, map and loss of each term."""


class FusionObjective(nn.Module):
    """Terms of a backbone that gives a semantic and a geometric map (MATCHA, section 3.3).

    A pair is geometric if its pose or its homography is known, semantic otherwise. The points of a
    semantic pair are its keypoints, those of a geometric one pixels of its dense truth, drawn anew each
    step. Terms are sums over the pairs of their kind, divided by all pairs of the batch, so that every pair
    counts the same however kinds are mixed and batches shared among processes; where batches alternate, that
    is the mean. A pair of the other kind, or without points, adds 0.

    | term | of | on |
    |---|---|---|
    | `contrastive`, `flow` | semantic pairs | F_s |
    | `dual_softmax` | geometric pairs | F_g |
    | `joint_contrastive`, `joint_flow` | semantic pairs | their union; ours |
    | `joint_softmax`, `joint_transfer` | geometric pairs | their union; ours: dual softmax, and the error of `flow` |
    | `likeness` | images of different pairs | what resembles what across photos, by the union now and before; ours, as `kept` |
    | `kept` | all pairs | 1 - the cosine of F_s and F_g with what they were; ours, for a fusion with `start: union` |

    The paper never supervises the union. But it is the union that is matched, and how the two cosines balance
    is learnt nowhere else. `likeness` is the Kullback-Leibler divergence of the softmax over all cells of another
    photo: what tells the points of one scene apart may change, what a point of one photo resembles in one of
    something else may not, and that is what objects of one category are matched by.
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
        """Choose what the paper leaves open.

        Args:
            semantic: name of F_s.
            geometric: name of F_g.
            joint: name of their union.
            points: drawn of a pair that has dense truth and no keypoints.
            semantic_points: drawn of the dense truth of a semantic pair, if it has any, in place of its
                keypoints; 0 takes the keypoints.
            temperature: of the soft argmax of `flow`.
            focus: of the same.
            scale: that multiplies cosines in `contrastive` at first and in `dual_softmax`; descriptors are
                brought to unit length.
            learn_scale: the first of these is learnt, as CLIP does.
        """
        super().__init__()
        self.semantic, self.geometric, self.joint = semantic, geometric, joint
        self.semantic_points = semantic_points
        self.points, self.temperature, self.scale = points, float(temperature), float(scale)
        self.focus: Focus = focus
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)
        self.terms = (*_TERMS, "kept", "likeness")

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
        if "kept" in found:
            found["kept"] = [self._kept(features) * len(batch)]
        if "likeness" in found and len(batch) > 1:
            found["likeness"] = self._likeness(features, step)
        return {name: sum(values, zero) / len(batch) for name, values in found.items()}

    def _term(
        self, name: str, features: Features, batch: PairBatch, index: int, points: tuple[Tensor, Tensor]
    ) -> Tensor:
        _, map_, loss = _TERMS[name]
        maps = features[{"semantic": self.semantic, "geometric": self.geometric, "joint": self.joint}[map_]][
            index
        ]
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
        one, two = self._read(maps, *points, batch)
        if loss == "contrastive":
            return contrastive_loss(one, two, self.log_scale)
        one, two = (nn.functional.normalize(each, dim=1) for each in (one, two))
        return dual_softmax_loss(one, two, scale=self.scale)[0]

    def _kept(self, features: Features) -> Tensor:
        away = [
            1 - nn.functional.cosine_similarity(features[name], features[f"{name}_input"], dim=2).mean()
            for name in (self.semantic, self.geometric)
        ]
        return away[0] + away[1]

    def _likeness(self, features: Features, step: Step) -> list[Tensor]:
        now, before = (
            nn.functional.normalize(features[name][:, 0].flatten(2), dim=1)
            for name in (self.joint, f"{self.joint}_input")
        )
        cells = torch.randint(now.shape[2], (self.points,), generator=step.generator).to(now.device)
        there = now.roll(1, dims=0), before.roll(1, dims=0)
        found, wanted = (
            ((one[:, :, cells].mT @ two) / self.temperature).log_softmax(dim=2)
            for one, two in zip((now, before), there, strict=True)
        )
        divergence = nn.functional.kl_div(found, wanted.detach(), reduction="none", log_target=True)
        return list(divergence.sum(dim=2).mean(dim=1))

    def _points(
        self, batch: PairBatch, index: int, drawn: tuple[Tensor, ...], kind: str
    ) -> tuple[Tensor, Tensor]:
        xy0, xy1, known = (part[index] for part in drawn)
        seen = batch.seen[index]
        if kind == "geometric":
            return xy0[known], xy1[known]
        if bool(seen.any()) and not (self.semantic_points and bool(known.any())):
            return batch.xy0[index][seen], batch.xy1[index][seen]
        # Without keypoints, as many as of any other pair.
        few = self.semantic_points or self.points
        return xy0[known][:few], xy1[known][:few]

    def _read(self, maps: Tensor, xy0: Tensor, xy1: Tensor, batch: PairBatch) -> tuple[Tensor, Tensor]:
        one = sampled(maps[:1], xy0[None].to(maps), batch.size)[0]
        return one, sampled(maps[1:], xy1[None].to(maps), batch.size)[0]
