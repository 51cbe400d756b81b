"""A texturer whose pictures are judged, and made again if they are refused."""

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from homolog.core.errors import ConfigError
from homolog.synthetic.conditioning import Conditioning
from homolog.synthetic.gates import Gate
from homolog.synthetic.procedural_texturer import ProceduralTexturer
from homolog.synthetic.texturer import Texturer

logger = logging.getLogger(__name__)


class GatedTexturer:
    """A `Texturer` around another one: seeds are tried in a fixed order, and one that always works comes last.

    Attributes:
        refused: how often each gate said no; its words up to the first colon are its name.
        replaced: how many pictures the last resort had to make.
    """

    def __init__(
        self, *, texturer: Texturer, gates: Sequence[Gate], tries: int = 3, last: Texturer | None = None
    ) -> None:
        """Choose the judges.

        Args:
            texturer: makes pictures.
            gates: all of them have to agree.
            tries: seeds that are tried.
            last: makes the picture when all were refused, unjudged; procedural by default.

        Raises:
            ConfigError: no gate, or no try.
        """
        if tries < 1 or not gates:
            raise ConfigError(
                f"GatedTexturer: expected at least one gate and one try, got {len(gates)}, {tries}"
            )
        self._texturer, self._gates, self._tries = texturer, tuple(gates), tries
        self._last: Texturer = last or ProceduralTexturer()
        self.refused: Counter[str] = Counter()
        self.replaced = 0

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the first picture that no gate refuses; seed number k is derived from `seed` and k."""
        for member in range(self._tries):
            picture = self._texturer.retexture(conditioning, prompt=prompt, seed=derived_seed(seed, member))
            reason = self._reason(picture, conditioning)
            if reason is None:
                return picture
            self.refused[reason.split(":")[0]] += 1
            logger.info("refused a picture of %s (seed %d, try %d): %s", prompt, seed, member + 1, reason)
        self.replaced += 1
        return self._last.retexture(conditioning, prompt=prompt, seed=seed)

    def _reason(self, picture: np.ndarray, conditioning: Conditioning) -> str | None:
        reasons = (gate.reason(picture, conditioning) for gate in self._gates)
        return next((reason for reason in reasons if reason is not None), None)


def derived_seed(seed: int, member: int) -> int:
    """Return one of many seeds that follow from one; the first is `seed` itself."""
    if member == 0:
        return seed
    state = np.random.SeedSequence(seed, spawn_key=(member,)).generate_state(1, np.uint64)
    return int(state[0]) >> 2
