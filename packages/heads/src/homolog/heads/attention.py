"""Attention layers: for the cells of feature maps, and for keypoints guided by a foundation model's features.

Source of the guided layers: Jiang et al., "OmniGlue" (CVPR 2024). Section 3.3: DINOv2 features at the keypoints
are compared across the images, and of each keypoint's edges to the other image the better half is kept.
Section 3.4: positions are added to queries and keys only.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import ConfigError, one_of
from homolog.core.sampling import sample_points


class Attention(nn.Module):
    """What an attention layer with its feed-forward network adds to its queries; normalised before each."""

    def __init__(self, width: int, heads: int) -> None:
        """Build the layer.

        Args:
            width: of the tokens; `heads` has to divide it.
            heads: how many read at once.
        """
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_context, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, query: Float[Tensor, "B N D"], context: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B N D"]:
        """Return what the queries read in the context; the same tokens twice for self-attention."""
        key, value = self.key_value(self.norm_context(context)).chunk(2, dim=-1)
        q, k, v = (self._split(part) for part in (self.query(self.norm_query(query)), key, value))
        read = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return read + self.feed_forward(self.norm_out(query + read))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def sine_cosine(cells: Size, width: int) -> Float[Tensor, "N D"]:
    """Return the place of each cell, row by row: half of the channels for its row, half for its column.

    Added to tokens once, before the first layer: attention alone knows no places.

    Args:
        cells: (height, width) of the grid.
        width: of the tokens, a multiple of 4.
    """
    octaves = torch.arange(width // 4, dtype=torch.float32) / (width // 4)
    frequency = 10000.0**-octaves
    sides = [torch.arange(side, dtype=torch.float32)[:, None] * frequency for side in cells]
    row, column = (torch.cat((angle.sin(), angle.cos()), dim=1) for angle in sides)
    rows = row[:, None].expand(-1, cells[1], -1)
    columns = column[None].expand(cells[0], -1, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1)


Encoding = Literal["mlp", "fourier"]
"""What the layers refine: the coordinates themselves, or learned Fourier features of them."""

Norm = Literal["layer", "batch"]
"""The normalisation inside an MLP."""

_HIDDEN = (32, 64, 128, 256)


class TokenNorm(nn.Module):
    """Normalises [B L C] token by token, or over all tokens that are not padding.

    SuperGlue normalises over the batch. Its statistics depend on the rest of the batch, and padding
    would enter them; the default is the layer norm. Padding comes out as zeros.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        """Choose the kind.

        Args:
            width: C.
            norm: `layer`, or `batch`.

        Raises:
            ConfigError: another kind.
        """
        super().__init__()
        one_of("norm", norm, get_args(Norm))
        self.layer = nn.LayerNorm(width) if norm == "layer" else None
        self.batch = nn.BatchNorm1d(width) if norm == "batch" else None

    def forward(
        self, tokens: Float[Tensor, "B L C"], valid: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L C"]:
        """Normalise."""
        if self.layer is not None:
            return self.layer(tokens)
        assert self.batch is not None
        if valid is None:
            return self.batch(tokens.flatten(0, 1)).view_as(tokens)
        known = tokens[valid]
        # One token has no deviation to learn from.
        if not len(known) or (self.training and len(known) < 2):
            return tokens
        return torch.zeros_like(tokens).index_put((valid,), self.batch(known))


class KeypointPosition(nn.Module):
    """Encodes places in an image.

    OmniGlue, section 3.4: "normalized keypoint locations are encoded with positional embeddings, and we
    further refine them using MLP layers". The widths are SuperGlue's. The paper does not say whether the
    embedding is more than the coordinates themselves.
    """

    def __init__(
        self,
        width: int,
        *,
        encoding: Encoding = "mlp",
        norm: Norm = "layer",
        divisor: float = 0.7,
        use_score: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            width: of the result.
            encoding: `mlp` on the coordinates, as SuperGlue does, or on `fourier` features of them.
            norm: in the layers.
            divisor: coordinates count from the centre, in this fraction of the longer side: 0.7 in
                SuperGlue, 0.5 in LightGlue.
            use_score: also encode the detector's score, as SuperGlue does. The paper's
                position is of the location only.

        Raises:
            ConfigError: an unknown encoding or norm, an odd width for waves, or a divisor not above 0.
        """
        super().__init__()
        one_of("encoding", encoding, get_args(Encoding))
        if divisor <= 0:
            raise ConfigError(f"expected a divisor above 0, got {divisor}")
        if encoding == "fourier" and width % 2:
            raise ConfigError(f"expected an even width for the encoding fourier, got {width}")
        self.divisor = divisor
        self.use_score = use_score
        inputs = 2 + use_score
        self.waves = nn.Linear(inputs, width // 2, bias=False) if encoding == "fourier" else None
        widths = [inputs, *_HIDDEN] if self.waves is None else [width, width]
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip(widths, [*widths[1:], width], strict=True)
        )
        self.norms = nn.ModuleList(TokenNorm(after, norm) for after in widths[1:])
        self.activation = nn.ReLU() if norm == "batch" else nn.GELU()
        # Without a bias at the end the encoding starts centred, as in SuperGlue.
        nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def forward(
        self,
        place: Float[Tensor, "B L 2"],
        score: Float[Tensor, "B L"],
        valid: Bool[Tensor, "B L"] | None,
    ) -> Float[Tensor, "B L C"]:
        """Encode places as `PaddedKeypoints` has them."""
        given = place / self.divisor
        if self.use_score:
            given = torch.cat((given, score[..., None].to(given)), dim=-1)
        tokens = given.to(self.layers[0].get_parameter("weight").dtype)
        if self.waves is not None:
            phase = self.waves(tokens)
            tokens = torch.cat((phase.cos(), phase.sin()), dim=-1)
        *hidden, last = self.layers
        for layer, norm in zip(hidden, self.norms, strict=True):
            tokens = self.activation(norm(layer(tokens), valid))
        return last(tokens)


Lookup = Literal["centre", "release"]
"""Where a map is read: as it covers the image, or as OmniGlue's release reads it."""

_CHUNK = 1 << 22
"""Similarities ranked at a time."""


def look_up(
    map_: Float[Tensor, "C h w"], xy: Float[Tensor, "N 2"], image_size: Size, *, lookup: Lookup = "centre"
) -> Float[Tensor, "N C"]:
    """Read the guidance at keypoints.

    Args:
        map_: of the whole image.
        xy: pixel coordinates in that image.
        image_size: (height, width) in pixels.
        lookup: `centre` takes each cell's value to be that of its centre, as everywhere in homolog.
            `release` is the function `lookup_descriptor_bilinear` of OmniGlue's code: cell i is taken to
            lie at i times the cell's size, its upper left corner, half a cell before its centre. Beyond
            the last of these places the value fades out. Only for features that were trained so.

    Raises:
        ConfigError: an unknown lookup.
    """
    if one_of("lookup", lookup, get_args(Lookup)) == "centre":
        return sample_points(map_[None], pixel_to_normalised(xy, image_size)[None])[0]
    (height, width), cells = image_size, (map_.shape[1], map_.shape[2])
    index = xy * xy.new_tensor((cells[1] / width, cells[0] / height))
    return sample_points(map_[None], pixel_to_normalised(index, cells)[None], padding="zeros")[0]


def guided_edges(
    guidance0: Float[Tensor, "B N G"],
    guidance1: Float[Tensor, "B M G"],
    *,
    keep: float = 0.5,
    valid0: Bool[Tensor, "B N"] | None = None,
    valid1: Bool[Tensor, "B M"] | None = None,
) -> tuple[Bool[Tensor, "B N M"], Bool[Tensor, "B M N"]]:
    """Choose for each keypoint the keypoints of the other image that it attends to.

    All cosines are computed once and read both ways. The two graphs are directed: a may attend to b
    while b does not attend to a.

    Args:
        guidance0: features at the keypoints of image 0, of any length but zero.
        guidance1: features at the keypoints of image 1.
        keep: the fraction of the other image's keypoints that is kept, rounded up, at least one. The
            paper keeps the "top half"; its table 5 tries 0.3 to 0.6.
        valid0: False where a keypoint is padding; None when there is none.
        valid1: False where a keypoint is padding; None when there is none.

    Returns:
        [B N M]: True where a keypoint of image 0 attends to one of image 1; [B M N] the other way. Of
        equally similar keypoints those of lowest index are kept. Padding is never attended to, and nothing is
        where the other image has no keypoint.

    Raises:
        ConfigError: a fraction outside (0, 1].
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"expected keep in (0, 1], got {keep}")
    with torch.no_grad(), torch.autocast(guidance0.device.type, enabled=False):
        wide = torch.promote_types(guidance0.dtype, torch.float32)
        unit0, unit1 = (F.normalize(each.to(wide), dim=2) for each in (guidance0, guidance1))
        similarity = unit0 @ unit1.transpose(1, 2)
        return (
            _best_of_rows(similarity, keep, valid1),
            _best_of_rows(similarity.transpose(1, 2).contiguous(), keep, valid0),
        )


def _best_of_rows(similarity: Tensor, keep: float, valid: Tensor | None) -> Tensor:
    """Mark the best valid columns of each row of each sample."""
    chosen = torch.zeros(similarity.shape, dtype=torch.bool, device=similarity.device)
    counts = [similarity.shape[2]] * len(similarity) if valid is None else valid.sum(dim=1).tolist()
    for sample, count in enumerate(counts):
        if not count:
            continue
        among = similarity[sample]
        if valid is not None and count < among.shape[1]:
            among = among.masked_fill(~valid[sample], -torch.inf)
        wanted = max(1, math.ceil(round(keep * count, 6)))
        rows = max(1, _CHUNK // among.shape[1])
        for marked, part in zip(chosen[sample].split(rows), among.split(rows), strict=True):
            marked.copy_(_best(part, wanted))
    return chosen


def _best(similarity: Tensor, wanted: int) -> Tensor:
    """Mark the `wanted` largest entries of each row, those of lowest index among equals."""
    # The smallest value that is kept separates the others; only ties at it need their order.
    # A stable sort of everything takes a CPU six times as long.
    least = similarity.topk(wanted, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above, ties = similarity > least, similarity == least
    room = wanted - above.sum(dim=1, keepdim=True)
    if bool((ties.sum(dim=1, keepdim=True) == room).all()):
        return above | ties
    return above | (ties & (ties.cumsum(dim=1) <= room))


class AttentionMask(NamedTuple):
    """Which source keypoints each target keypoint attends to, for one direction of one layer.

    Attributes:
        bias: [B 1 T S] or [B 1 1 S], 0 where a target attends to a source and -inf elsewhere, or None
            where it attends to all. No row is -inf throughout.
        has_source: [B] False for samples without any source, whose targets read nothing; None where all
            have one.
    """

    bias: Tensor | None
    has_source: Tensor | None


ALL = AttentionMask(None, None)


def attention_mask(
    edges: Bool[Tensor, "B T S"] | None, valid: Bool[Tensor, "B S"] | None, dtype: torch.dtype
) -> AttentionMask:
    """Prepare a mask for attention, once for all layers that use it.

    Args:
        edges: True where a target attends to a source; None for all.
        valid: False where a source is padding; None when there is none. Edges never lead there.
        dtype: of the network.
    """
    if edges is None and valid is None:
        return ALL
    if edges is None:
        assert valid is not None
        allowed = valid[:, None, None]
    else:
        allowed = edges[:, None]
    some = None if valid is None else valid.any(dim=1)
    # A row without any source has no softmax: it attends to padding, and the result is dropped.
    isolated = ~allowed.any(dim=-1, keepdim=True)
    # Added numbers are what the fused kernels take; a boolean mask would be converted in each layer.
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return AttentionMask(bias.masked_fill_(~(allowed | isolated), -torch.inf), some)


class GuidedLayer(nn.Module):
    """Attention with positions in queries and keys, but not in values.

    OmniGlue, section 3.4, equations 1 to 5, for a target keypoint with descriptor d and position p and
    its sources: q = Wq (d + p) + bq, k = Wk (d + p) + bk, v = Wv d + bv;
    delta = softmax(q k / sqrt(C)) v; d <- d + MLP([d | delta]). Equation 2 writes one head; SuperGlue,
    from which the layers come, has four, their results joined by one more linear layer. `heads=1` is
    the equation as written.

    Args:
        width: C.
        heads: of the attention.
        norm: in the MLP.

    Raises:
        ConfigError: a width that the heads do not divide, or an unknown norm.
    """

    def __init__(self, width: int, *, heads: int = 4, norm: Norm = "layer") -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ConfigError(f"expected a width that {heads} heads divide, got {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.widen = nn.Linear(2 * width, 2 * width)
        self.norm = TokenNorm(2 * width, norm)
        self.activation = nn.ReLU() if norm == "batch" else nn.GELU()
        self.narrow = nn.Linear(2 * width, width)
        # As SuperGlue initialises it.
        nn.init.zeros_(self.narrow.bias)

    def forward(
        self,
        target: Float[Tensor, "B T C"],
        source: Float[Tensor, "B S C"],
        position: tuple[Float[Tensor, "B T C"], Float[Tensor, "B S C"]] | None,
        mask: AttentionMask,
        valid: Bool[Tensor, "B T"] | None,
    ) -> Float[Tensor, "B T C"]:
        """Return the updated descriptors of the targets.

        Args:
            target: descriptors that are updated.
            source: descriptors that are attended to.
            position: of targets and sources; None leaves positions out.
            mask: which sources each target attends to.
            valid: False where a target is padding; None when there is none.
        """
        asking, asked = (target, source) if position is None else (target + position[0], source + position[1])
        query, key, value = (
            self._split(each) for each in (self.query(asking), self.key(asked), self.value(source))
        )
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.bias)
        if mask.has_source is not None:
            read = read * mask.has_source[:, None, None, None]
        delta = self.join(read.transpose(1, 2).flatten(2))
        hidden = self.norm(self.widen(torch.cat((target, delta), dim=2)), valid)
        return target + self.narrow(self.activation(hidden))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
