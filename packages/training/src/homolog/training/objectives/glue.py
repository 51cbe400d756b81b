"""What a glue learns from: keypoints whose true partners follow from a homography, or from depth and pose."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, DataError
from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import Detector
from homolog.training.batch import PairBatch
from homolog.training.glue_truth import GlueTruth
from homolog.training.ground_truth_matches import IGNORED
from homolog.training.losses.assignment import assignment_loss
from homolog.training.objective import Step
from homolog.training.parts import AssigningHead, part
from homolog.training.seen_pairs import SeenPair


class GlueObjective(nn.Module):
    """The one term of a matcher whose head assigns keypoints to one another (OmniGlue, section 3.5).

    The detector and the backbone see the images without learning. Pairs of `SeenPairs` were seen before;
    their keypoints, guidance and truth are taken as they are, and no other part than the head runs.
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
        """Choose the labels.

        Args:
            keypoints: of each image at most, the best ones; what memory grows with. A stage's option of this name
                wins.
            positive: pixels below which mutually nearest keypoints match.
            negative_homography: pixels beyond which a keypoint has no partner.
            negative_depth: the same for pairs with depth.
            balance: of `assignment_loss`.

        Raises:
            ConfigError: a negative distance below the positive one.
        """
        super().__init__()
        self.keypoints, self.balance = keypoints, float(balance)
        self.truth = GlueTruth(
            positive=positive, negative_homography=negative_homography, negative_depth=negative_depth
        )
        self.terms = ("assignment",)

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the term.

        Raises:
            ConfigError: a matcher that describes keypoints by a map of its backbone, or a head that assigns none.
            DataError: a pair with neither homography nor depth and pose, or a batch of which only some
                pairs were seen before.
        """
        if getattr(matcher, "descriptor_map", None) is not None:
            raise ConfigError(
                "glue objective: expected the detector's descriptors; set matcher.descriptor_map=null"
            )
        head = part(matcher, "head", AssigningHead)
        points, labels = self._known(head, batch) or self._seen(matcher, head, batch, step)
        assignment = head.log_assignment(*points)
        matches0, matches1 = (
            _padded(each, length).to(assignment.device)
            for each, length in zip(labels, (assignment.shape[1] - 1, assignment.shape[2] - 1), strict=True)
        )
        loss = assignment_loss(assignment, matches0, matches1, balance=self.balance)
        return {"assignment": loss.total.mean()}

    def _known(self, head: AssigningHead, batch: PairBatch) -> "_Task | None":
        """Return what was kept of the pairs, or None where all are to be seen."""
        pairs = [sample for sample in batch.samples if isinstance(sample, SeenPair)]
        if not pairs:
            return None
        if len(pairs) < len(batch):
            raise DataError(
                "glue objective: expected pairs that were all seen before, or none, in a batch; got "
                f"{len(pairs)} of {len(batch)}; make all sources of the stage seen, or set alternate"
            )
        points: list[object] = []
        for side in (0, 1):
            guidance = [getattr(pair, f"guidance{side}") for pair in pairs]
            points.append(
                head.join(
                    [_moved(getattr(pair, f"keypoints{side}"), batch.images.device) for pair in pairs],
                    [pair.seen_size for pair in pairs],
                    None if None in guidance else [each.to(batch.images.device) for each in guidance],
                )
            )
        return points, ([pair.matches0 for pair in pairs], [pair.matches1 for pair in pairs])

    def _seen(self, matcher: nn.Module, head: AssigningHead, batch: PairBatch, step: Step) -> "_Task":
        """Detect keypoints, look up what guides them, and label them."""
        detector = part(matcher, "detector", Detector)
        limit = int(step.options.get("keypoints", self.keypoints))
        found: list[list[Keypoints]] = []
        seen: list[Features] = []
        with torch.no_grad():
            for side in (0, 1):
                views = batch.images[:, side]
                features = self._features(matcher, views)
                found.append([keypoints.best(limit) for keypoints in detector(views, features)])
                seen.append(features)
        points = [head.pad(*each) for each in zip(found, seen, strict=True)]
        truths = [
            self.truth.of(sample, one.xy, two.xy)
            for sample, one, two in zip(batch.samples, *found, strict=True)
        ]
        return points, ([truth.matches0 for truth in truths], [truth.matches1 for truth in truths])

    def _features(self, matcher: nn.Module, views: Tensor) -> Features:
        backbone = getattr(matcher, "backbone", None)
        if backbone is None:
            size = int(views.shape[-2]), int(views.shape[-1])
            return Features(maps={PIXELS: views[:, None]}, image_size=size)
        return backbone(views[:, None])


_Task = tuple[list[object], tuple[list[Tensor], list[Tensor]]]
"""The keypoints of both sides as the head reads them, and their true partners."""


def _moved(keypoints: Keypoints, device: torch.device) -> Keypoints:
    assert keypoints.descriptor is not None
    return Keypoints(
        xy=keypoints.xy.to(device),
        score=keypoints.score.to(device),
        descriptor=keypoints.descriptor.to(device),
    )


def _padded(labels: Sequence[Tensor], length: int) -> Tensor:
    rows = labels[0].new_full((len(labels), length), IGNORED)
    for row, each in zip(rows, labels, strict=True):
        row[: len(each)] = each
    return rows
