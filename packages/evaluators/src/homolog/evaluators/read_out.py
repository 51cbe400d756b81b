"""How official codes read points from feature maps: DIFT, DistillDIFT, GeoAware-SC, HPF and Visual-AI.

The functions of the first three and of Visual-AI are used by the matchers of `configs/matcher/*_published.yaml`;
all are tested against the official code. homolog's own read-outs are in `homolog.heads`.

Convention: points are (x, y). On a similarity map they are in cells, and integers are cell centres.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised
from homolog.core.errors import ShapeError, one_of
from homolog.core.sampling import sample_points

DISTILLDIFT_WINDOW = 125
"""Side of DistillDIFT's soft-argmax window in pixels."""

DISTILLDIFT_BETA = 50.0
"""Factor on DistillDIFT's similarities before the softmax."""

GEOAWARE_TEMPERATURE = 0.02
"""Of GeoAware-SC's softmax in all shipped settings (`beta`)."""

VISUAL_AI_TEMPERATURE = 0.04
VISUAL_AI_SIGMA = 7.0

CHUNK = 1 << 24
"""Values of an upsampled map to compute at a time: 64 MB in float32."""


# --- DIFT and DistillDIFT: both maps upsampled to the images -----------------------------------------


def dift(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
) -> Float[Tensor, "N 2"]:
    """Return the pixel of image 1 that is most similar to each pixel of image 0.

    After Tsingularity/dift:eval_spair.py: both maps upsampled to the size of the images.

    Args:
        map0: features of image 0, of any resolution.
        map1: features of image 1.
        xy0: (x, y) of pixels of image 0; whole numbers, as in SPair-71k.
        size0: (height, width) of the file of image 0.
        size1: (height, width) of the file of image 1.

    Returns:
        Pixels of image 1, whole numbers.
    """
    query = _upsampled_at(map0, xy0.to(torch.long).to(map0.dtype), size=size0)
    return peak(upsampled_cosine(query, map1, size=size1))


