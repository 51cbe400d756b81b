"""What gives a picture another appearance and leaves its geometry in place."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from homolog.synthetic.conditioning import Conditioning

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
"""Prompts that are taken when a configuration names none."""


@runtime_checkable
class Texturer(Protocol):
    """Paints anew; equal arguments give equal pictures."""

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return a picture of the same geometry with another appearance.

        Args:
            conditioning: what it was.
            prompt: what it should look like, in words; not every texturer reads.
            seed: decides what the words leave open.
        """
        ...


def drawn_prompt(category: str, random: np.random.Generator, prompts: Sequence[str] = PROMPTS) -> str:
    """Return one of the prompts, with the category's name in place of `{category}`."""
    chosen = prompts[int(random.integers(len(prompts)))]
    return chosen.replace("{category}", category.replace("_", " "))
