"""VGGT as a backbone: tokens of chosen pairs as feature maps, and the scene's geometry on request.

Wang et al., "VGGT: Visual Geometry Grounded Transformer" (CVPR 2025).
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.backbones.vggt.aggregator import Aggregator, Pairs, Stream
from homolog.backbones.vggt.camera_head import CameraHead, Geometry
from homolog.backbones.vggt.checkpoint import load_weights
from homolog.backbones.vggt.dpt import DPT, Activation, inverse_log
from homolog.backbones.vggt.encoder import BackboneEncoder
from homolog.backbones.vggt.layers import DTYPES, Architecture, lower_precision
from homolog.core.coords import Size
from homolog.core.errors import CapabilityError, ConfigError, ShapeError, did_you_mean
from homolog.core.features import Features
from homolog.core.protocols import Backbone

HEADS = ("camera", "depth", "point")

Tokens = dict[int, Tensor]


class VGGT(nn.Module):
    """Features of V views of a scene that know of each other, and optionally depth, points, cameras.

    Only what is read is built and run: pairs up to the last tap, and the heads that were asked for.

    With `shared`, features come from a semantic branch: the encoder, the special tokens and the
    first `shared` pairs are frozen and run without gradient; the later pairs are the branch's own
    copy, trainable, started from the published weights. Geometry, if asked for, still comes from the
    published pairs, and shares the frozen ones with the branch.

    Attributes:
        multiple: side of a patch in pixels.
        joint: True, the maps of a view depend on the others.
        taps: numbers of the pairs whose outputs are returned.
        symmetric: whether features are averaged over both orders of the views.
        left_out: tensors of the checkpoint that were not needed, counted by prefix.
    """

    joint = True

    def __init__(
        self,
        *,
        taps: Sequence[int] = (4, 11, 17, 23),
        shared: int | None = None,
        heads: Sequence[str] = (),
        symmetric: bool = False,
        dtype: Literal["float32", "bfloat16"] = "float32",
        gradient_checkpointing: bool = False,
        frames_per_chunk: int = 1,
        architecture: Architecture | None = None,
        encoder: Backbone | None = None,
        encoder_map: str | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Build the network, and fill it from a file if there is one.

        Args:
            taps: numbers of pairs, from 0; each becomes the map `block.<number>`.
            shared: number of frozen pairs under the semantic branch; None for no branch.
            heads: any of camera, depth, point; `geometry` then returns what they say.
            symmetric: run the views a second time in reverse order and average the features.
            dtype: of the blocks' linear layers and the decoders' inner convolutions. The token
                stream, norms, positions, the camera head and all outputs stay float32.
                Halves the weights everywhere; saves time only on hardware with bfloat16
                instructions, and costs several times the time on a CPU without.
            gradient_checkpointing: in training, trade time for memory.
            frames_per_chunk: views decoded at once by the depth and point heads.
            architecture: sizes; the published 1B model if None.
            encoder: takes the place of VGGT's own DINOv2, which published weights need.
            encoder_map: of the encoder; None takes its only one.
            checkpoint: published weights (safetensors or a pickle of tensors), or what
                `state_dict` gave; None starts from random numbers.

        Raises:
            ConfigError: taps, heads, dtype, encoder or `shared` that do not exist or do not fit each other.
            WeightsError: the file does not fit.
        """
        super().__init__()
        sizes = architecture or Architecture()
        _check(sizes, taps, shared, heads, dtype)
        self.architecture, self.multiple = sizes, sizes.patch
        self.taps, self.shared, self.symmetric = tuple(taps), shared, symmetric
        self.left_out: dict[str, int] = {}
        # With a file to come, parameters are shapes only, until they become the file's tensors.
        with nullcontext() if checkpoint is None else torch.device("meta"):
            patch_encoder = None if encoder is None else BackboneEncoder(encoder, sizes, encoder_map)
            self._build(heads, gradient_checkpointing, frames_per_chunk, patch_encoder)
        self._prepare(DTYPES[dtype])
        if checkpoint is not None:
            self.left_out = load_weights(self, checkpoint)
        if shared is not None:
            for frozen in (self.aggregator, self.camera_head, self.depth_head, self.point_head):
                if frozen is not None:
                    frozen.requires_grad_(False)

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each map."""
        return {f"block.{tap}": 2 * self.architecture.width for tap in self.taps}

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Return the patch tokens of the tapped pairs as maps `block.<number>` [B V 2C H/14 W/14].

        Frame channels come before global ones; no norm has been applied.

        Args:
            images: V views of B scenes, RGB in [0, 1], of a size that 14 divides. The first view
                of a scene has tokens of its own, so order matters unless `symmetric`.

        Raises:
            ShapeError: another shape or size.
        """
        size = self._size(images)
        features = self._features(self._tokens(images, features=True)[0], size)
        if not self.symmetric or images.shape[1] == 1:
            return features
        back = self._features(self._tokens(images.flip(1), features=True)[0], size)
        # Views go back to their places before they are averaged.
        mean = {name: (map_ + back[name].flip(1)) / 2 for name, map_ in features.maps.items()}
        return Features(maps=mean, image_size=size)

    def geometry(self, images: Float[Tensor, "B V 3 H W"]) -> Geometry:
        """Return depth, points and cameras, as far as `heads` were asked for.

        Always one pass: the world is the frame of the first view's camera.

        Raises:
            ShapeError: another shape or size than `forward` takes.
            CapabilityError: the backbone was built without heads.
        """
        size = self._size(images)
        return self._geometry(self._tokens(images, geometry=True)[1], size)

    def features_and_geometry(self, images: Float[Tensor, "B V 3 H W"]) -> tuple[Features, Geometry]:
        """Return what `forward` (in a single pass) and `geometry` return, for one encoding.

        Raises:
            ShapeError: another shape or size than `forward` takes.
            CapabilityError: the backbone was built without heads.
        """
        size = self._size(images)
        for_features, for_geometry = self._tokens(images, features=True, geometry=True)
        return self._features(for_features, size), self._geometry(for_geometry, size)

    def _tokens(
        self, images: Tensor, *, features: bool = False, geometry: bool = False
    ) -> tuple[Tokens, Tokens]:
        """Run what is needed, once, and return the tapped tokens for features and for geometry."""
        if geometry and not self._geometry_taps:
            raise CapabilityError(f"this VGGT was built without heads; choose some of {', '.join(HEADS)}")
        taps = self.taps if features else ()
        geometry_taps = self._geometry_taps if geometry else ()
        wanted = {*taps, *geometry_taps}
        start = min(self.shared or 0, max(wanted, default=-1) + 1)
        with self._frozen():
            stream, early = self.aggregator.run(self.aggregator.embed(images), range(start), wanted)
        if self.semantic is None:
            tokens = early | _late(self.aggregator, stream, start, wanted)
            return tokens, tokens
        with self._frozen():
            for_geometry = _late(self.aggregator, stream, start, geometry_taps)
        return early | _late(self.semantic, stream, start, taps), early | for_geometry

    def _features(self, tokens: Tokens, size: Size) -> Features:
        return Features(
            maps={f"block.{tap}": self._map(tokens[tap], size) for tap in self.taps}, image_size=size
        )

    def _geometry(self, tokens: Tokens, size: Size) -> Geometry:
        with self._frozen():
            found: dict[str, Tensor] = {}
            maps = [self._map(tokens[tap], size) for tap in self.architecture.decoder_taps if tap in tokens]
            if self.depth_head is not None:
                depth, found["depth_score"] = self.depth_head(maps, size)
                found["depth"] = depth[:, :, 0]
            if self.point_head is not None:
                points, found["points_score"] = self.point_head(maps, size)
                found["points"] = points.movedim(2, -1)
            if self.camera_head is not None:
                found["pose"] = self.camera_head(tokens[self.architecture.depth - 1][:, :, 0])[-1]
        return Geometry(image_size=size, **found)

    def _map(self, tokens: Tensor, size: Size) -> Tensor:
        rows = size[0] // self.multiple
        return tokens[:, :, self.architecture.specials :].unflatten(2, (rows, -1)).movedim(-1, 2)

    def _size(self, images: Tensor) -> Size:
        if images.ndim != 5 or images.shape[2] != 3:
            raise ShapeError(f"VGGT: expected images [B V 3 H W], got {list(images.shape)}")
        height, width = int(images.shape[3]), int(images.shape[4])
        if height % self.multiple or width % self.multiple or not height or not width:
            raise ShapeError(
                f"VGGT: expected height and width to be multiples of {self.multiple}, got {height} x {width}"
            )
        return height, width

    def _frozen(self) -> AbstractContextManager[object]:
        return nullcontext() if self.shared is None else torch.no_grad()

    def _build(
        self,
        heads: Collection[str],
        gradient_checkpointing: bool,
        frames_per_chunk: int,
        encoder: BackboneEncoder | None,
    ) -> None:
        """Make the modules that the taps and the heads need, on torch's current default device."""
        sizes = self.architecture
        self._geometry_taps = _geometry_taps(sizes, heads)
        last = max(self._geometry_taps, default=-1)
        published = max(last + 1, max(self.taps) + 1 if self.shared is None else self.shared)
        self.aggregator = Aggregator(
            range(published), sizes, gradient_checkpointing=gradient_checkpointing, encoder=encoder
        )
        self.semantic: Pairs | None = None
        if self.shared is not None:
            own = range(self.shared, max(self.taps) + 1)
            self.semantic = Pairs(own, sizes, gradient_checkpointing=gradient_checkpointing)
        self.depth_head = _decoder(sizes, 2, torch.exp, frames_per_chunk) if "depth" in heads else None
        self.point_head = _decoder(sizes, 4, inverse_log, frames_per_chunk) if "point" in heads else None
        self.camera_head: CameraHead | None = None
        if "camera" in heads:
            self.camera_head = CameraHead(
                2 * sizes.width,
                depth=sizes.camera_depth,
                heads=sizes.camera_attention_heads,
                iterations=sizes.camera_iterations,
                mlp_ratio=sizes.camera_mlp_ratio,
            )

    def _prepare(self, dtype: torch.dtype) -> None:
        for decoder in (self.depth_head, self.point_head):
            if decoder is not None:
                decoder.to(memory_format=torch.channels_last)
                decoder.lower_precision(dtype)
        lower_precision(self.aggregator, dtype)
        if self.semantic is not None:
            lower_precision(self.semantic, dtype)


