"""Matching descriptors should find each other among all, from both sides."""

from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import ShapeError
from homolog.training.losses.full_precision import in_full_precision


@in_full_precision
def dual_softmax_loss(
    descriptor0: Float[Tensor, "N D"], descriptor1: Float[Tensor, "N D"], *, scale: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " N"]]:
    """Score how well matching descriptors find each other among all (XFeat, Potje et al. 2024, section 3.3).

    Args:
        descriptor0: row i matches row i of the other set; XFeat does not normalise them.
        descriptor1: the other set.
        scale: multiplies the similarities; XFeat takes 0.2 without, and 10 or more suits unit descriptors.

    Returns:
        The negative log likelihood of the true pairs, the mean over rows plus the mean over columns; 0 for
        no pairs. For each true pair, the highest probability in its row times the highest in its column,
        true or not and without gradient: XFeat's target for the reliability map.

    Raises:
        ShapeError: sets of different shapes.
    """
    if descriptor0.shape != descriptor1.shape:
        raise ShapeError(
            "expected two sets of matching descriptors, "
            f"got {list(descriptor0.shape)} and {list(descriptor1.shape)}"
        )
    if not len(descriptor0):
        return descriptor0.sum() + descriptor1.sum(), descriptor0.new_zeros(0)
    similarity = descriptor0 @ descriptor1.T * scale
    rows, columns = similarity.log_softmax(dim=1), similarity.T.log_softmax(dim=1)
    confidence = (rows.detach().amax(dim=1) + columns.detach().amax(dim=1)).exp()
    return -rows.diagonal().mean() - columns.diagonal().mean(), confidence
