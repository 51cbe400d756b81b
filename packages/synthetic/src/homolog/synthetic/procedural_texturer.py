"""The texturer that needs no network: other colours, patterns and light, drawn from a seed."""

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from homolog.synthetic.conditioning import Conditioning
from homolog.synthetic.light import Light
from homolog.synthetic.look import draw_look


class ProceduralTexturer:
    """A `Texturer`: paints the surface itself, so that geometry stays in place exactly. It does not read prompts."""

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the same view with made-up looks under another light; the background is that of the view."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        looks = tuple(draw_look(body.topology, random) for body in conditioning.view.scene.bodies)
        return replace(conditioning, looks=looks, colours=None, light=Light.drawn(random)).picture()
