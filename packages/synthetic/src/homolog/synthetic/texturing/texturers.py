"""Texturers give a picture another appearance and keep its geometry; here are those that need no network.

`Conditioning` is what a texturer gets: the view, its first appearance, and maps (edges, depth) for generators.
`Retexturing` is the whole way from a view to the picture of a sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.synthetic.meshes.colours import Colours, paint_coloured
from homolog.synthetic.rendering.lighting import Light, drawn_backdrop
from homolog.synthetic.rendering.look import Look, draw_look
from homolog.synthetic.rendering.paint import paint
from homolog.synthetic.rendering.photometry import Photometry, taken
from homolog.synthetic.rendering.photos import PhotoFolder
from homolog.synthetic.rendering.scene import Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.seeds import Factor, Seeds

Background = Callable[[Size], Float32[np.ndarray, "H W 3"]]
"""Makes the background for a size in pixels: RGB in [0, 1], the same scenery for every size."""

PROMPTS = (
    "a photo of a {category} outdoors on a sunny day",
    "a photo of a {category} indoors, soft light from a window",
    "a close photo of an old, worn {category}",
    "a {category} made of painted wood, photographed in a workshop",
    "a colourful {category} in front of a city street",
    "a {category} in the countryside in autumn, overcast sky",
    "a dark {category} in the evening, warm light from one side",
    "a pale {category} on a beach, hazy light",
)
"""The default prompts."""

_GREY = np.float32(0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditioning:
    """A view and its first appearance; body 0 of its scene is the subject.

    Attributes:
        view: the geometry.
        looks: one for each body.
        light: of the scene.
        behind: makes the background.
        colours: of the mesh of body 0, used instead of its look, or None.
    """

    view: View
    looks: tuple[Look, ...]
    light: Light
    behind: Background
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
        """Return the same scene with another number of pixels: rendered anew, not resampled."""
        if size == self.size:
            return self
        return replace(self, view=View.of(self.view.scene, self.view.viewpoint.resized(size)))

    def painted(self) -> Float32[np.ndarray, "H W 3"]:
        """Return the colours of the first appearance: RGB in [0, 1]."""
        return self._over(self.behind(self.size))

    def picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """Return the first appearance in 8 bits."""
        return _rounded(self.painted())

    def edges(self, *, low: float = 0.1, high: float = 0.2) -> Bool[np.ndarray, "H W"]:
        """Return the edges (`canny`) of the bodies in front of a grey background.

        Raises:
            MissingDependencyError: kornia is not installed.
        """
        return canny(_rounded(self._over(np.full((*self.size, 3), _GREY, np.float32))), low=low, high=high)

    def nearness(self) -> UInt8[np.ndarray, "H W"]:
        """Return inverse depth as depth estimators draw it: 255 for the nearest point, 0 for infinity.

        The farthest surface has at least 64, so that it stands out from the background.
        """
        depth = self.view.depth
        seen = np.isfinite(depth)
        values = np.zeros(self.size, np.uint8)
        if seen.any():
            inverse = 1 / depth[seen]
            low, high = float(inverse.min()), float(inverse.max())
            fraction = (inverse - low) / max(high - low, 1e-12)
            values[seen] = np.rint(64 + 191 * fraction).astype(np.uint8)
        return values

    def _over(self, background: np.ndarray) -> np.ndarray:
        scene = self.view.scene
        if self.colours is None:
            return paint(self.view, self.looks, self.light, background)
        if len(scene.bodies) > 1:
            rest = View.of(Scene.of(scene.bodies[1:]), self.view.viewpoint)
            background = paint(rest, self.looks[1:], self.light, background)
        return paint_coloured(self.view, self.colours, self.light, background)


def canny(
    picture: UInt8[np.ndarray, "H W 3"], *, low: float = 0.1, high: float = 0.2
) -> Bool[np.ndarray, "H W"]:
    """Return which pixels of an RGB picture are edges, by Canny's method (1986) in kornia.

    An edge starts at a gradient of `high` and continues at one of `low`, for grey values in [0, 1].

    Raises:
        MissingDependencyError: kornia is not installed.
    """
    try:
        from kornia.filters import canny as kornia_canny
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[flux]", "the edges of a picture") from error
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float()[None] / 255
    with torch.inference_mode():
        _, edges = kornia_canny(planes, low_threshold=low, high_threshold=high)
    return edges[0, 0].numpy() > 0


@runtime_checkable
class Texturer(Protocol):
    """Gives a picture a new appearance; equal arguments give equal pictures."""

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return a picture of the same geometry with another appearance.

        Args:
            conditioning: the view and its first appearance.
            prompt: describes the new appearance; texturers without a text encoder ignore it.
            seed: decides what the prompt leaves open.
        """
        ...


