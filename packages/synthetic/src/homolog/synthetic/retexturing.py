"""From a view to its picture: a texturer, then a camera. What pairs of assets have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.synthetic.backdrop import PhotoFolder, drawn_backdrop
from homolog.synthetic.colours import Colours
from homolog.synthetic.conditioning import Behind, Conditioning
from homolog.synthetic.light import Light
from homolog.synthetic.look import draw_look
from homolog.synthetic.photometry import Photometry
from homolog.synthetic.picture import taken
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.texturer import PROMPTS, Texturer, drawn_prompt
from homolog.synthetic.view import View


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Retexturing:
    """How views of a source become pictures; each side of a pair draws from streams of its own.

    Attributes:
        texturer: gives them their appearance.
        prompts: in words; `{category}` is replaced.
        photos: for the backgrounds; made-up scenery if None.
        photometry: whether pictures are exposed, blurred, noisy and compressed, each in its own way.
    """

    texturer: Texturer
    prompts: tuple[str, ...] = PROMPTS
    photos: PhotoFolder | None = None
    photometry: bool = True

    @classmethod
    def chosen(
        cls,
        *,
        texturer: Texturer,
        prompts: Sequence[str] | None,
        photos: str | Path | None,
        photometry: bool,
    ) -> "Retexturing":
        """Check what a configuration says.

        Raises:
            ConfigError: an empty list of prompts.
            DataError: no photos in the folder.
        """
        if prompts is not None and not prompts:
            raise ConfigError(
                "expected at least one prompt, got none; leave prompts out for the default ones"
            )
        return cls(
            texturer=texturer,
            prompts=PROMPTS if prompts is None else tuple(prompts),
            photos=None if photos is None else PhotoFolder(photos),
            photometry=photometry,
        )

    def picture(
        self, view: View, category: str, seeds: Seeds, side: int, *, shared: bool, colours: Colours | None
    ) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
        """Return the picture of a view, and the prompt that went into it.

        Args:
            view: body 0 is what it is about.
            category: what the prompt is about.
            seeds: of the pair.
            side: which view of the pair it is.
            shared: whether the appearance before the texturer is that of the pair or that of this side.
            colours: those that came with the asset, in place of a made-up look, or None.
        """
        member = 0 if shared else side
        others = [
            draw_look(body.topology, seeds.generator(Factor.texture, 2 + side))
            for body in view.scene.bodies[1:]
        ]
        conditioning = Conditioning(
            view=view,
            looks=(
                draw_look(view.scene.bodies[0].topology, seeds.generator(Factor.texture, member)),
                *others,
            ),
            light=Light.drawn(seeds.generator(Factor.light, member)),
            behind=self._behind(seeds, side),
            colours=colours,
        )
        random = seeds.generator(Factor.texture, 4 + side)
        prompt = drawn_prompt(category, random, self.prompts)
        picture = self.texturer.retexture(conditioning, prompt=prompt, seed=int(random.integers(2**62)))
        if self.photometry:
            drawn = Photometry.drawn(seeds.generator(Factor.photometry, side))
            picture = taken(picture.astype(np.float32) / np.float32(255), drawn)
        return picture, prompt

    def _behind(self, seeds: Seeds, side: int) -> Behind:
        make: Callable[[np.random.Generator, Size], Float32[np.ndarray, "H W 3"]]
        make = drawn_backdrop if self.photos is None else self.photos.crop

        def behind(size: Size) -> Float32[np.ndarray, "H W 3"]:
            return make(seeds.generator(Factor.background, side), size)

        return behind
