"""The texturer that changes nothing: the picture as it was."""

import numpy as np
from jaxtyping import UInt8

from homolog.synthetic.conditioning import Conditioning


class IdentityTexturer:
    """A `Texturer`: both pictures of a pair keep their first appearance, whatever the prompt and the seed."""

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture as it was."""
        return conditioning.picture()