def distilldift(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    soft: bool,
) -> Float[Tensor, "N 2"]:
    """Transfer points as DistillDIFT does: both maps upsampled, then a wide window around the best pixel.

    After FrankFundel/DistillDIFT:utils/correspondence.py, `compute_correspondence`, whose points are (y, x).

    Arguments as of `dift`, but `xy0` is clamped to the image and rounded half to even. `soft` refines by a
    soft-argmax in the window; similarities outside become 0.

    Returns:
        Pixels of image 1; whole numbers unless `soft`.
    """
    last = xy0.new_tensor((size0[1] - 1, size0[0] - 1))
    at = torch.minimum(xy0.clamp_min(0), last).round()
    similarity = upsampled_cosine(_upsampled_at(map0, at.to(map0.dtype), size=size0), map1, size=size1)
    if not soft:
        return peak(similarity)
    return soft_argmax(
        zeroed_beyond(similarity, half=DISTILLDIFT_WINDOW // 2), temperature=1 / DISTILLDIFT_BETA
    )


def upsampled_cosine(
    query: Float[Tensor, "N D"], map_: Float[Tensor, "D h w"], *, size: Size, chunk: int = CHUNK
) -> Float[Tensor, "N H W"]:
    """Compare descriptors with all pixels of a map upsampled bilinearly to `size`, without upsampling the map.

    Upsampling is linear, so the product with the upsampled map is the upsampled product. Only the norms of
    the upsampled descriptors need all D channels, a few at a time.
    """
    product = _upsampled(torch.einsum("nd,dhw->nhw", F.normalize(query, dim=1), map_), size)
    squared = product.new_zeros(size)
    for part in map_.split(max(1, chunk // (size[0] * size[1]))):
        squared = squared + _upsampled(part, size).square().sum(dim=0)
    return product / squared.sqrt().clamp_min(1e-12)


def _upsampled_at(
    map_: Float[Tensor, "D h w"], xy: Float[Tensor, "N 2"], *, size: Size
) -> Float[Tensor, "N D"]:
    return sample_points(map_[None], pixel_to_normalised(xy, size)[None])[0]


def _upsampled(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


# --- GeoAware-SC: the patch that a point lies in ------------------------------------------------------


def geoaware(
    map0: Float[Tensor, "D n n"],
    map1: Float[Tensor, "D n n"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    window: int | None,
    parts: tuple[int, ...] | list[int] = (),
) -> Float[Tensor, "N 2"]:
    """Transfer points as GeoAware-SC does, given the feature maps of two square images.

    After Junyi42/GeoAware-SC:utils/utils_correspondence.py (`kpts_to_patch_idx`, `get_flow`,
    `calculate_keypoint_transformation`) and `pck_train.py::normalize_feats`.

    Args:
        map0: features of the square of image 0.
        map1: features of the square of image 1.
        xy0: (x, y) in pixels of the square of image 0.
        size0: (height, width) of the square.
        size1: the same.
        window: see `geoaware_soft_patch`; None takes the best patch.
        parts: see `geoaware_descriptors`.

    Raises:
        ShapeError: images that are not equal squares.
    """
    if len({*size0, *size1}) != 1:
        raise ShapeError(
            f"geoaware: expected two images in equal squares, got {size0} and {size1}; use a PaddedSquare as frame"
        )
    descriptors0, descriptors1 = (
        geoaware_descriptors(map_.flatten(1).T, parts=tuple(parts)) for map_ in (map0, map1)
    )
    return geoaware_transfer(
        descriptors0, descriptors1, xy0, patches=map0.shape[1], side=size0[0], window=window
    )


def geoaware_transfer(
    descriptors0: Float[Tensor, "P D"],
    descriptors1: Float[Tensor, "P D"],
    xy0: Float[Tensor, "N 2"],
    *,
    patches: int,
    side: int,
    window: int | None,
) -> Float[Tensor, "N 2"]:
    """Transfer points, given the descriptors of all patches in reading order.

    Only the rows of the queried points are compared; the official code computes all P x P similarities. The
    centre of patch i is at i * stride + stride // 2, as in the official code.

    Args:
        descriptors0: of the patches of image 0, see `geoaware_descriptors`.
        descriptors1: of the patches of image 1.
        xy0: (x, y) in pixels of the square of image 0.
        patches: along one side.
        side: of the square, pixels (`ANNO_SIZE`, 840).
        window: see `geoaware_soft_patch` (`SOFT_EVAL_WINDOW`); None takes the best patch (`SOFT_EVAL` off).

    Returns:
        Pixels of the square of image 1.

    Raises:
        ShapeError: the number of descriptors is not that of the patches.
    """
    if {len(descriptors0), len(descriptors1)} != {patches**2}:
        raise ShapeError(
            f"geoaware: expected {patches} x {patches} descriptors, got {len(descriptors0)} and {len(descriptors1)}"
        )
    similarity = descriptors0[geoaware_patch(xy0, patches=patches, side=side)] @ descriptors1.T
    if window is None:
        cell = peak(similarity.reshape(-1, patches, patches))
    else:
        cell = geoaware_soft_patch(similarity, patches=patches, window=window).clamp(0, patches - 1)
    stride = side / patches
    return cell * stride + stride // 2


def geoaware_patch(xy: Float[Tensor, "N 2"], *, patches: int, side: int) -> Int[Tensor, " N"]:
    """Return the index of the patch that a point lies in.

    The patch of x is trunc(x n / side). Nothing is clamped, as in the official function: x = side gives the
    first patch of the next row, and coordinates between -stride and 0 count as patch 0.

    >>> geoaware_patch(torch.tensor([[13.9, 14.0], [112.0, 10.0]]), patches=8, side=112).tolist()
    [8, 8]
    """
    cell = (patches / side * xy).trunc().long()
    return patches * cell[:, 1] + cell[:, 0]


def geoaware_descriptors(
    descriptors: Float[Tensor, "P D"], *, parts: tuple[int, ...] = ()
) -> Float[Tensor, "P D"]:
    """Divide descriptors by their norm plus 1e-10.

    Args:
        descriptors: of all patches.
        parts: channels of parts that are normalised separately first, as SD and DINO in the zero-shot
            settings (`DUMMY_NET`: 3200, 768); empty for none.
    """
    if parts:
        normalised = [_unit(part, dim=1, epsilon=1e-10) for part in descriptors.split(list(parts), dim=1)]
        descriptors = torch.cat(normalised, dim=1)
    return _unit(descriptors, dim=1, epsilon=1e-10)


def geoaware_soft_patch(
    similarity: Float[Tensor, "N P"],
    *,
    patches: int,
    window: int,
    temperature: float = GEOAWARE_TEMPERATURE,
) -> Float[Tensor, "N 2"]:
    """Return the expected patch (x, y) of each row of similarities; `get_flow` of the official code.

    Args:
        similarity: with all patches of the other image, in reading order.
        patches: along one side. The official code uses 60 here for every map.
        window: half the size of the window around the best patch, outside which similarities become 0. 0 uses
            all similarities; minus sigma weights them by a Gaussian of that sigma.
        temperature: of the softmax.

    Raises:
        ShapeError: the number of similarities is not that of the patches.
    """
    if similarity.shape[1] != patches**2:
        raise ShapeError(
            f"geoaware: expected {patches} x {patches} similarities for each point, got {similarity.shape[1]}"
        )
    maps = similarity.reshape(-1, patches, patches)
    if window > 0:
        maps = zeroed_beyond(maps, half=window)
    elif window < 0:
        maps = gaussian_weighted(maps, sigma=-float(window))
    return soft_argmax(maps, temperature=temperature)


# --- HPF: receptive fields ----------------------------------------------------------------------------


def hpf(
    confidence: Float[Tensor, "S T"],
    fields0: Float[Tensor, "S 4"],
    fields1: Float[Tensor, "T 4"],
    xy0: Float[Tensor, "N 2"],
) -> Float[Tensor, "N 2"]:
    """Move points by the mean motion of the receptive fields that cover them.

    After juhongm999/hpf:model/geometry.py, `predict_kps`.

    Args:
        confidence: of the match of each receptive field of image 0 with each of image 1.
        fields0: x1, y1, x2, y2 of the receptive fields of image 0; points on their border are covered.
        fields1: of image 1.
        xy0: (x, y) in pixels of image 0.

    Returns:
        Pixels of image 1; NaN for a point that no field covers.

    Raises:
        ShapeError: `confidence` does not match the numbers of fields.
    """
    if confidence.shape != (len(fields0), len(fields1)):
        raise ShapeError(
            f"hpf: expected confidences [{len(fields0)} {len(fields1)}], got {list(confidence.shape)}"
        )
    moved = fields1[confidence.argmax(dim=1), :2] - fields0[:, :2]
    above, below = xy0[:, None] >= fields0[:, :2], xy0[:, None] <= fields0[:, 2:]
    covered = (above & below).all(dim=-1).to(xy0.dtype)
    return xy0 + covered @ moved / covered.sum(dim=1, keepdim=True)


# --- Visual-AI: corner pixels on corner pixels --------------------------------------------------------


def visual_ai(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    method: Literal["nn", "bilinear", "softmax", "kernelsoftmax"],
) -> Float[Tensor, "N 2"]:
    """Transfer points by one of Visual-AI's four methods in their shipped settings.

    After Visual-AI/Semantic-Correspondence:utils/matching.py. Maps and images share their corner pixels, so
    coordinates scale by (n - 1) / (N - 1).

    Arguments as of `dift`, with any points; `method` is the official name.

    Raises:
        ConfigError: an unknown method.
    """
    read = _VISUAL_AI[one_of("method", method, _VISUAL_AI)]
    cells0, cells1 = ((map_.shape[1], map_.shape[2]) for map_ in (map0, map1))
    return align_corners(read(map0, map1, align_corners(xy0, size0, cells0)), cells1, size1)


def align_corners(xy: Float[Tensor, "N 2"], source: Size, target: Size) -> Float[Tensor, "N 2"]:
    """Scale points from a grid of size `source` to one of size `target` whose corner pixels coincide.

    >>> align_corners(torch.tensor([[8.0, 4.0]]), (9, 9), (3, 5)).tolist()
    [[4.0, 1.0]]
    """
    last_source, last_target = (xy.new_tensor((size[1] - 1, size[0] - 1)) for size in (source, target))
    return xy / last_source * last_target


def visual_ai_nearest(map0: Tensor, map1: Tensor, cell0: Tensor) -> Tensor:
    """Return the most similar cell of map 1 (`nn`); the source is interpolated."""
    return peak(_visual_ai_similarity(map0, map1, cell0))


def visual_ai_corners(
    map0: Float[Tensor, "D h w"], map1: Float[Tensor, "D H W"], cell0: Float[Tensor, "N 2"]
) -> Float[Tensor, "N 2"]:
    """Return the bilinear mean of the matches of the four cells around the source (`bilinear`)."""
    last = cell0.new_tensor((map0.shape[2] - 1, map0.shape[1] - 1))
    at = torch.minimum(cell0.clamp_min(1e-5), last - 1e-5)
    low = at.floor()
    beyond = at - low
    found = torch.zeros_like(at)
    for right in (0, 1):
        for below in (0, 1):
            step = at.new_tensor((right, below))
            weight = (1 - step + (2 * step - 1) * beyond).prod(dim=1, keepdim=True)
            found = found + weight * visual_ai_nearest(map0, map1, low + step)
    return found


def visual_ai_soft(map0: Tensor, map1: Tensor, cell0: Tensor) -> Tensor:
    """Return the expected cell of map 1 (`softmax`)."""
    return soft_argmax(_visual_ai_similarity(map0, map1, cell0), temperature=VISUAL_AI_TEMPERATURE)


def visual_ai_kernel_soft(map0: Tensor, map1: Tensor, cell0: Tensor) -> Tensor:
    """Return the expected cell of map 1 under a Gaussian around the best cell (`kernelsoftmax`)."""
    weighted = gaussian_weighted(_visual_ai_similarity(map0, map1, cell0), sigma=VISUAL_AI_SIGMA)
    return soft_argmax(weighted, temperature=VISUAL_AI_TEMPERATURE)


_VISUAL_AI: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "nn": visual_ai_nearest,
    "bilinear": visual_ai_corners,
    "softmax": visual_ai_soft,
    "kernelsoftmax": visual_ai_kernel_soft,
}


def _visual_ai_similarity(map0: Tensor, map1: Tensor, cell0: Tensor) -> Tensor:
    at = pixel_to_normalised(cell0, (map0.shape[1], map0.shape[2]))
    query = _unit(sample_points(map0[None], at[None])[0], dim=1, epsilon=1e-6)
    return torch.einsum("nd,dhw->nhw", query, _unit(map1, dim=0, epsilon=1e-6))


# --- peaks of similarity maps -------------------------------------------------------------------------


def peak(similarity: Float[Tensor, "N h w"]) -> Float[Tensor, "N 2"]:
    """Return the most similar cell, the first of equal ones in reading order."""
    best = similarity.flatten(1).argmax(dim=1)
    width = similarity.shape[2]
    return torch.stack((best % width, best // width), dim=1).to(similarity.dtype)


def soft_argmax(similarity: Float[Tensor, "N h w"], *, temperature: float) -> Float[Tensor, "N 2"]:
    """Return the mean cell under the softmax of similarity / temperature over the whole map."""
    flat = similarity.flatten(1)
    # torch's float32 softmax and matrix product over thousands of cells are each off by 1e-5, which is
    # hundredths of a pixel at the far end; its sums are not.
    weight = ((flat - flat.amax(dim=1, keepdim=True)) / temperature).exp()
    cells = pixel_grid((similarity.shape[1], similarity.shape[2]), device=similarity.device)
    moment = (weight[..., None] * cells.to(weight.dtype)).sum(dim=1)
    return moment / weight.sum(dim=1, keepdim=True)


def zeroed_beyond(similarity: Float[Tensor, "N h w"], *, half: int) -> Float[Tensor, "N h w"]:
    """Set cells farther than `half` rows or columns from the peak to zero.

    To zero, not to minus infinity: in the softmax they weigh as much as a cosine of zero, which is more than
    every negative cosine and pulls weak matches to the middle of the map (GeoAware-SC, DistillDIFT).
    """
    offset = _from_peak(similarity).abs()
    return similarity * (offset <= half).all(dim=-1)


def gaussian_weighted(similarity: Float[Tensor, "N h w"], *, sigma: float) -> Float[Tensor, "N h w"]:
    """Weight similarities by a Gaussian around the peak, `sigma` in cells (SFNet's kernel soft-argmax)."""
    squared = _from_peak(similarity).square().sum(dim=-1)
    return similarity * torch.exp(-squared / (2 * sigma**2))


def _from_peak(similarity: Tensor) -> Tensor:
    """Return [N h w 2], the offset of each cell from the peak of its map."""
    size = (similarity.shape[1], similarity.shape[2])
    cells = pixel_grid(size, device=similarity.device).reshape(*size, 2).to(similarity.dtype)
    return cells - peak(similarity)[:, None, None]


def _unit(values: Tensor, *, dim: int, epsilon: float) -> Tensor:
    return values / (torch.linalg.vector_norm(values, dim=dim, keepdim=True) + epsilon)
