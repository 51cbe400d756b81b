"""What a sparse matcher found out about a pair, in pixels of the original files."""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError
from homolog.core.keypoints import Matches
from homolog.core.protocols import Points, SimilarityHead, SparseHead, TransferHead
from homolog.matchers.extraction import Extraction
from homolog.matchers.points import as_points
from homolog.matchers.side import Side


class SparseCorrespondence:
    """Matches between keypoints, and single points transferred through the feature map.

    Nothing is computed before it is asked for, and matches are computed once.
    """

    def __init__(
        self,
        sides: tuple[Side, Side],
        seen: tuple[Extraction, Extraction],
        head: SparseHead,
        *,
        reader: TransferHead | None,
    ) -> None:
        """Remember both sides.

        Args:
            sides: image 0 and image 1.
            seen: what was extracted from each.
            head: pairs the keypoints.
            reader: finds single points; None when there is no map to find them on.
        """
        self._side0, self._side1 = sides
        self._seen0, self._seen1 = seen
        self._head = head
        self._reader = reader
        self._matches: Matches | None = None

    @property
    def can_transfer(self) -> bool:
        """Whether `transfer` works."""
        return self._reader is not None

    @property
    def keypoints0(self) -> Float[Tensor, "N 2"]:
        """Where image 0 has keypoints, matched or not, in pixels of the original file (float32, on the CPU)."""
        return self._side0.xy_to_original(self._seen0.keypoints.xy)

    @property
    def keypoints1(self) -> Float[Tensor, "N 2"]:
        """Where image 1 has keypoints; see `keypoints0`."""
        return self._side1.xy_to_original(self._seen1.keypoints.xy)

    def matches(self, limit: int | None = None) -> Matches:
        """Return the best matches, best first, in pixels of the original files (float32, on the CPU).

        Args:
            limit: how many at most; None returns all.

        Raises:
            ShapeError: a negative limit.
        """
        if self._matches is None:
            self._matches = self._match()
        return self._matches.best(limit)

    def transfer(self, xy0: Points) -> Transfer:
        """Say where points of image 0 are in image 1, in pixels of the original files.

        Args:
            xy0: [N 2] of (x, y): a tensor, an array or a list. A point beside image 0 is read at the
                nearest place on it, and its confidence is 0.

        Returns:
            Places in image 1 and confidence in [0, 1]; float32, on the CPU.

        Raises:
            CapabilityError: the matcher finds sparse matches only.
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        if self._reader is None:
            raise CapabilityError(
                "this matcher finds sparse matches only; to transfer points use one with head nearest and a "
                "backbone, such as matcher=mini"
            )
        seen0, seen1 = self._seen0.features, self._seen1.features
        at, on_image = self._side0.xy_from_original(as_points(xy0))
        first = next(iter(seen0.maps.values()))
        with torch.inference_mode():
            found = self._reader.transfer(at.to(first.device, torch.float32), seen0, seen1)
        confidence = found.confidence.to("cpu", torch.float32) * on_image
        return Transfer(self._side1.xy_to_original(found.xy), confidence)

    def similarity(self, xy0: Points) -> Float[Tensor, "N h w"]:
        """Compare points of image 0 with every cell of image 1, to see what else they resemble.

        Args:
            xy0: [N 2] of (x, y) in pixels of the original file, as for `transfer`.

        Returns:
            Cosines on the grid of the map that points are transferred on, which covers the image that was
            given as image 1; float32, on the CPU.

        Raises:
            CapabilityError: the matcher compares no maps.
            ShapeError: not [N 2].
            DataError: a coordinate that is not finite.
        """
        if not isinstance(self._reader, SimilarityHead):
            raise CapabilityError(
                "this matcher compares no points with whole maps; for similarities use one with head nearest "
                "and a backbone, such as matcher=mini"
            )
        seen0, seen1 = self._seen0.features, self._seen1.features
        at, _ = self._side0.xy_from_original(as_points(xy0))
        first = next(iter(seen0.maps.values()))
        with torch.inference_mode():
            cosine = self._reader.similarity(at.to(first.device, torch.float32), seen0, seen1)
        # Cloned outside of inference mode, so that callers may do with it what they like.
        return cosine.to("cpu", torch.float32).clone()

    def _match(self) -> Matches:
        seen0, seen1 = self._seen0, self._seen1
        with torch.inference_mode():
            found = self._head(seen0.keypoints, seen1.keypoints, seen0.features, seen1.features)
        # Cloned outside of inference mode, so that callers may do with it what they like.
        score = found.score.to("cpu", torch.float32).clone()
        return Matches(
            xy0=self._side0.xy_to_original(found.xy0), xy1=self._side1.xy_to_original(found.xy1), score=score
        )
