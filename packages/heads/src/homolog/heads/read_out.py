"""Where descriptors lie on a feature map, below the size of its cells; and matches of paired keypoints."""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised
from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches
from homolog.core.sampling import sample_points

CHANNELS = 32
"""Whose squares are added up at a time."""

CHUNK = 1 << 22
"""Similarities held at a time: 16 MB in float32.

Many more leave a CPU's cache. Many fewer make its threads wait for one another so often that a busy
machine slows them tenfold.
"""

Beyond = Literal["left_out", "zero"]
"""What cells outside of the window count as."""

MATCHA_TEMPERATURE = 0.02
"""Of the softmax of MATCHA's release."""


class Located(NamedTuple):
    """Places of N descriptors on a map of h x w cells.

    Attributes:
        xy: [N 2] position in cells: (x, y), integer = centre of a cell.
        similarity: [N] the highest cosine on the map.
        concentration: [N] in (0, 1], the fraction of the softmax over the whole map that falls into the
            window around that peak: 1 when nothing else resembles the descriptor.
    """

    xy: Float[Tensor, "N 2"]
    similarity: Float[Tensor, " N"]
    concentration: Float[Tensor, " N"]


def locate(
    query: Float[Tensor, "N D"],
    map_: Float[Tensor, "D h w"],
    *,
    window: int | None,
    temperature: float,
    sigma: float | None = None,
    beyond: Beyond = "left_out",
    chunk: int = CHUNK,
) -> Located:
    """Find each descriptor on a map: the most similar cell, refined by its surroundings.

    The refinement is a soft-argmax of the similarities in a window around the best cell, as GeoAware-SC
    (Zhang et al., CVPR 2024, section 4.3) proposes. Cells outside of the window take no part; its code gives
    them similarity zero, which outweighs every negative cosine and draws points outwards.

    With `sigma` similarities are first weighted by a Gaussian around the best cell, the kernel soft-argmax
    of SFNet (Lee et al., CVPR 2019, section 3.2); its window is the whole map.

    Only the N rows asked for are compared, a chunk of them at a time, and products are divided by the
    lengths of descriptors: normalising a whole map costs more than comparing ten points with it.
    Gradients flow to both inputs.

    Args:
        query: descriptors, of any length above zero; they are compared by their cosine.
        map_: descriptors per cell, likewise.
        window: side of the window in cells, odd; 1 returns centres of cells, None is the whole map.
        temperature: divides the cosines before the softmax; small trusts the peak.
        sigma: of the Gaussian, in cells; None for none.
        beyond: whether cells outside of the window are `left_out`, or stay with a similarity of `zero`, as in the
            releases of GeoAware-SC and MATCHA. Either way cells beyond the map's border take no part.
        chunk: how many similarities to hold at a time, at least one row of them.

    Raises:
        ShapeError: descriptors of different lengths.
        ConfigError: an even window, a temperature or sigma that is not above 0, or a chunk below 1.
    """
    _check_lengths(query, map_)
    check_reading(window=window, temperature=temperature, sigma=sigma, chunk=chunk)
    one_of("beyond", beyond, get_args(Beyond))
    size = (map_.shape[1], map_.shape[2])
    rows = max(1, chunk // max(1, size[0] * size[1]))
    cells, unit = map_.flatten(1), F.normalize(query, dim=1)
    length = lengths(cells)
    parts = [
        locate_peak((part @ cells / length).unflatten(1, size), window=window, temperature=temperature)
        if window is not None and sigma is None and beyond == "left_out"
        else _locate_anywhere(part @ cells / length, size, window, temperature, sigma, beyond)
        for part in unit.split(rows)
    ]
    return Located(*(torch.cat(part) for part in zip(*parts, strict=True)))


def check_reading(*, window: int | None, temperature: float, sigma: float | None, chunk: int) -> None:
    """Refuse what `locate` cannot read by.

    Raises:
        ConfigError: see there.
    """
    odd = window is None or (window > 0 and window % 2 == 1)
    if not odd or temperature <= 0 or chunk < 1 or (sigma is not None and sigma <= 0):
        raise ConfigError(
            "expected an odd window or null, a temperature above 0, a sigma above 0 or null and a chunk of at "
            f"least 1, got {window}, {temperature}, {sigma} and {chunk}"
        )


def cosines(query: Float[Tensor, "N D"], map_: Float[Tensor, "D h w"]) -> Float[Tensor, "N h w"]:
    """Return the cosine of each descriptor with every cell of a map: what `locate` looks at.

    Args:
        query: descriptors, of any length above zero.
        map_: descriptors per cell, likewise.

    Raises:
        ShapeError: descriptors of different lengths.
    """
    _check_lengths(query, map_)
    cells = map_.flatten(1)
    return (F.normalize(query, dim=1) @ cells / lengths(cells)).unflatten(1, map_.shape[1:])


def _check_lengths(query: Tensor, map_: Tensor) -> None:
    if query.shape[1] != map_.shape[0]:
        raise ShapeError(
            f"expected descriptors of one length, got {list(query.shape)} for a map {list(map_.shape)}; "
            "take both from the same map"
        )


def lengths(cells: Float[Tensor, "D P"]) -> Float[Tensor, " P"]:
    """Return the lengths of P descriptors, never zero."""
    # Gathered in a few channels that stay in the cache: all squares at once would be as large as the map,
    # and making them would cost as much as comparing ten points with it.
    count = min(CHANNELS, len(cells))
    even = len(cells) // count * count
    squares = cells.new_zeros(count, cells.shape[1])
    for part in cells[:even].split(count):
        squares = torch.addcmul(squares, part, part)
    squared = squares.sum(dim=0) + cells[even:].square().sum(dim=0)
    # Never below what `F.normalize` divides by; under the root, so that its gradient stays finite.
    return squared.clamp_min(1e-24).sqrt()


def chosen_map(features: Features, name: str | None, *, head: str) -> str:
    """Return the name of the map that a head reads: the one it was told, or the only one there is.

    Raises:
        ConfigError: several maps, and none was chosen.
    """
    if name is not None:
        return name
    if len(features.maps) > 1:
        raise ConfigError(f"{head}: expected one of the maps {', '.join(features.maps)}; set head.map")
    return next(iter(features.maps))


def paired(
    keypoints0: Keypoints,
    keypoints1: Keypoints,
    index0: Int[Tensor, " M"],
    index1: Int[Tensor, " M"],
    score: Float[Tensor, " M"],
) -> Matches:
    """Return the matches that pair keypoint `index0[i]` of image 0 with `index1[i]` of image 1."""
    xy0, xy1 = keypoints0.xy[index0], keypoints1.xy[index1]
    return Matches(xy0=xy0, xy1=xy1, score=score, index0=index0, index1=index1)


def locate_peak(similarity: Float[Tensor, "N h w"], *, window: int, temperature: float) -> Located:
    """Find the highest cell of each plane, refined by a soft-argmax in a window around it.

    Args:
        similarity: of N descriptors with all cells of a map; -inf where there is none.
        window: its side in cells, odd.
        temperature: divides similarities before the softmax.
    """
    size = (similarity.shape[1], similarity.shape[2])
    similarity = similarity.flatten(1)
    best = similarity.argmax(dim=1)
    near = cells_around(best, size, window=window)
    weight = near.read(similarity / temperature, outside=-torch.inf).softmax(dim=1)
    xy = (weight[..., None] * near.xy).sum(dim=1)
    concentration = near.read((similarity / temperature).softmax(dim=1), outside=0.0).sum(dim=1).clamp_max(1)
    return Located(xy, similarity.gather(1, best[:, None])[:, 0], concentration)


class Window(NamedTuple):
    """The cells of a square around one cell of each of N planes.

    Attributes:
        xy: [N K 2] (x, y) of the cells, also of those outside the map.
        place: [N K] y * width + x, clamped to the map.
        outside: [N K] whether a cell is outside the map.
    """

    xy: Int[Tensor, "N K 2"]
    place: Int[Tensor, "N K"]
    outside: Bool[Tensor, "N K"]

    def read(self, planes: Float[Tensor, "N cells"], *, outside: float) -> Float[Tensor, "N K"]:
        """Return the values of the cells, and `outside` for those that are outside the map."""
        return planes.gather(1, self.place).masked_fill(self.outside, outside)


def cells_around(centre: Int[Tensor, " N"], size: Size, *, window: int) -> Window:
    """Return the cells of a window.

    Args:
        centre: its central cell, y * width + x.
        size: (height, width) of the map in cells.
        window: side in cells, odd.
    """
    height, width = size
    middle = torch.stack((centre % width, centre // width), dim=-1)
    offset = pixel_grid((window, window), device=centre.device).long() - window // 2
    cells = middle[:, None] + offset
    x, y = cells.unbind(dim=-1)
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    return Window(cells, y.clamp(0, height - 1) * width + x.clamp(0, width - 1), outside)


def _locate_anywhere(
    similarity: Tensor,
    size: Size,
    window: int | None,
    temperature: float,
    sigma: float | None,
    beyond: Beyond,
) -> Located:
    best, peak = _peak(similarity, size)
    cells = pixel_grid(size, device=similarity.device)
    away = cells[None] - peak[:, None]  # [N h*w 2]
    weighted = (
        similarity if sigma is None else similarity * torch.exp(-away.square().sum(-1) / (2 * sigma**2))
    )
    outside = (away.abs() > (max(size) if window is None else window // 2)).any(dim=-1)
    weighted = weighted.masked_fill(outside, 0 if beyond == "zero" else -torch.inf)
    weight = (weighted / temperature).softmax(dim=1)
    of_whole = (similarity / temperature).softmax(dim=1).masked_fill(outside, 0)
    concentration = of_whole.sum(dim=1).clamp_max(1)
    xy = weight @ cells.to(weight.dtype)
    return Located(xy, similarity.gather(1, best[:, None])[:, 0], concentration)


def _peak(similarity: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    best = similarity.argmax(dim=1)
    return best, torch.stack((best % size[1], best // size[1]), dim=-1)


# --- MATCHA as released -------------------------------------------------------------------------------


def matcha(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    window: int | None,
) -> Float[Tensor, "N 2"]:
    """Transfer points as MATCHA's release does: the descriptor of a cell, and no half cell added on the way back.

    The best cell is refined by the mean cell under softmax(cosine / 0.02), where cosines outside of the window
    count as 0. The release needs square maps for that; here they may have any size.

    Args:
        map0: features of image 0.
        map1: features of image 1.
        xy0: (x, y) of pixels of image 0.
        size0: (height, width) of image 0.
        size1: (height, width) of image 1.
        window: how many cells from the best one cosines count, 7 in the release; None is the whole map, 0
            takes the best cell.

    Returns:
        Pixels of image 1.
    """
    query = matcha_cell(map0, xy0, size=size0)
    side = None if window is None else 2 * window + 1
    cells = locate_as_matcha(query, map1, window=side, temperature=MATCHA_TEMPERATURE).xy
    return cells * matcha_stride((map1.shape[1], map1.shape[2]), size1).to(cells)


def locate_as_matcha(
    query: Float[Tensor, "N D"],
    map_: Float[Tensor, "D h w"],
    *,
    window: int | None,
    temperature: float,
    chunk: int = CHUNK,
) -> Located:
    """Find descriptors as MATCHA's release does; see `locate`, whose arguments these are."""
    # A window of one cell means the best cell, which the rest of the map does not move.
    beyond: Beyond = "left_out" if window == 1 else "zero"
    return locate(query, map_, window=window, temperature=temperature, beyond=beyond, chunk=chunk)


def matcha_cell(
    map_: Float[Tensor, "D h w"], xy: Float[Tensor, "N 2"], *, size: Size
) -> Float[Tensor, "N D"]:
    """Return the descriptors of the cells trunc(pixel / stride), as they are.

    Args:
        map_: features of an image.
        xy: (x, y) of its pixels; points outside take the nearest cell.
        size: (height, width) of the image.
    """
    last = xy.new_tensor((map_.shape[2] - 1, map_.shape[1] - 1))
    cell = (
        (xy / matcha_stride((map_.shape[1], map_.shape[2]), size).to(xy))
        .trunc()
        .clamp_min(0)
        .minimum(last)
        .long()
    )
    return map_[:, cell[:, 1], cell[:, 0]].T


def matcha_keypoints(
    map_: Float[Tensor, "D h w"], xy: Float[Tensor, "N 2"], *, size: Size
) -> Float[Tensor, "N D"]:
    """Return the descriptors of keypoints, bilinear with corners aligned, with unit norm.

    The centre of the outermost pixel is the centre of the outermost cell: x * (w - 1) / (W - 1). Everywhere else
    in homolog cell centres lie where the stride puts them (`homolog.core.coords`).

    Args:
        map_: features of an image.
        xy: (x, y) of its pixels.
        size: (height, width) of the image.
    """
    cells = (map_.shape[1], map_.shape[2])
    scale = [(count - 1) / max(side - 1, 1) for count, side in zip(cells, size, strict=True)]
    at = pixel_to_normalised(xy * xy.new_tensor(scale).flip(0), cells)
    return F.normalize(sample_points(map_[None], at[None])[0], dim=1)


def matcha_stride(cells: Size, size: Size) -> Float[Tensor, " 2"]:
    """Return the (x, y) pixels per cell, 8 in the release.

    Args:
        cells: (height, width) of the map.
        size: (height, width) of the image.
    """
    return torch.tensor((size[1] / cells[1], size[0] / cells[0]))
