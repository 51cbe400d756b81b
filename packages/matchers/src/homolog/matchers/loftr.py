"""LoFTR (Sun et al., CVPR 2021) through kornia: matches on the grid of one image, refined in the other.

The network is a complete matcher: a convolutional part that sees one image at a time, and a
transformer that pairs the cells of two images. The output of the first part are the features of an
image, which are cached; only the second part runs for every pair.
"""

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import MissingDependencyError
from homolog.core.features import Features
from homolog.core.keypoints import Matches
from homolog.core.weights import load_state, restore
from homolog.matchers.base import Extracted, FeatureMatcher, ImageFeatures
from homolog.matchers.sparse import SparseCorrespondence

try:
    from kornia.feature import LoFTR as Network
    from kornia.feature.loftr.loftr import default_cfg as published_configuration
except ImportError as error:
    raise MissingDependencyError("kornia", "the matcher loftr") from error

COARSE, FINE = "loftr.coarse", "loftr.fine"
"""The maps of the convolutional part, at an eighth and at half of the size of the image."""

BEYOND_CENTRE = 0.5
"""Coordinate of the centre of pixel 0 for LoFTR's weights (documentation of kornia); homolog puts it at 0."""


class Loftr(FeatureMatcher[SparseCorrespondence]):
    """LoFTR as a matcher.

    Scores are the confidence of the coarse match. It matches cells instead of keypoints, and cannot
    transfer points.
    """

    def __init__(
        self,
        checkpoint: Path | None,
        *,
        match_threshold: float = 0.2,
        border: int = 2,
        fixed_positions: bool = False,
        resize: int | None = 840,
        enlarge: bool = False,
        batch_size: int = 4,
        memory: int = 512_000_000,
    ) -> None:
        """Build the network; the matcher starts in evaluation mode.

        Args:
            checkpoint: `loftr_outdoor.ckpt`, `loftr_indoor_ds_new.ckpt` or another that fits; None
                gives random weights.
            match_threshold: keep matches of a confidence above this; 0.2 in the paper.
            border: cells at the edges of each image that are ignored; 2 in the paper.
            fixed_positions: encode positions as in the paper. The first published weights were trained with a
                bug in the encoding, those of `loftr_indoor_ds_new.ckpt` without it.
            resize: images are scaled down to this longer side, in pixels; None keeps their size up to
                the multiples of 8 that LoFTR requires. 840 for the published outdoor results.
            enlarge: also scale smaller images up to `resize`.
            batch_size: images of one size that `extract` passes through the network at once, at most.
            memory: bytes of extracted features to keep in memory.

        Raises:
            ConfigError: sizes out of range.
            WeightsError: the file is damaged or does not fit.
        """
        configuration: dict[str, Any] = deepcopy(published_configuration)
        super().__init__(
            multiple=configuration["resolution"][0],
            resize=resize,
            enlarge=enlarge,
            batch_size=batch_size,
            memory=memory,
        )
        configuration["match_coarse"] |= {"thr": match_threshold, "border_rm": border}
        configuration["coarse"]["temp_bug_fix"] = fixed_positions
        # With None instead of a name kornia downloads nothing.
        self.network = Network(None, configuration)
        if checkpoint is not None:
            nested = None if checkpoint.suffix == ".safetensors" else "state_dict"
            state = load_state(checkpoint, key=nested)
            restore(
                self.network,
                {name.removeprefix("matcher."): value for name, value in state.items()},
                name=f"LoFTR from {checkpoint.name}",
            )
        self.eval()

    def match_features(self, features0: ImageFeatures, features1: ImageFeatures) -> SparseCorrespondence:
        """Compare two images by their features, as `extract` returns them.

        Returns:
            The correspondence, in pixels of the original files.
        """
        features0, features1 = features0.to(self.device), features1.to(self.device)
        find = partial(self, features0.features, features1.features)
        return SparseCorrespondence(features0, features1, find, reader=None)

    def forward(self, features0: Features, features1: Features) -> Matches:
        """Pair the cells of two images, and refine their positions in the second.

        Args:
            features0: output of the convolutional part for image 0.
            features1: the same for image 1.
        """
        found: dict[str, Tensor] = self.network(
            {"features0": _maps(features0), "features1": _maps(features1)}
        )
        return Matches(
            xy0=found["keypoints0"] - BEYOND_CENTRE,
            xy1=found["keypoints1"] - BEYOND_CENTRE,
            score=found["confidence"],
        )

    def _views(self, pixels: Float[Tensor, "N 3 H W"]) -> list[Extracted]:
        found = self.network.extract_features(_gray(pixels))
        maps = {COARSE: found["coarse"][:, None], FINE: found["fine"][:, None]}
        features = Features(maps=maps, image_size=(pixels.shape[-2], pixels.shape[-1]))
        return [(features.item(index), None) for index in range(len(pixels))]


def _gray(rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    # ITU-R BT.601, as for the photos that LoFTR was trained on.
    weights = rgb.new_tensor((0.299, 0.587, 0.114))
    return F.conv2d(rgb, weights.reshape(1, 3, 1, 1))


def _maps(features: Features) -> dict[str, Tensor]:
    return {"coarse": features[COARSE][:, 0], "fine": features[FINE][:, 0]}
