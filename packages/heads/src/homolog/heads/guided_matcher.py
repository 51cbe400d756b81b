"""A learned matcher whose keypoints attend across images only where a foundation model finds them similar.

Source: Jiang et al., "OmniGlue: Generalizable Feature Matching with Foundation Model Guidance" (CVPR
2024), sections 3.3 and 3.4. Its head was released as a compiled model without code, so whatever the paper
leaves open follows SuperGlue, whose layers it uses, or is an option here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import CapabilityError, ConfigError, ShapeError, one_of
from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.weights import load_state, restore
from homolog.heads.attention import (
    AttentionMask,
    Encoding,
    GuidedLayer,
    KeypointPosition,
    Lookup,
    Norm,
    attention_mask,
    guided_edges,
    look_up,
)
from homolog.heads.optimal_transport import Assignment, Method, mutual_matches
from homolog.heads.read_out import paired


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedKeypoints:
    """The keypoints of B images, each padded to L, the largest number of them, which is at least 1.

    Attributes:
        place: [B L 2] (x, y) from the centre of the image, in units of its longer side: within
            [-0.5, 0.5].
        score: [B L] the detector's.
        descriptor: [B L D] the detector's.
        guidance: [B L G] features that decide which keypoints attend to each other, or None.
        valid: [B L] False where there is padding, or None where there is none.
    """

    place: Float[Tensor, "B L 2"]
    score: Float[Tensor, "B L"]
    descriptor: Float[Tensor, "B L D"]
    guidance: Float[Tensor, "B L G"] | None
    valid: Bool[Tensor, "B L"] | None


def place_in_image(xy: Float[Tensor, "N 2"], image_size: Size) -> Float[Tensor, "N 2"]:
    """Express pixel coordinates from the image's centre, in units of its longer side.

    >>> place_in_image(torch.tensor([[-0.5, 1.5]]), (4, 8)).tolist()
    [[-0.5, 0.0]]
    """
    height, width = image_size
    half = xy.new_tensor((width, height)) / (2 * max(height, width))
    return pixel_to_normalised(xy, image_size) * half


def pad_keypoints(
    keypoints: Sequence[Keypoints],
    image_sizes: Sequence[Size],
    guidance: Sequence[Float[Tensor, "_N G"]] | None = None,
    *,
    length: int | None = None,
) -> PaddedKeypoints:
    """Bring keypoints of several images to one length.

    Args:
        keypoints: of each image, with descriptors of one length.
        image_sizes: (height, width) of each image in pixels.
        guidance: features at the keypoints of each image, if there are any.
        length: to pad to; None takes the largest number of keypoints.

    Raises:
        CapabilityError: keypoints without descriptors.
        ShapeError: no images, or more keypoints than the length.
    """
    counts = [len(each) for each in keypoints]
    if not counts:
        raise ShapeError("expected the keypoints of at least one image, got none")
    length = max(1, *counts) if length is None else length
    if length < max(1, *counts):
        raise ShapeError(f"expected a length of at least {max(1, *counts)}, got {length}")
    places = [place_in_image(each.xy, size) for each, size in zip(keypoints, image_sizes, strict=True)]
    valid = None
    if min(counts) < length:
        count = torch.tensor(counts, device=places[0].device)
        valid = torch.arange(length, device=count.device) < count[:, None]
    return PaddedKeypoints(
        place=_padded(places, length),
        score=_padded([each.score for each in keypoints], length),
        descriptor=_padded([_descriptor(each) for each in keypoints], length),
        guidance=None if guidance is None else _padded(list(guidance), length),
        valid=valid,
    )


def _padded(parts: list[Tensor], length: int) -> Tensor:
    whole = parts[0].new_zeros(len(parts), length, *parts[0].shape[1:])
    for sample, part in zip(whole, parts, strict=True):
        sample[: len(part)] = part
    return whole


def _descriptor(keypoints: Keypoints) -> Tensor:
    if keypoints.descriptor is None:
        raise CapabilityError(
            "guided_matcher: expected keypoints with descriptors, got none; use a detector that describes them, or "
            "name a map of the backbone as descriptor_map"
        )
    return keypoints.descriptor


TEMPERATURE = 40.0
"""Score of two equal descriptors. XFeat's partners have a cosine of 0.75 to 0.95 and each point ten others of
0.7; on training pairs 20 leaves most partners undecided, and beyond 60 wrong ones are too confident."""

NO_PARTNER = 0.8
"""Cosine that is as good as having no partner, where there is a dustbin."""

MATCHABLE = 2.0
"""Logit of having a partner, where there is no dustbin: 0.88."""


@torch.no_grad()
def start_as_nearest(
    input_: nn.Module,
    encoder: KeypointPosition | None,
    inside: Iterable[nn.Module],
    across: Iterable[nn.Module],
    assignment: Assignment,
) -> None:
    """Make scores the cosines of unit descriptors, `TEMPERATURE` times.

    The first projection becomes an isometry whose tokens have entries of about 1, the last a multiple of
    the identity. Positions are zero, and layers add nothing: the last weights of each are zero, and learn at
    once. Layers across images already read useful values at the start: keypoints attend to similar
    ones, and half of the hidden units measure the difference.

    Args:
        input_: the projection of descriptors to the network's width, or an identity.
        encoder: of positions, or None.
        inside: the layers inside of images.
        across: the layers across images.
        assignment: the last part.

    Raises:
        ConfigError: a projection that loses dimensions, or no final projection whose scale could be set.
    """
    if assignment.projection is None:
        raise ConfigError(
            "guided_matcher: start=nearest expects projection=true, which sets the scale of scores"
        )
    squared = _isometric(input_)
    if encoder is not None:
        nn.init.zeros_(encoder.layers[-1].get_parameter("weight"))
    for layer in inside:
        nn.init.zeros_(cast(GuidedLayer, layer).narrow.weight)
    for layer in across:
        _attend_to_the_nearest(cast(GuidedLayer, layer), squared)
    width = assignment.projection.out_features
    gain = sqrt(TEMPERATURE * (sqrt(width) if assignment.scaled else 1.0) / squared)
    _set(assignment.projection, torch.eye(width) * gain)
    if assignment.dustbin is not None:
        assignment.dustbin.fill_(TEMPERATURE * NO_PARTNER)
    if assignment.matchability is not None:
        nn.init.zeros_(assignment.matchability.weight)
        nn.init.constant_(assignment.matchability.bias, MATCHABLE)


def _isometric(input_: nn.Module) -> float:
    """Keep all angles between descriptors; return the squared length of the tokens."""
    if not isinstance(input_, nn.Linear):
        return 1.0
    if input_.in_features > input_.out_features:
        raise ConfigError(
            f"guided_matcher: start=nearest expects a width of at least input_dim, got {input_.out_features} "
            f"and {input_.in_features}; use start=random"
        )
    squared = float(input_.out_features)
    nn.init.orthogonal_(input_.weight, gain=sqrt(squared))
    nn.init.zeros_(input_.bias)
    return squared


def _attend_to_the_nearest(layer: GuidedLayer, squared: float) -> None:
    width = layer.query.out_features
    # Each head sees its part of the cosine, and divides by the root of its length.
    gain = sqrt(TEMPERATURE * sqrt(layer.heads * width) / squared)
    compared = _turn(width) * gain
    read = _turn(width)
    _set(layer.query, compared)
    _set(layer.key, compared)
    _set(layer.value, read)
    _set(layer.join, read.T)
    differing = _turn(width)
    layer.widen.weight[:width] = torch.cat((differing, -differing), dim=1)
    nn.init.zeros_(layer.narrow.weight)


def _turn(width: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(width, width))


def _set(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
    nn.init.zeros_(linear.bias)


Guidance = Literal["cross", "self_and_cross", "none"]
"""Which attention the foundation model prunes (OmniGlue, table 5: "inter", "inter and intra", none)."""

Position = Literal["guided", "entangled", "self_only", "none"]
"""How positions enter (OmniGlue, table 5); see `GuidedMatcher`."""

Start = Literal["random", "nearest"]
"""How an untrained network starts: see `GuidedMatcher`."""

NO_GUIDANCE = "guided_matcher: expected features that guide, got none; give the matcher a backbone, or set head.guidance=none"


class GuidedMatcher(nn.Module):
    """Pairs keypoints by their own look, that of their neighbours and of their likely partners.

    Layers come in pairs, one inside each image and one across. Both images go through the same layer and
    are updated together, so exchanging them transposes the result.

    `position` chooses how positions enter:

    - `guided`: added in queries and keys, never in values (equations 3 to 5), so that no position
      becomes part of a descriptor;
    - `entangled`: added to the descriptors once, at the start, as SuperGlue does;
    - `self_only`: guided inside the images, left out across them;
    - `none`: left out.

    `guidance` chooses what is pruned: of a keypoint's edges across the images the fraction `keep` with the most
    similar features of `map` survives (section 3.3, "top half"). The graphs are built once per
    pair and serve all layers and heads, in training from the first step on. Table 5 found that pruning
    inside images as well hurts. The final assignment is between all keypoints.
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
            map: whose features guide; None takes the only map.
            lookup: how it is read at keypoints, see `homolog.heads.attention.look_up`.
            guidance: which attention it prunes.
            keep: the fraction of edges that survives; the paper's 0.5, and 0.3 to 0.6 in table 5.
            position: how positions enter.
            encoding: what a position is before its MLP; the paper only says "positional embeddings".
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
                whose assignment is that of the descriptors' cosines until the layers have been trained.

        Raises:
            ConfigError: an option that does not exist, or a value out of its range.
            WeightsError: the file does not fit.
        """
        super().__init__()
        one_of("start", start, get_args(Start))
        one_of("guidance", guidance, get_args(Guidance))
        one_of("position", position, get_args(Position))
        if not 0 < keep <= 1 or layers < 1:
            raise ConfigError(
                f"guided_matcher: expected keep in (0, 1] and at least 1 layer, got {keep} and {layers}"
            )
        self.input_dim, self.map, self.keep, self.match_threshold = input_dim, map, keep, match_threshold
        self.lookup: Lookup = lookup
        self.guidance: Guidance = guidance
        self.position: Position = position
        self.input = nn.Identity() if input_dim == width else nn.Linear(input_dim, width)
        self.encoder = None
        if position != "none":
            self.encoder = KeypointPosition(
                width, encoding=encoding, norm=norm, divisor=divisor, use_score=use_score
            )
        self.inside = nn.ModuleList(GuidedLayer(width, heads=heads, norm=norm) for _ in range(layers))
        self.across = nn.ModuleList(GuidedLayer(width, heads=heads, norm=norm) for _ in range(layers))
        self.assignment = Assignment(
            width, method=assignment, iterations=iterations, projection=projection, scaled=scaled
        )
        if start == "nearest":
            start_as_nearest(self.input, self.encoder, self.inside, self.across, self.assignment)
        if checkpoint is not None:
            restore(self, load_state(checkpoint), name=f"guided_matcher from {checkpoint.name}")
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
            return paired(keypoints0, keypoints1, none, none, keypoints0.score[none])
        found = mutual_matches(self.log_assignment(*sides), match_threshold=self.match_threshold)
        index0 = (found.partner[0] >= 0).nonzero()[:, 0]
        index1 = found.partner[0, index0]
        return paired(keypoints0, keypoints1, index0, index1, found.probability[0, index0])

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
                    f"guided_matcher: expected maps of {len(keypoints)} images of one view, "
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
        """Prepare keypoints with known guidance for `log_assignment`.

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
                f"guided_matcher: expected descriptors of length {self.input_dim}, got {padded.descriptor.shape[2]}; "
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
    ) -> tuple[AttentionMask, AttentionMask, AttentionMask, AttentionMask]:
        """Return the masks inside image 0 and image 1, across from 0 to 1, and from 1 to 0."""
        inside, across = self.guidance == "self_and_cross", self.guidance != "none"
        self0, self1 = (
            attention_mask(self._edges(each, each)[0] if inside else None, each.valid, dtype)
            for each in (points0, points1)
        )
        edges0, edges1 = self._edges(points0, points1) if across else (None, None)
        cross0 = attention_mask(edges0, points1.valid, dtype)
        return self0, self1, cross0, attention_mask(edges1, points0.valid, dtype)

    def _edges(self, points0: PaddedKeypoints, points1: PaddedKeypoints) -> tuple[Tensor, Tensor]:
        guidance0, guidance1 = _guidance(points0), _guidance(points1)
        return guided_edges(guidance0, guidance1, keep=self.keep, valid0=points0.valid, valid1=points1.valid)

    def _map_name(self, features: Features) -> str:
        if list(features.maps) == [PIXELS]:
            raise CapabilityError(NO_GUIDANCE)
        if self.map is not None:
            return self.map
        if len(features.maps) > 1:
            raise ConfigError(
                f"guided_matcher: expected one of the maps {', '.join(features.maps)} to guide; set head.map"
            )
        return next(iter(features.maps))


def _guidance(points: PaddedKeypoints) -> Tensor:
    if points.guidance is None:
        raise CapabilityError(NO_GUIDANCE)
    return points.guidance
