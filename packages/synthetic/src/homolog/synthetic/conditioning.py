"""What a picture must keep when it is textured anew: its geometry, and maps that show it to a generator."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from homolog.core.coords import Size
from homolog.synthetic.canny import canny
from homolog.synthetic.colours import Colours, paint_coloured
from homolog.synthetic.light import Light
from homolog.synthetic.look import Look
from homolog.synthetic.paint import paint
from homolog.synthetic.scene import Scene
from homolog.synthetic.view import View

Behind = Callable[[Size], Float32[np.ndarray, "H W 3"]]
"""Makes the background for a size in pixels: RGB in [0, 1], the same scenery for every size."""

_GREY = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditioning:
    """A view, and how it looked before; body 0 of its scene is what the picture is about.

    Attributes:
        view: the geometry.
        looks: one for each body.
        colours: those that came with the mesh of body 0, in place of its look, or None.
        light: of the scene.
        behind: makes the background.
    """

    view: View
    looks: tuple[Look, ...]
    light: Light
    behind: Behind
    colours: Colours | None = None

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.view.size

    @property
    def mask(self) -> Bool[np.ndarray, "H W"]:
        """Which pixels show body 0."""
        return self.view.shows(0)

    def resized(self, size: Size) -> "Conditioning":
        """Return the same scene with another number of pixels: drawn anew, not resampled."""
        if size == self.size:
            return self
        return replace(self, view=View.of(self.view.scene, self.view.viewpoint.resized(size)))

    def picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture as it was."""
        return _rounded(self._painted(self.behind(self.size)))

    def edges(self, *, low: float = 0.1, high: float = 0.2) -> Bool[np.ndarray, "H W"]:
        """Return the edges (Canny) of the bodies as they looked, before a grey background.

        Args:
            low: gradient from which on an edge goes on, for RGB in [0, 1].
            high: gradient at which it begins.

        Raises:
            MissingDependencyError: kornia is not installed.
        """
        grey = np.full((*self.size, 3), _GREY, np.float32)
        return canny(_rounded(self._painted(grey)), low=low, high=high)

    def nearness(self) -> UInt8[np.ndarray, "H W"]:
        """Return inverse depth as estimators of depth draw it: what is nearest is 255, what is infinitely far 0.

        The farthest surface has at least 64, so that it stands out from the background.
        """
        depth = self.view.depth
        seen = np.isfinite(depth)
        values = np.zeros(self.size, np.uint8)
        if seen.any():
            inverse = 1 / depth[seen]
            low, high = float(inverse.min()), float(inverse.max())
            share = (inverse - low) / max(high - low, 1e-12)
            values[seen] = np.rint(64 + 191 * share).astype(np.uint8)
        return values

    def _painted(self, background: np.ndarray) -> np.ndarray:
        scene = self.view.scene
        if self.colours is None:
            return paint(self.view, self.looks, self.light, background)
        if len(scene.bodies) > 1:
            rest = View.of(Scene.of(scene.bodies[1:]), self.view.viewpoint)
            background = paint(rest, self.looks[1:], self.light, background)
        return paint_coloured(self.view, self.colours, self.light, background)


def _rounded(picture: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    return np.rint(np.clip(picture, 0, 1) * np.float32(255)).astype(np.uint8)
