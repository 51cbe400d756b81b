"""The size of the file that an image was read from."""

from homolog.core.coords import Size
from homolog.core.image import Image


def file_size(image: Image) -> Size:
    """Return (height, width) of the file that an image was resized or mirrored from.

    The size of a file that it was cropped from is not known; then this is the size of the crop there.
    """
    height, width = image.size
    linear = image.to_original[:, :2].abs()
    return round(height * float(linear[1].max())), round(width * float(linear[0].max()))
