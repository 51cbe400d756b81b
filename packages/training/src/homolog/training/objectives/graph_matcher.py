"""The objective of graph matchers: keypoints labelled by a homography, or by depth and pose."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, DataError
from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import Detector
from homolog.training.batch import PairBatch
from homolog.training.cached_pairs import CachedPair
from homolog.training.ground_truth import IGNORED, MatchLabeller
from homolog.training.losses.sparse import assignment_loss
from homolog.training.objectives.base import AssignmentHead, Step, part


class GraphMatcherObjective(nn.Module):
    """The term `assignment` of a head that assigns keypoints to one another (OmniGlue, section 3.5).

    The detector and the backbone are frozen. For pairs of `CachedPairs` only the head runs: their keypoints,
    guidance features and labels are already known.
    """

    def __init__(
        self,
        *,
        keypoints: int = 512,
        positive: float | int = 3.0,
        negative_homography: float | int = 3.0,
        negative_depth: float | int = 5.0,
        balance: float | int = 0.5,
    ) -> None:
        """Set up the labels.

        Args:
            keypoints: maximum number of keypoints per image, the best ones; memory grows with it. A stage's
                option `keypoints` overrides it.
            positive: see `MatchLabeller`.
            negative_homography: see `MatchLabeller`.
            negative_depth: see `MatchLabeller`.
            balance: see `assignment_loss`.

        Raises:
            ConfigError: a negative distance below the positive one.
        """
        super().__init__()
        self.keypoints, self.balance = keypoints, float(balance)
        self.labeller = MatchLabeller(
            positive=positive, negative_homography=negative_homography, negative_depth=negative_depth
        )
        self.terms = ("assignment",)

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the term.

        Raises:
            ConfigError: a matcher whose descriptors come from its backbone, or a head that assigns no keypoints.
            DataError: a pair with neither homography nor depth and pose, or a batch that mixes cached and
                other pairs.
        """
        if getattr(matcher, "descriptor_map", None) is not None:
            raise ConfigError(
                "graph matcher objective: expected the detector's descriptors; set matcher.descriptor_map=null"
            )
        head = part(matcher, "head", AssignmentHead)
        points, labels = self._cached(head, batch) or self._detected(matcher, head, batch, step)
        assignment = head.log_assignment(*points)
        matches0, matches1 = (
            _padded(each, length).to(assignment.device)
            for each, length in zip(labels, (assignment.shape[1] - 1, assignment.shape[2] - 1), strict=True)
        )
        loss = assignment_loss(assignment, matches0, matches1, balance=self.balance)
        return {"assignment": loss.total.mean()}

    def _cached(self, head: AssignmentHead, batch: PairBatch) -> "_Inputs | None":
        """Return the keypoints and labels of cached pairs; None if there are none."""
        pairs = [sample for sample in batch.samples if isinstance(sample, CachedPair)]
        if not pairs:
            return None
        if len(pairs) < len(batch):
            raise DataError(
                "graph matcher objective: expected all pairs of a batch to be cached, or none, got "
                f"{len(pairs)} of {len(batch)}; cache all sources of the stage, or set alternate"
            )
        points: list[object] = []
        for side in (0, 1):
            guidance = [getattr(pair, f"guidance{side}") for pair in pairs]
            points.append(
                head.join(
                    [getattr(pair, f"keypoints{side}").to(batch.images.device) for pair in pairs],
                    [pair.image_size for pair in pairs],
                    None if None in guidance else [each.to(batch.images.device) for each in guidance],
                )
            )
        return points, ([pair.matches0 for pair in pairs], [pair.matches1 for pair in pairs])

    def _detected(self, matcher: nn.Module, head: AssignmentHead, batch: PairBatch, step: Step) -> "_Inputs":
        """Detect keypoints, sample their guidance features, and label them."""
        detector = part(matcher, "detector", Detector)
        max_keypoints = int(step.options.get("keypoints", self.keypoints))
        found: list[list[Keypoints]] = []
        features_of: list[Features] = []
        with torch.no_grad():
            for side in (0, 1):
                views = batch.images[:, side]
                size = int(views.shape[-2]), int(views.shape[-1])
                backbone = getattr(matcher, "backbone", None)
                pixels = Features(maps={PIXELS: views[:, None]}, image_size=size)
                features = pixels if backbone is None else backbone(views[:, None])
                found.append([keypoints.best(max_keypoints) for keypoints in detector(views, features)])
                features_of.append(features)
        points = [head.pad(*each) for each in zip(found, features_of, strict=True)]
        truths = [
            self.labeller.label(sample, one.xy, two.xy)
            for sample, one, two in zip(batch.samples, *found, strict=True)
        ]
        return points, ([truth.matches0 for truth in truths], [truth.matches1 for truth in truths])


_Inputs = tuple[list[object], tuple[list[Tensor], list[Tensor]]]
"""The keypoints of both images as the head reads them, and their true matches."""


def _padded(labels: Sequence[Tensor], length: int) -> Tensor:
    rows = labels[0].new_full((len(labels), length), IGNORED)
    for row, each in zip(rows, labels, strict=True):
        row[: len(each)] = each
    return rows
