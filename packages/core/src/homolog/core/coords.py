"""The coordinate convention of homolog, defined in one place.

Convention:
    - A point is (x, y). Pixel coordinates have their integers at pixel **centres**: (0, 0) is
      the centre of the top-left pixel, and an image of width W spans x from -0.5 to W - 0.5.
    - Normalised coordinates put the left edge at -1 and the right edge at +1:
      `(2 x + 1) / W - 1`. This is what `grid_sample(align_corners=False)` reads.
    - Resizing by a factor s moves a pixel coordinate to `(x + 0.5) s - 0.5`; its normalised
      coordinate does not change.
    - Sizes are always (height, width), as in tensor shapes.
    - An affine map [2 3] leads from one pixel coordinate system to another; `Image.to_original` is one.

No other file of homolog converts between pixel and normalised coordinates by hand.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import ShapeError

Size = tuple[int, int]
"""(height, width) in pixels or cells."""


def pixel_to_normalised(xy: Float[Tensor, "*batch 2"], size: Size) -> Float[Tensor, "*batch 2"]:
    """Convert pixel coordinates of an image of `size` to normalised ones.

    >>> pixel_to_normalised(torch.tensor([-0.5, 7.5]), (8, 4)).tolist()
    [-1.0, 1.0]
    """
    return (2 * xy + 1) / _width_height(xy, size) - 1


def normalised_to_pixel(xy: Float[Tensor, "*batch 2"], size: Size) -> Float[Tensor, "*batch 2"]:
    """Convert normalised coordinates to pixel coordinates of an image of `size`.

    >>> normalised_to_pixel(torch.tensor([0.0, 0.0]), (8, 4)).tolist()
    [1.5, 3.5]
    """
    return ((xy + 1) * _width_height(xy, size) - 1) / 2


def resize_pixel(xy: Float[Tensor, "*batch 2"], source: Size, target: Size) -> Float[Tensor, "*batch 2"]:
    """Map pixel coordinates of an image of size `source` to the image resized to `target`.

    >>> resize_pixel(torch.tensor([0.0, 0.0]), (4, 4), (8, 8)).tolist()
    [0.5, 0.5]
    """
    return (xy + 0.5) * (_width_height(xy, target) / _width_height(xy, source)) - 0.5


def identity_grid(
    size: Size, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "2 H W"]:
    """Return the normalised (x, y) of every pixel centre of an image of `size`.

    Warping an image of the same size with it returns the image.
    """
    height, width = size
    x = (2 * torch.arange(width, device=device, dtype=dtype) + 1) / width - 1
    y = (2 * torch.arange(height, device=device, dtype=dtype) + 1) / height - 1
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))


def pixel_grid(size: Size, *, device: torch.device | None = None) -> Float[Tensor, "N 2"]:
    """Return the (x, y) pixel coordinates of every pixel centre, row by row: N = height * width."""
    height, width = size
    x = torch.arange(width, dtype=torch.float32, device=device).expand(height, width)
    y = torch.arange(height, dtype=torch.float32, device=device)[:, None].expand(height, width)
    return torch.stack((x, y), dim=-1).reshape(-1, 2)


def inside(xy: Float[Tensor, "*batch 2"], size: Size) -> Tensor:
    """Return which pixel coordinates lie on an image of `size`, including its half-pixel border.

    Returns:
        Boolean tensor [*batch].
    """
    limit = _width_height(xy, size) - 0.5
    return ((xy >= -0.5) & (xy <= limit)).all(dim=-1)


def identity_affine() -> Float[Tensor, "2 3"]:
    """Return the identity map (float64, like all affine maps)."""
    return torch.eye(2, 3, dtype=torch.float64)


def resize_affine(source: Size, target: Size) -> Float[Tensor, "2 3"]:
    """Return the affine map from pixels of an image of size `target` back to the `source` it was resized from."""
    scale = [s / t for s, t in zip(reversed(source), reversed(target), strict=True)]
    return torch.tensor(
        [[scale[0], 0, 0.5 * scale[0] - 0.5], [0, scale[1], 0.5 * scale[1] - 0.5]], dtype=torch.float64
    )


def shift_affine(x: float, y: float) -> Float[Tensor, "2 3"]:
    """Return the affine map that adds (x, y): from pixels of a crop with that corner to pixels of the whole."""
    return torch.tensor([[1, 0, x], [0, 1, y]], dtype=torch.float64)


def apply_affine(affine: Float[Tensor, "2 3"], xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """Apply an affine map to points; computed in float64, returned in the dtype and on the device of `xy`.

    >>> apply_affine(resize_affine((4, 4), (8, 8)), torch.tensor([0.5, 0.5])).tolist()
    [0.0, 0.0]
    """
    # Apple's GPUs do not support float64, so the few points go through the CPU.
    device = torch.device("cpu") if xy.device.type == "mps" else xy.device
    affine = affine.to(device, torch.float64)
    moved = xy.to(device, torch.float64) @ affine[:, :2].T + affine[:, 2]
    return moved.to(xy.device, xy.dtype)


def compose_affines(outer: Float[Tensor, "2 3"], inner: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    """Return the affine map that applies `inner` first and `outer` second, on the device of `outer`."""
    inner = inner.to(outer)
    linear = outer[:, :2] @ inner[:, :2]
    offset = outer[:, :2] @ inner[:, 2] + outer[:, 2]
    return torch.cat((linear, offset[:, None]), dim=1)


def invert_affine(affine: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    """Return the inverse of an affine map.

    Raises:
        ShapeError: the map is singular.
    """
    linear, info = torch.linalg.inv_ex(affine[:, :2])
    if int(info.item()) != 0 or not bool(linear.isfinite().all()):
        raise ShapeError(
            f"expected an affine map that can be inverted, got {affine.tolist()}; check the image's sizes"
        )
    return torch.cat((linear, -(linear @ affine[:, 2])[:, None]), dim=1)


def _width_height(like: Tensor, size: Size) -> Tensor:
    if size[0] <= 0 or size[1] <= 0:
        raise ShapeError(f"expected a size (height, width) of at least 1 x 1, got {size}")
    return torch.tensor((size[1], size[0]), dtype=like.dtype, device=like.device)
