"""The sizes at which networks see images, alone or two together."""

from dataclasses import dataclass

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.image import Image, fit, fitted_size, resize


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How a matcher resizes what it is given.

    Attributes:
        multiple: each side becomes a multiple of this.
        resize: images are scaled down to this longer side, in pixels; None keeps their size up to
            `multiple`.
        enlarge: also scale smaller images up to `resize`.
    """

    multiple: int
    resize: int | None = None
    enlarge: bool = False

    def __post_init__(self) -> None:
        """Refuse a size out of range.

        Raises:
            ConfigError: `resize` below 1.
        """
        if self.resize is not None and self.resize < 1:
            raise ConfigError(f"expected resize of at least 1 pixel or null, got {self.resize}")

    def alone(self, image: Image) -> Image:
        """Resize an image that has no other beside it."""
        return fit(image, longer_side=self.resize, multiple=self.multiple, enlarge=self.enlarge)

    def together(self, image0: Image, image1: Image) -> tuple[Image, Image]:
        """Resize two images to one size, halfway between what they would have alone.

        Halfway, so that neither image is squeezed more than the other.
        """
        size0, size1 = self._size(image0.size), self._size(image1.size)
        halfway = ((size0[0] + size1[0]) // 2, (size0[1] + size1[1]) // 2)
        size = fitted_size(halfway, multiple=self.multiple)
        return resize(image0, size), resize(image1, size)

    def _size(self, size: Size) -> Size:
        return fitted_size(size, longer_side=self.resize, multiple=self.multiple, enlarge=self.enlarge)
