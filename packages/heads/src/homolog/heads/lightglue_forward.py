"""The forward pass of LightGlue for many pairs of images at once, on the modules of kornia that hold the weights.

It computes what `kornia.feature.LightGlue` computes for one pair after another, and wastes less:

- The points of all images lie one after another, [T ...]. Linear layers, normalisation, pruning and
  leaving the batch need no padding then. Only attention sees images apart from each other; images of
  similar size are padded to one size there, and the padding is masked.
- Input projection, positions and the first self-attention depend on one image only. They are computed
  once per image, however many pairs it is part of.
- Cross-attention uses fused kernels; on the CPU kornia writes out the matrix of similarities, its softmax
  over rows and over columns, and transposed copies, which takes about half of its time.
- Queries and keys come out of their linear layer in an order in which rotating them is a few operations
  on contiguous halves.
- Of the assignment only the best partners and their probabilities are computed.

Source: Lindenberger et al., "LightGlue: Local Feature Matching at Light Speed" (ICCV 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Value = TypeVar("Value")

PADDING = 1.25
"""On a GPU, images share a call of attention if the largest has at most this many times the points of the smallest.

On the CPU a call costs little, and copying and padding cost more.
"""


class ImagePoints(NamedTuple):
    """The keypoints of one image as LightGlue reads them.

    Attributes:
        position: [N P] coordinates relative to the centre of the image, divided by half of its longer
            side; then scale and angle for networks that read them.
        descriptor: [N C] as the detector made it.
    """

    position: Float[Tensor, "N P"]
    descriptor: Float[Tensor, "N C"]


class Pairing(NamedTuple):
    """The matches of one pair.

    Attributes:
        index0: [M] which points of image 0, rising.
        index1: [M] which points of image 1.
        score: [M] probability, in [0, 1].
    """

    index0: Int[Tensor, " M"]
    index1: Int[Tensor, " M"]
    score: Float[Tensor, " M"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Points of several images, one image after another; T points altogether.

    Attributes:
        state: [T C] what the network knows of each point.
        cosine: [T D] of the rotations that stand for the position.
        sine: [T D] likewise.
        index: [T] which keypoint of its image each point is.
        sizes: points of each image.
    """

    state: Float[Tensor, "T C"]
    cosine: Float[Tensor, "T D"]
    sine: Float[Tensor, "T D"]
    index: Int[Tensor, " T"]
    sizes: list[int]

    def image(self) -> Int[Tensor, " T"]:
        """Return the image of each point."""
        sizes = torch.tensor(self.sizes, device=self.state.device)
        return torch.repeat_interleave(sizes, output_size=len(self.state))

    def split(self) -> "list[_Points]":
        """Return the points of each image."""
        parts = (each.split(self.sizes) for each in (self.state, self.cosine, self.sine, self.index))
        return [
            _Points(state=state, cosine=cosine, sine=sine, index=index, sizes=[len(index)])
            for state, cosine, sine, index in zip(*parts, strict=True)
        ]

    def rows(self, rows: Int[Tensor, " K"] | Bool[Tensor, " T"], sizes: list[int]) -> "_Points":
        """Return the points of an index or a mask; `sizes` are the images' new ones."""
        return _Points(
            state=self.state[rows],
            cosine=self.cosine[rows],
            sine=self.sine[rows],
            index=self.index[rows],
            sizes=sizes,
        )


def match_pairs(
    network: Any, pairs: Sequence[tuple[ImagePoints, ImagePoints]], *, batch_size: int
) -> list[Pairing]:
    """Match pairs of images, each as it would be matched alone.

    Args:
        network: a `kornia.feature.LightGlue`; its settings hold.
        pairs: the images of each; an image of several pairs should be one object.
        batch_size: pairs that pass through the network together, at most; pairs are sorted by size, so
            that those of a batch are similar.
    """
    found = [_nothing(image0) for image0, _ in pairs]
    waiting = [pair for pair, sides in enumerate(pairs) if all(len(side.position) for side in sides)]
    images = {id(image): image for pair in waiting for image in pairs[pair]}
    started: dict[int, _Points] = {}
    for keys in _batches(list(images), 2 * batch_size):
        points = _embed(network, [images[key] for key in keys])
        points = _self_attention(network.transformers[0].self_attn, points)
        started |= zip(keys, points.split(), strict=True)
    waiting.sort(key=lambda pair: [-len(side.position) for side in pairs[pair]])
    for batch in _batches(waiting, batch_size):
        points = _joined([started[id(image)] for pair in batch for image in pairs[pair]])
        for pair, pairing in zip(batch, _match_batch(network, points), strict=True):
            found[pair] = pairing
    return found


