"""LoFTR (Sun et al., CVPR 2021) through kornia: matches on the grid of one image, refined in the other.

Its network is a matcher in itself: a convolutional part that sees each image alone, and a transformer
that pairs their cells. What the former says is remembered like any extraction, so that of many pairs
with one image only the latter is computed anew.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import MissingDependencyError
from homolog.core.feature_cache import FeatureCache
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.io import as_image
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.protocols import ImageLike
from homolog.core.weights import load_state, restore
from homolog.matchers.correspondence import SparseCorrespondence
from homolog.matchers.extraction import Extraction
from homolog.matchers.fitting import Fitting
from homolog.matchers.remembered import Remembered
from homolog.matchers.side import Side

try:
    from kornia.feature import LoFTR as Network
    from kornia.feature.loftr.loftr import default_cfg as published_configuration
except ImportError as error:
    raise MissingDependencyError("kornia", "the matcher loftr") from error

COARSE, FINE = "loftr.coarse", "loftr.fine"
"""The maps that the convolutional part makes, at an eighth and at half of the image's size."""

BEYOND_CENTRE = 0.5
"""Where LoFTR's weights put the centre of pixel 0, as kornia's documentation says; homolog's is at 0."""


class Loftr(nn.Module):
    """The network with what a matcher needs around it.

    Scores are the confidence of the coarse match. It finds matches between cells of its own choice,
    and cannot transfer points.
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
        memory: int = 512_000_000,
    ) -> None:
        """Build the network; it starts in evaluation mode.

        Args:
            checkpoint: `loftr_outdoor.ckpt`, `loftr_indoor_ds_new.ckpt` or another that fits; None
                leaves the weights random.
            match_threshold: keep matches of a confidence above this; 0.2 in the paper.
            border: cells at the edges of each image that take no part; 2 in the paper.
            fixed_positions: encode positions as the paper says. The first weights were trained with a
                mistake there, those of `loftr_indoor_ds_new.ckpt` without.
            resize: images are scaled down to this longer side, in pixels; None keeps their size up to
                the multiples of 8 that LoFTR requires. 840 for the published outdoor results.
            enlarge: also scale smaller images up to `resize`.
            memory: bytes of extracted features to remember.

        Raises:
            ConfigError: sizes out of range.
            WeightsError: the file is damaged or does not fit.
        """
        super().__init__()
        configuration: dict[str, Any] = deepcopy(published_configuration)
        configuration["match_coarse"] |= {"thr": match_threshold, "border_rm": border}
        configuration["coarse"]["temp_bug_fix"] = fixed_positions
        # Without the name of published weights kornia downloads nothing.
        self.network = Network(None, configuration)
        if checkpoint is not None:
            nested = None if checkpoint.suffix == ".safetensors" else "state_dict"
            state = load_state(checkpoint, key=nested)
            restore(
                self.network,
                {name.removeprefix("matcher."): value for name, value in state.items()},
                name=f"LoFTR from {checkpoint.name}",
            )
        self._fitting = Fitting(multiple=configuration["resolution"][0], resize=resize, enlarge=enlarge)
        self._remembered = Remembered(memory)
        self.eval()

    def match(self, image0: ImageLike, image1: ImageLike) -> SparseCorrespondence:
        """Match two images; each may be a path, a PIL image, an array or an `Image`.

        Returns:
            The correspondence, in pixels of the images' originals.

        Raises:
            DataError: an image that cannot be read; the message names it.
        """
        given0, given1 = as_image(image0), as_image(image1)
        seen0, seen1 = self._extracted(given0), self._extracted(given1)
        sides = _side(given0, seen0), _side(given1, seen1)
        return SparseCorrespondence(sides, (seen0, seen1), self, reader=None)

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Pair the cells of two images, and refine their places in the second.

        Args:
            keypoints0: not read.
            keypoints1: not read.
            features0: what the convolutional part says of image 0.
            features1: what it says of image 1.
        """
        found: dict[str, Tensor] = self.network(
            {"features0": _maps(features0), "features1": _maps(features1)}
        )
        return Matches(
            xy0=found["keypoints0"] - BEYOND_CENTRE,
            xy1=found["keypoints1"] - BEYOND_CENTRE,
            score=found["confidence"],
        )

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Keep what is extracted on disk too, where later runs and other processes find it.

        Args:
            cache: where to keep it.
            recipe: hash of all that decides the features but the pixels; `load_matcher` makes it.
        """
        self._remembered.use_cache(cache, recipe)

    def forget(self) -> None:
        """Drop everything that was extracted and is held in memory."""
        self._remembered.forget()

    def _extracted(self, image: Image) -> Extraction:
        fitted = self._fitting.alone(image)
        device = next(self.parameters()).device

        def make() -> list[Extraction]:
            with torch.inference_mode():
                maps = self.network.extract_features(_gray(fitted.pixels[None].to(device)))
            features = Features(
                maps={COARSE: maps["coarse"][:, None], FINE: maps["fine"][:, None]}, image_size=fitted.size
            )
            none = fitted.pixels.new_zeros(0, device=device)
            return [Extraction(features=features, keypoints=Keypoints(xy=none.reshape(0, 2), score=none))]

        return self._remembered.get([fitted], make, device=device)[0]


def _gray(rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    # ITU-R BT.601, as the photos that LoFTR was trained on were read.
    weights = rgb.new_tensor((0.299, 0.587, 0.114))
    return F.conv2d(rgb, weights.reshape(1, 3, 1, 1))


def _maps(features: Features) -> dict[str, Tensor]:
    return {"coarse": features[COARSE][:, 0], "fine": features[FINE][:, 0]}


def _side(image: Image, seen: Extraction) -> Side:
    return Side(size=image.size, to_original=image.to_original, seen_size=seen.features.image_size)
