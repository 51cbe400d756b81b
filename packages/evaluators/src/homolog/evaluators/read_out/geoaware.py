"""GeoAware-SC's read-out: the patch that a point lies in, compared with all patches of the other image.

After Junyi42/GeoAware-SC:utils/utils_correspondence.py (`kpts_to_patch_idx`, `get_flow`,
`calculate_keypoint_transformation`) and `pck_train.py::normalize_feats`.

Convention: an image is a square of `side` pixels with n x n patches, rows of descriptors in reading
order. Points are (x, y) in pixels, read as official code reads them: the patch of x is trunc(x n / side),
and the middle of patch i is i * stride + stride // 2.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.coords import Size
from homolog.core.errors import ShapeError
from homolog.evaluators.read_out.similarity_peak import gaussian_weighted, peak, soft_argmax, zeroed_beyond

TEMPERATURE = 0.02
"""Of the softmax in all shipped settings (`beta`)."""


def patch_index(xy: Float[Tensor, "N 2"], *, patches: int, side: int) -> Int[Tensor, " N"]:
    """Return the row of the descriptor whose patch a point lies in.

    Nothing is clamped, as in the official function: x = side gives the first patch of the next row, and
    coordinates between -stride and 0 count as patch 0.

    Args:
        xy: (x, y) in pixels of the square.
        patches: along one side.
        side: of the square, pixels.

    >>> patch_index(torch.tensor([[13.9, 14.0], [112.0, 10.0]]), patches=8, side=112).tolist()
    [8, 8]
    """
    cell = (patches / side * xy).trunc().long()
    return patches * cell[:, 1] + cell[:, 0]


def unit_descriptors(
    descriptors: Float[Tensor, "P D"], *, parts: tuple[int, ...] = ()
) -> Float[Tensor, "P D"]:
    """Divide descriptors by their length plus 1e-10.

    Args:
        descriptors: of all patches.
        parts: lengths of parts that are normalised by themselves first, as SD and DINO in zero-shot
            settings (`DUMMY_NET`: 3200, 768); empty for none.
    """
    if parts:
        descriptors = torch.cat([_unit(part) for part in descriptors.split(list(parts), dim=1)], dim=1)
    return _unit(descriptors)


def soft_patch(
    similarity: Float[Tensor, "N P"], *, patches: int, window: int, temperature: float = TEMPERATURE
) -> Float[Tensor, "N 2"]:
    """Return the expected patch (x, y) of each row of similarities, `get_flow` of official code.

    Args:
        similarity: with all patches of the other image, in reading order.
        patches: along one side. Official code takes 60 here whatever the map is.
        window: half the size of the window around the best patch, beyond which similarities become 0;
            0 takes them as they are; minus sigma weighs them by a Gaussian of that sigma.
        temperature: of the softmax.

    Raises:
        ShapeError: not as many similarities as patches.
    """
    if similarity.shape[1] != patches**2:
        raise ShapeError(
            f"soft_patch: expected {patches} x {patches} similarities for each point, got {similarity.shape[1]}"
        )
    maps = similarity.reshape(-1, patches, patches)
    if window > 0:
        maps = zeroed_beyond(maps, half=window)
    elif window < 0:
        maps = gaussian_weighted(maps, sigma=-float(window))
    return soft_argmax(maps, temperature=temperature)


def transfer_points(
    descriptors0: Float[Tensor, "P D"],
    descriptors1: Float[Tensor, "P D"],
    xy0: Float[Tensor, "N 2"],
    *,
    patches: int,
    side: int,
    window: int | None,
) -> Float[Tensor, "N 2"]:
    """Say where points of image 0 are in image 1.

    Only the rows of the asked points are compared; official code computes all P x P similarities.

    Args:
        descriptors0: of the patches of image 0, see `unit_descriptors`.
        descriptors1: of the patches of image 1.
        xy0: (x, y) in pixels of the square of image 0.
        patches: along one side.
        side: of the square, pixels (`ANNO_SIZE`, 840).
        window: see `soft_patch` (`SOFT_EVAL_WINDOW`); None takes the best patch (`SOFT_EVAL` off).

    Returns:
        Pixels of the square of image 1.

    Raises:
        ShapeError: not as many descriptors as patches.
    """
    if {len(descriptors0), len(descriptors1)} != {patches**2}:
        raise ShapeError(
            f"transfer_points: expected {patches} x {patches} descriptors, got {len(descriptors0)} and {len(descriptors1)}"
        )
    similarity = descriptors0[patch_index(xy0, patches=patches, side=side)] @ descriptors1.T
    if window is None:
        cell = peak(similarity.reshape(-1, patches, patches))
    else:
        cell = soft_patch(similarity, patches=patches, window=window).clamp(0, patches - 1)
    stride = side / patches
    return cell * stride + stride // 2


def transfer_maps(
    map0: Float[Tensor, "D n n"],
    map1: Float[Tensor, "D n n"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    window: int | None,
    parts: tuple[int, ...] | list[int] = (),
) -> Float[Tensor, "N 2"]:
    """Say where points of image 0 are in image 1, given maps: `transfer_points` on their unit descriptors.

    Args:
        map0: features of the square of image 0.
        map1: features of the square of image 1.
        xy0: (x, y) in pixels of the square of image 0.
        size0: (height, width) of the square.
        size1: the same.
        window: see `soft_patch`; None takes the best patch.
        parts: see `unit_descriptors`.

    Raises:
        ShapeError: images that are no equal squares.
    """
    if len({*size0, *size1}) != 1:
        raise ShapeError(
            f"geoaware: expected two images in equal squares, got {size0} and {size1}; use a PaddedSquare as frame"
        )
    descriptors0, descriptors1 = (
        unit_descriptors(map_.flatten(1).T, parts=tuple(parts)) for map_ in (map0, map1)
    )
    return transfer_points(
        descriptors0, descriptors1, xy0, patches=map0.shape[1], side=size0[0], window=window
    )


def _unit(descriptors: Tensor) -> Tensor:
    return descriptors / (torch.linalg.vector_norm(descriptors, dim=1, keepdim=True) + 1e-10)