def _match_batch(network: Any, points: _Points) -> list[Pairing]:
    """Match pairs after the first self-attention; images 2p and 2p + 1 are the sides of pair p.

    A pair leaves the batch after the layer at which it would stop alone, and on the way loses the points
    that it would lose alone.
    """
    total = [size0 + size1 for size0, size1 in _sides(points.sizes)]
    none = Pairing(points.index[:0], points.index[:0], points.state[:0, 0])
    found = [none] * len(total)
    waiting = list(range(len(total)))
    for layer, block in enumerate(network.transformers):
        if layer > 0:
            points = _self_attention(block.self_attn, points)
        points = _cross_attention(block.cross_attn, points)
        confidence = _confidence(network, points, layer)
        done = _done(network, points, confidence, layer, [total[pair] for pair in waiting])
        for pair, is_done, (side0, side1) in zip(waiting, done, _sides(points.split()), strict=True):
            if is_done:
                found[pair] = _assign(network, layer, side0, side1)
        points, stays = _pruned(network, points, confidence, layer, done)
        waiting = list(compress(waiting, stays))
        if not waiting:
            break
    return found


def _nothing(image: ImagePoints) -> Pairing:
    none = torch.zeros(0, dtype=torch.long, device=image.position.device)
    return Pairing(none, none, image.descriptor.detach()[none, 0])


def _joined(parts: Sequence[_Points]) -> _Points:
    return _Points(
        state=torch.cat([part.state for part in parts]),
        cosine=torch.cat([part.cosine for part in parts]),
        sine=torch.cat([part.sine for part in parts]),
        index=torch.cat([part.index for part in parts]),
        sizes=[size for part in parts for size in part.sizes],
    )


def _embed(network: Any, images: Sequence[ImagePoints]) -> _Points:
    dtype = network.posenc.Wr.weight.dtype
    # Descriptors are detached, as kornia does: training LightGlue does not train the detector.
    descriptor = torch.cat([image.descriptor.detach() for image in images])
    angle = network.posenc.Wr(torch.cat([image.position for image in images]).to(dtype))
    return _Points(
        state=network.input_proj(descriptor),
        cosine=angle.cos(),
        sine=angle.sin(),
        index=torch.cat([torch.arange(len(image.position)) for image in images]).to(descriptor.device),
        sizes=[len(image.position) for image in images],
    )


# --- layers -------------------------------------------------------------------------------------------


