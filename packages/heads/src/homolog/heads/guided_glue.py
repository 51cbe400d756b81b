"""A glue whose keypoints listen across images only where a foundation model sees a resemblance.

Source: Jiang et al., "OmniGlue: Generalizable Feature Matching with Foundation Model Guidance" (CVPR
2024), sections 3.3 and 3.4. Its head was released as a compiled model without code, so what the paper
leaves open follows SuperGlue, from whose code the layers come, or is an option here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.weights import load_state, restore
from homolog.heads.assignment import Assignment, Method, mutual_matches
from homolog.heads.glue_layer import EVERYONE, GlueLayer, Listening, listening
from homolog.heads.glue_start import start_as_nearest
from homolog.heads.guidance import Lookup, guided_edges, look_up
from homolog.heads.keypoint_position import Encoding, KeypointPosition, Norm
from homolog.heads.padded import PaddedKeypoints, pad_keypoints

Guidance = Literal["cross", "self_and_cross", "none"]
"""Which attention the foundation model prunes (OmniGlue, table 5: "inter", "inter and intra", none)."""

Position = Literal["guided", "entangled", "self_only", "none"]
"""How positions enter (OmniGlue, table 5); see `GuidedGlue`."""

Start = Literal["random", "nearest"]
"""What an untrained glue does: see `GuidedGlue`."""

NO_GUIDANCE = "guided_glue: expected features that guide, got none; give the matcher a backbone, or set head.guidance=none"


class GuidedGlue(nn.Module):
    """Pairs keypoints by what they, their neighbours and their likely partners look like.

    Layers come in pairs, one inside each image and one across. Both images go through the same layer and
    are updated at once, so exchanging them transposes the result.

    `position` says how positions enter:

    - `guided`: added in queries and keys, never in values (equations 3 to 5), so that no position
      becomes part of a descriptor;
    - `entangled`: added to the descriptors once, at the start, as SuperGlue does;
    - `self_only`: guided inside of the images, and left out across them;
    - `none`: left out.

    `guidance` says what is pruned: of a keypoint's edges across the images the share `keep` survives, by
    the resemblance of the features of `map` (section 3.3, "top half"). The graphs are built once per
    pair and serve all layers and heads, in training from the first step on. Pruning inside of images too
    is what table 5 found to hurt. The final assignment is between all keypoints.
    """

    def __init__(
        self,
        checkpoint: Path | None,
        *,
        input_dim: int = 256,
        width: int = 256,
        layers: int = 9,
        heads: int = 4,
        map: str | None = None,
        lookup: Lookup = "centre",
        guidance: Guidance = "cross",
        keep: float = 0.5,
        position: Position = "guided",
        encoding: Encoding = "mlp",
        divisor: float = 0.7,
        use_score: bool = False,
        norm: Norm = "layer",
        assignment: Method = "sinkhorn",
        iterations: int = 100,
        projection: bool = True,
        scaled: bool = True,
        match_threshold: float = 0.2,
        start: Start = "random",
    ) -> None:
        """Build the network.

        Args:
            checkpoint: its weights; None leaves them random.
            input_dim: length of the keypoints' descriptors; another than `width` is projected first.
            width: C; 256 in the paper (section 4.2).
            layers: pairs of self and cross attention; 9 in the paper.
            heads: of each attention; equation 2 writes 1, SuperGlue has 4.
            map: whose features guide; None takes the only map there is.
            lookup: how it is read at keypoints, see `homolog.heads.guidance.look_up`.
            guidance: which attention it prunes.
            keep: the share of edges that survives; the paper's 0.5, and 0.3 to 0.6 in table 5.
            position: how positions enter.
            encoding: what a position is before its MLP; the paper's "positional embeddings" says no more.
            divisor: of coordinates: "normalized" in the paper; 0.7 in SuperGlue, 0.5 in LightGlue.
            use_score: make the detector's score part of the position, as SuperGlue does.
            norm: in the MLPs: `layer` as LightGlue (with GELU), `batch` as SuperGlue (with ReLU).
            assignment: `sinkhorn` as the paper, or LightGlue's `double_softmax`.
            iterations: of Sinkhorn, in training too: 100 in SuperGlue; the paper gives no number.
            projection: one more linear layer before the products, as in SuperGlue's equation 7.
            scaled: divide the products by the root of the width, as SuperGlue's code does.
            match_threshold: keep matches of a probability above this; 0.2 in SuperGlue, 0.02 in the release's
                demo. The paper's is unknown.
            start: of the weights where no checkpoint is given: `random`, or `nearest` (ours; no paper's),
                whose assignment is that of the descriptors' cosines until the layers have learnt.

        Raises:
            ConfigError: an option that does not exist, or a value out of its range.
            WeightsError: the file does not fit.
        """
        super().__init__()
        _check(guidance, position, keep, layers, start)
        self.input_dim = input_dim
        self.map = map
        self.lookup: Lookup = lookup
        self.guidance: Guidance = guidance
        self.keep = keep
        self.position: Position = position
        self.match_threshold = match_threshold
        self.input = nn.Identity() if input_dim == width else nn.Linear(input_dim, width)
        self.encoder = (
            None
            if position == "none"
            else KeypointPosition(width, encoding=encoding, norm=norm, divisor=divisor, use_score=use_score)
        )
        self.inside = nn.ModuleList(GlueLayer(width, heads=heads, norm=norm) for _ in range(layers))
        self.across = nn.ModuleList(GlueLayer(width, heads=heads, norm=norm) for _ in range(layers))
        self.assignment = Assignment(
            width, method=assignment, iterations=iterations, projection=projection, scaled=scaled
        )
        if start == "nearest":
            start_as_nearest(self.input, self.encoder, self.inside, self.across, self.assignment)
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=f"guided_glue from {checkpoint.name}")
        self.eval()

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return the matches of one pair; the score is their probability.

        Raises:
            CapabilityError: keypoints without descriptors, or no map for the guidance.
            ShapeError: descriptors of another length than the network's.
        """
        sides = [
            self.pad([keypoints], features)
            for keypoints, features in ((keypoints0, features0), (keypoints1, features1))
        ]
        if not len(keypoints0) or not len(keypoints1):
            none = torch.zeros(0, dtype=torch.long, device=keypoints0.xy.device)
            return Matches(
                xy0=keypoints0.xy[none],
                xy1=keypoints1.xy[none],
                score=keypoints0.score[none],
                index0=none,
                index1=none,
            )
        found = mutual_matches(self.log_assignment(*sides), match_threshold=self.match_threshold)
        index0 = (found.partner[0] >= 0).nonzero()[:, 0]
        index1 = found.partner[0, index0]
        return Matches(
            xy0=keypoints0.xy[index0],
            xy1=keypoints1.xy[index1],
            score=found.probability[0, index0],
            index0=index0,
            index1=index1,
        )

    def pad(
        self, keypoints: Sequence[Keypoints], features: Features, *, length: int | None = None
    ) -> PaddedKeypoints:
        """Prepare the keypoints of B images of one size for `log_assignment`.

        Args:
            keypoints: of each image.
            features: the maps of these images (V = 1); only the one that guides is read.
            length: to pad to; None takes the largest number of keypoints.

        Raises:
            CapabilityError: keypoints without descriptors, or no map for the guidance.
            ShapeError: descriptors of another length than the network's, or another number of images.
        """
        guidance = None
        if self.guidance != "none":
            map_ = features[self._map_name(features)]
            if map_.shape[:2] != (len(keypoints), 1):
                raise ShapeError(
                    f"guided_glue: expected maps of {len(keypoints)} images of one view, "
                    f"got B, V = {list(map_.shape[:2])}"
                )
            guidance = [
                look_up(each, found.xy, features.image_size, lookup=self.lookup)
                for each, found in zip(map_[:, 0], keypoints, strict=True)
            ]
        return self.join(keypoints, [features.image_size] * len(keypoints), guidance, length=length)

    def join(
        self,
        keypoints: Sequence[Keypoints],
        image_sizes: Sequence[Size],
        guidance: Sequence[Float[Tensor, "_N G"]] | None,
        *,
        length: int | None = None,
    ) -> PaddedKeypoints:
        """Prepare keypoints whose guidance is known already for `log_assignment`.

        Args:
            keypoints: of each image.
            image_sizes: (height, width) of each image in pixels.
            guidance: the features that guide, at the keypoints of each image; not read where nothing guides.
            length: to pad to; None takes the largest number of keypoints.

        Raises:
            CapabilityError: keypoints without descriptors.
            ShapeError: descriptors of another length than the network's.
        """
        needed = None if self.guidance == "none" else guidance
        padded = pad_keypoints(keypoints, image_sizes, needed, length=length)
        if padded.descriptor.shape[2] != self.input_dim:
            raise ShapeError(
                f"guided_glue: expected descriptors of length {self.input_dim}, got {padded.descriptor.shape[2]}; "
                "use the detector it was trained with, or set head.input_dim to train it for this one"
            )
        return padded

    def log_assignment(
        self, points0: PaddedKeypoints, points1: PaddedKeypoints
    ) -> Float[Tensor, "B rows columns"]:
        """Assign the keypoints of B pairs; what training learns from.

        Args:
            points0: keypoints of the images 0, as `pad` returns them.
            points1: keypoints of the images 1.

        Returns:
            [B N+1 M+1] log of the assignment; the last row and column are the dustbins, and padding is
            -inf. How far the keypoints are padded makes no difference to the rest.

        Raises:
            CapabilityError: keypoints without the features that guide.
        """
        tokens0, position0 = self._start(points0)
        tokens1, position1 = self._start(points1)
        valid0, valid1 = points0.valid, points1.valid
        self0, self1, cross0, cross1 = self._graphs(points0, points1, tokens0.dtype)
        within0, within1 = self._pair(position0, position0), self._pair(position1, position1)
        forth, back = None, None
        if self.position == "guided":
            forth, back = self._pair(position0, position1), self._pair(position1, position0)
        for inside, across in zip(self.inside, self.across, strict=True):
            tokens0, tokens1 = (
                inside(tokens0, tokens0, within0, self0, valid0),
                inside(tokens1, tokens1, within1, self1, valid1),
            )
            tokens0, tokens1 = (
                across(tokens0, tokens1, forth, cross0, valid0),
                across(tokens1, tokens0, back, cross1, valid1),
            )
        return self.assignment(tokens0, tokens1, valid0=valid0, valid1=valid1)

    def _start(self, points: PaddedKeypoints) -> tuple[Tensor, Tensor | None]:
        tokens = self.input(points.descriptor)
        if self.encoder is None:
            return tokens, None
        position = self.encoder(points.place, points.score, points.valid)
        return (tokens + position, None) if self.position == "entangled" else (tokens, position)

    def _pair(self, target: Tensor | None, source: Tensor | None) -> tuple[Tensor, Tensor] | None:
        return None if target is None or source is None else (target, source)

    def _graphs(
        self, points0: PaddedKeypoints, points1: PaddedKeypoints, dtype: torch.dtype
    ) -> tuple[Listening, Listening, Listening, Listening]:
        """Return who listens inside image 0 and image 1, and across from 0 to 1 and from 1 to 0."""
        valid0, valid1 = points0.valid, points1.valid
        self0, self1 = self._inside(points0, dtype), self._inside(points1, dtype)
        if self.guidance == "none":
            return self0, self1, listening(None, valid1, dtype), listening(None, valid0, dtype)
        edges0, edges1 = guided_edges(
            _guidance(points0), _guidance(points1), keep=self.keep, valid0=valid0, valid1=valid1
        )
        return self0, self1, listening(edges0, valid1, dtype), listening(edges1, valid0, dtype)

    def _inside(self, points: PaddedKeypoints, dtype: torch.dtype) -> Listening:
        if self.guidance != "self_and_cross":
            return EVERYONE if points.valid is None else listening(None, points.valid, dtype)
        own = _guidance(points)
        edges, _ = guided_edges(own, own, keep=self.keep, valid0=points.valid, valid1=points.valid)
        return listening(edges, points.valid, dtype)

    def _map_name(self, features: Features) -> str:
        if list(features.maps) == [PIXELS]:
            raise CapabilityError(NO_GUIDANCE)
        if self.map is not None:
            return self.map
        if len(features.maps) > 1:
            raise ConfigError(
                f"guided_glue: expected one of the maps {', '.join(features.maps)} to guide; set head.map"
            )
        return next(iter(features.maps))


def _guidance(points: PaddedKeypoints) -> Tensor:
    if points.guidance is None:
        raise CapabilityError(NO_GUIDANCE)
    return points.guidance


def _check(guidance: str, position: str, keep: float, layers: int, start: str) -> None:
    if start not in ("random", "nearest"):
        raise ConfigError(f"guided_glue: expected start random or nearest, got {start}")
    if guidance not in ("cross", "self_and_cross", "none"):
        raise ConfigError(f"guided_glue: expected guidance cross, self_and_cross or none, got {guidance}")
    if position not in ("guided", "entangled", "self_only", "none"):
        raise ConfigError(
            f"guided_glue: expected position guided, entangled, self_only or none, got {position}"
        )
    if not 0 < keep <= 1 or layers < 1:
        raise ConfigError(
            f"guided_glue: expected keep in (0, 1] and at least 1 layer, got {keep} and {layers}"
        )
