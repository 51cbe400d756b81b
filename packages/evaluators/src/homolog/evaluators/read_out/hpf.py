"""HPF's read-out: a point moves as the receptive fields that cover it do, on average.

After juhongm999/hpf:model/geometry.py, `predict_kps`.
"""

from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import ShapeError


def transfer_points(
    confidence: Float[Tensor, "S T"],
    fields0: Float[Tensor, "S 4"],
    fields1: Float[Tensor, "T 4"],
    xy0: Float[Tensor, "N 2"],
) -> Float[Tensor, "N 2"]:
    """Say where points of image 0 are in image 1.

    Args:
        confidence: of the match of each receptive field of image 0 with each of image 1.
        fields0: x1, y1, x2, y2 of the receptive fields of image 0; points on their border are covered.
        fields1: of image 1.
        xy0: (x, y) in pixels of image 0.

    Returns:
        Pixels of image 1; NaN for a point that no field covers.

    Raises:
        ShapeError: not as many fields as confidences.
    """
    if confidence.shape != (len(fields0), len(fields1)):
        raise ShapeError(
            f"transfer_points: expected confidences [{len(fields0)} {len(fields1)}], got {list(confidence.shape)}"
        )
    moved = fields1[confidence.argmax(dim=1), :2] - fields0[:, :2]
    above, below = xy0[:, None] >= fields0[:, :2], xy0[:, None] <= fields0[:, 2:]
    covered = (above & below).all(dim=-1).to(xy0.dtype)
    return xy0 + covered @ moved / covered.sum(dim=1, keepdim=True)