def _self_attention(block: Any, points: _Points) -> _Points:
    """Let the points of each image attend to each other."""
    heads, width = block.num_heads, block.embed_dim
    # The layer's outputs are ordered (head, channel, query/key/value), and neighbouring channels are the
    # coordinates that a rotation mixes. Queries and keys: (query/key, head, x/y of the rotation, channel).
    # The order of channels within a head does not matter to their products.
    weight, bias = (
        part.view(heads, width // heads, 3, -1).movedim(2, 0) for part in (block.Wqkv.weight, block.Wqkv.bias)
    )
    rotated = weight[:2].unflatten(2, (-1, 2)).transpose(2, 3).reshape(2 * width, -1)
    rotated_bias = bias[:2].unflatten(2, (-1, 2)).transpose(2, 3).reshape(2 * width)
    xy = F.linear(points.state, rotated, rotated_bias).view(len(points.state), 2, heads, 2, -1)
    x, y = xy.unbind(dim=3)
    cosine, sine = points.cosine[:, None, None], points.sine[:, None, None]
    turned = torch.cat(
        (torch.addcmul(x * cosine, y, sine, value=-1), torch.addcmul(y * cosine, x, sine)), dim=3
    )
    query, key = turned.to(xy.dtype).unbind(dim=1)
    value = F.linear(points.state, weight[2].reshape(width, -1), bias[2].reshape(width))
    value = value.unflatten(1, (heads, -1))
    message = _attend(*(part.split(points.sizes) for part in (query, key, value)))
    return _updated(block.ffn, block.out_proj, points, message)


def _cross_attention(block: Any, points: _Points) -> _Points:
    """Let the points of each image attend to those of the other image of the pair."""
    # Queries of one side are the keys of the other.
    key = block.to_qk(points.state).unflatten(1, (block.heads, -1)).split(points.sizes)
    value = block.to_v(points.state).unflatten(1, (block.heads, -1)).split(points.sizes)
    other = [image ^ 1 for image in range(len(points.sizes))]
    message = _attend(key, [key[image] for image in other], [value[image] for image in other])
    return _updated(block.ffn, block.to_out, points, message)


def _updated(feed_forward: Any, projection: Any, points: _Points, message: Tensor) -> _Points:
    """Add what the feed-forward network makes of each state and the projected message."""
    # The network starts with a linear layer on (state, projected message). Its weights for the message
    # times those of the projection make one layer of two.
    own, other = feed_forward[0].weight.chunk(2, dim=1)
    hidden = F.linear(points.state, own, feed_forward[0].bias + other @ projection.bias)
    hidden = hidden + F.linear(message, other @ projection.weight)
    return replace(points, state=points.state + feed_forward[1:](hidden))


def _attend(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    *,
    padding: float | None = None,
) -> Float[Tensor, "T C"]:
    """Let the queries of each image attend to its own keys; the results lie one after another.

    Args:
        queries: [N H D] of each image; N may differ between images.
        keys: [M H D] that they attend to.
        values: [M H D] of these keys.
        padding: images share a call if the largest has at most this many times the points of the
            smallest; 0 gives each its own; None chooses by the device, see `PADDING`.
    """
    if padding is None:
        padding = 0.0 if queries[0].device.type == "cpu" else PADDING
    read: list[Tensor] = [queries[0]] * len(queries)
    for group in _alike([(len(q), len(k)) for q, k in zip(queries, keys, strict=True)], padding):
        query, key, value = (
            _padded([parts[image] for image in group]).transpose(1, 2) for parts in (queries, keys, values)
        )
        lengths = torch.tensor([len(keys[image]) for image in group])
        mask = None
        if int(lengths.min()) < key.shape[2]:
            mask = (torch.arange(key.shape[2]) < lengths[:, None])[:, None, None].to(key.device)
        together = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
        for image, each in zip(group, together, strict=True):
            read[image] = each[: len(queries[image])].flatten(1)
    return torch.cat(read)


def _padded(parts: list[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else pad_sequence(parts, batch_first=True)


def _alike(sizes: Sequence[tuple[int, int]], ratio: float) -> list[list[int]]:
    """Group images whose numbers of queries and of keys both differ at most by a ratio.

    >>> _alike([(100, 90), (40, 90), (99, 91), (100, 90)], 1.0)
    [[0, 3], [2], [1]]
    >>> _alike([(100, 90), (40, 90), (99, 91), (100, 90)], 1.25)
    [[0, 3, 2], [1]]
    """
    groups: list[list[int]] = []
    members: list[tuple[int, int]] = []
    for image in sorted(range(len(sizes)), key=lambda image: (-sizes[image][0], -sizes[image][1])):
        members.append(sizes[image])
        if groups and all(max(side) <= ratio * min(side) for side in zip(*members, strict=True)):
            groups[-1].append(image)
        else:
            groups.append([image])
            members = [sizes[image]]
    return groups


# --- leaving the batch --------------------------------------------------------------------------------


def _confidence(network: Any, points: _Points, layer: int) -> Float[Tensor, " T"] | None:
    """Return how sure the network is that each point has its final partner, if that may stop a pair."""
    if network.conf.depth_confidence <= 0 or layer == network.conf.n_layers - 1:
        return None
    return network.token_confidence[layer].token(points.state)[:, 0]


def _done(
    network: Any, points: _Points, confidence: Tensor | None, layer: int, total: Sequence[int]
) -> list[bool]:
    """Return which pairs stop after this layer; `total` is how many points each had at the start."""
    if confidence is None:
        return [layer == network.conf.n_layers - 1] * len(total)
    unsure = _count(points, confidence < network.confidence_thresholds[layer])
    return [
        1 - (unsure0 + unsure1) / all_points > network.conf.depth_confidence
        for (unsure0, unsure1), all_points in zip(_sides(unsure), total, strict=True)
    ]


def _pruned(
    network: Any, points: _Points, confidence: Tensor | None, layer: int, done: Sequence[bool]
) -> tuple[_Points, list[bool]]:
    """Drop points that surely match nothing, pairs that are done, and pairs without points on a side.

    Returns:
        The remaining points, and which pairs are among them.
    """
    conf = network.conf
    if all(done):
        return points, [False] * len(done)
    keep = torch.ones_like(points.index, dtype=torch.bool)
    if conf.width_confidence > 0:
        keep = network.log_assignment[layer].get_matchability(points.state) > 1 - conf.width_confidence
        if confidence is not None:  # who is unsure may still find a partner
            keep |= confidence <= network.confidence_thresholds[layer]
        # Few points cost so little that selecting among them does not pay; kornia knows how few.
        enough = network.pruning_min_kpts(points.state.device)
        keep |= _per_point(points, [size <= enough for size in points.sizes])
    stays = [
        not is_done and min(sides) > 0
        for is_done, sides in zip(done, _sides(_count(points, keep)), strict=True)
    ]
    if not all(stays):
        keep &= _per_point(points, [each for each in stays for _ in range(2)])
    sizes = _count(points, keep)
    if sum(sizes) == len(keep):
        return points, stays
    return points.rows(keep, [size for size in sizes if size]), stays


def _assign(network: Any, layer: int, side0: _Points, side1: _Points) -> Pairing:
    """Return the matches of the points of one pair.

    A match is a pair of points of which each is the other's most probable partner.
    """
    assignment, threshold = network.log_assignment[layer], network.conf.filter_threshold
    descriptor0, descriptor1 = assignment.final_proj(side0.state), assignment.final_proj(side1.state)
    similarity = (descriptor0 @ descriptor1.T) / descriptor0.shape[1] ** 0.5
    similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32))  # under autocast
    # log of: softmax over rows times softmax over columns times both probabilities of having a partner.
    sure0, sure1 = (F.logsigmoid(assignment.matchability(side.state))[:, 0] for side in (side0, side1))
    row, column = sure0 - similarity.logsumexp(dim=1), sure1 - similarity.logsumexp(dim=0)
    log_score = torch.add(row[:, None] + column, similarity, alpha=2)
    best, partner = log_score.max(dim=1)
    mutual = log_score.max(dim=0).indices[partner] == torch.arange(len(partner), device=partner.device)
    score = best.exp()
    (kept,) = (mutual & (score > threshold)).nonzero(as_tuple=True)
    return Pairing(side0.index[kept], side1.index[partner[kept]], score[kept])


def _count(points: _Points, which: Bool[Tensor, " T"]) -> list[int]:
    """Return how many points of each image a mask holds."""
    return points.image()[which].bincount(minlength=len(points.sizes)).tolist()


def _per_point(points: _Points, images: Sequence[bool]) -> Bool[Tensor, " T"]:
    """Return a value of each image for each of its points."""
    return torch.tensor(images, device=points.state.device)[points.image()]


def _batches(items: list[Value], size: int) -> list[list[Value]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _sides(of_images: Sequence[Value]) -> list[tuple[Value, Value]]:
    """Return values of images as values of pairs."""
    return list(zip(of_images[::2], of_images[1::2], strict=True))
