"""DIFT's read-out: both maps as large as the images, every pixel compared.

After Tsingularity/dift:eval_spair.py.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size
from homolog.evaluators.read_out.similarity_peak import peak
from homolog.evaluators.read_out.upsampled import upsampled_at, upsampled_cosine


def transfer_points(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
) -> Float[Tensor, "N 2"]:
    """Say which pixel of image 1 is most similar to a pixel of image 0.

    Args:
        map0: features of image 0, of any resolution.
        map1: features of image 1.
        xy0: (x, y) of pixels of image 0; whole numbers, as SPair-71k annotates them.
        size0: (height, width) of the file of image 0.
        size1: (height, width) of the file of image 1.

    Returns:
        Pixels of image 1, whole numbers.
    """
    query = upsampled_at(map0, xy0.to(torch.long).to(map0.dtype), size=size0)
    return peak(upsampled_cosine(query, map1, size=size1))