def _late(pairs: Pairs, stream: Stream, start: int, taps: Collection[int]) -> Tokens:
    return pairs.run(stream, range(start, max(taps, default=-1) + 1), taps)[1]


def _geometry_taps(sizes: Architecture, heads: Collection[str]) -> tuple[int, ...]:
    decoders = sizes.decoder_taps if {"depth", "point"} & set(heads) else ()
    camera = (sizes.depth - 1,) if "camera" in heads else ()
    return tuple(sorted({*decoders, *camera}))


def _decoder(sizes: Architecture, outputs: int, activation: Activation, frames_per_chunk: int) -> DPT:
    return DPT(
        inputs=2 * sizes.width,
        outputs=outputs,
        channels=sizes.decoder_channels,
        width=sizes.decoder_width,
        hidden=sizes.decoder_hidden,
        activation=activation,
        frames_per_chunk=frames_per_chunk,
    )


def _check(
    sizes: Architecture, taps: Sequence[int], shared: int | None, heads: Sequence[str], dtype: str
) -> None:
    if not taps or min(taps) < 0 or max(taps) >= sizes.depth or len(set(taps)) < len(taps):
        raise ConfigError(f"VGGT: expected different taps from 0 to {sizes.depth - 1}, got {list(taps)}")
    if shared is not None and not 0 <= shared <= max(taps):
        raise ConfigError(
            f"VGGT: expected shared from 0 to the last tap {max(taps)}, got {shared}; a later one leaves no branch"
        )
    for head in heads:
        if head not in HEADS:
            raise ConfigError(f"VGGT: no head named {head}{did_you_mean(head, HEADS)}")
    if dtype not in DTYPES:
        raise ConfigError(f"VGGT: no dtype named {dtype}{did_you_mean(dtype, DTYPES)}")