class IdentityTexturer:
    """A `Texturer` that keeps the first appearance, whatever the prompt and the seed."""

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the first appearance."""
        return conditioning.picture()


class ProceduralTexturer:
    """A `Texturer` that paints the surface itself, so that geometry stays exact. It ignores the prompt."""

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the same view with random looks and another light; the background stays."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        looks = tuple(draw_look(body.topology, random) for body in conditioning.view.scene.bodies)
        return replace(conditioning, looks=looks, colours=None, light=Light.drawn(random)).picture()


def drawn_prompt(category: str, random: np.random.Generator, prompts: Sequence[str] = PROMPTS) -> str:
    """Return one of the prompts, with the category's name in place of `{category}`."""
    chosen = prompts[int(random.integers(len(prompts)))]
    return chosen.replace("{category}", category.replace("_", " "))


class Retexturing:
    """From a view to the picture of a sample: a texturer, then a camera.

    Attributes:
        texturer: gives the appearance; None keeps the first one, not even rounded to 8 bits.
    """

    def __init__(
        self,
        *,
        texturer: Texturer | None,
        prompts: Sequence[str] | None,
        photos: str | Path | None,
        photometry: bool,
    ) -> None:
        """Check the settings of a source, which explains them.

        Raises:
            ConfigError: an empty list of prompts.
            DataError: no photos in the folder.
        """
        if prompts is not None and not prompts:
            raise ConfigError(
                "expected at least one prompt, got none; leave prompts out for the default ones"
            )
        self.texturer = texturer
        self._prompts = PROMPTS if prompts is None else tuple(prompts)
        self._photos = None if photos is None else PhotoFolder(photos)
        self._photometry = photometry

    def picture(
        self,
        view: View,
        category: str,
        seeds: Seeds,
        side: int,
        *,
        look: Look,
        light: Light,
        colours: Colours | None,
    ) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
        """Return the picture of one side of a pair, and the prompt it was made with.

        Body 0 of the view is the subject. Look, light and colours (of the subject's mesh, used instead of its
        look, or None) are those before the texturer. Each side draws from streams of its own.
        """
        others = [
            draw_look(body.topology, seeds.generator(Factor.texture, 2 + side))
            for body in view.scene.bodies[1:]
        ]

        def behind(size: Size) -> Float32[np.ndarray, "H W 3"]:
            make = drawn_backdrop if self._photos is None else self._photos.crop
            return make(seeds.generator(Factor.background, side), size)

        conditioning = Conditioning(
            view=view, looks=(look, *others), light=light, behind=behind, colours=colours
        )
        camera = Photometry.drawn(seeds.generator(Factor.photometry, side)) if self._photometry else None
        if self.texturer is None:
            return taken(conditioning.painted(), camera), ""
        random = seeds.generator(Factor.texture, 4 + side)
        prompt = drawn_prompt(category, random, self._prompts)
        picture = self.texturer.retexture(conditioning, prompt=prompt, seed=int(random.integers(2**62)))
        if camera is not None:
            picture = taken(picture.astype(np.float32) / np.float32(255), camera)
        return picture, prompt


def _rounded(picture: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    return np.rint(np.clip(picture, 0, 1) * np.float32(255)).astype(np.uint8)
