"""Foregrounds of SPair-71k: the object that a pair is about, from the segmentation of its photo.

`Segmentation/<category>/<name>.png` says of each pixel which class it shows, numbered as in PASCAL VOC: 0 is the
background, 255 the rim of an object. It says so of all that the photo shows: another bird, too, is a bird. So the
object is what shows its category within its box.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool
from torch import Tensor

from homolog.core.coords import Size
from homolog.core.errors import DataError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Of PASCAL VOC, from number 1 on; two of them are no categories of SPair-71k."""

_RIM = 255


def read_mask(path: Path, *, category: str, box: list[float], size: Size, advice: str) -> Bool[Tensor, "H W"]:
    """Return where an object is.

    Args:
        path: the segmentation.
        category: of the object.
        box: x, y, width, height of the object; of pixel centres, as it is annotated.
        size: (height, width) of the photo.
        advice: what to do if there is no such file.

    Returns:
        True on the object; nowhere, if the segmentation shows no such object in the box.

    Raises:
        DataError: the file is missing, damaged, of another size, or has no classes of PASCAL VOC.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a segmentation, found none; {advice}")
    try:
        with PIL.Image.open(path) as file:
            if file.size != size[::-1] or file.mode not in {"L", "P"}:
                raise DataError(
                    f"{path}: expected one class for each of {size[1]} x {size[0]} pixels, got "
                    f"{file.size[0]} x {file.size[1]} of the mode {file.mode}; obtain it again"
                )
            # Of a palette image, too, these are the classes; its colours are for people.
            shown = torch.from_numpy(np.array(file))
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: expected a PNG, got a damaged file ({error}); obtain it again") from error
    odd = shown[(shown > len(CLASSES)) & (shown != _RIM)]
    if category not in CLASSES or len(odd):
        got = f"the class {int(odd[0])}" if len(odd) else f"the category {category}"
        raise DataError(f"{path}: expected classes and categories of PASCAL VOC, got {got}; obtain it again")
    x, y, width, height = box
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    within = (rows >= y) & (rows <= y + height) & (columns >= x) & (columns <= x + width)
    return (shown == CLASSES.index(category) + 1) & within
