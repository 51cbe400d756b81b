"""Finishes full of detail, for what is large: floors, walls, crates, posters."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.look import Look, Pattern, row, vivid
from homolog.synthetic.surface import Topology

_PATTERNS = (0.0, 0.12, 0.16, 0.30, 0.14, 0.28)
"""How often each `Pattern` is drawn; never none."""


def detailed_look(
    topology: Topology, random: np.random.Generator, *, unit: float, detail: float, calm: float = 0.0
) -> Look:
    """Draw a look each of whose parts has a pattern and a grain of its own.

    Args:
        topology: whose parts are to be coloured.
        random: decides everything.
        unit: how long a canonical unit is in the world.
        detail: the length of a period of its patterns in the world, on average.
        calm: how much greyer its colours are, in [0, 1].
    """
    return Look(rows=np.stack([_detailed(random, unit / detail, calm) for _ in topology.part_names]))


def _detailed(random: np.random.Generator, frequency: float, calm: float) -> Float64[np.ndarray, "24"]:
    # A dark and a light colour, so that every pattern has contrast.
    tones = [vivid(random, low=0.16, high=0.45), vivid(random, low=0.58, high=0.98)]
    tones = [tone + calm * (tone.max() - tone) for tone in tones]
    first, second = tones if random.random() < 0.5 else tones[::-1]
    pattern = Pattern(int(random.choice(6, p=_PATTERNS)))
    return row(
        first,
        second,
        pattern=pattern,
        frequency=frequency * float(np.exp(random.uniform(-0.6, 0.6))),
        share=random.uniform(0.35, 0.62),
        warp=0.0 if pattern == Pattern.checks else random.uniform(0.3, 1.0),
        gloss=random.uniform(0, 0.15),
        grain=random.uniform(0.4, 0.75),
        grain_frequency=frequency * random.uniform(4.0, 8.0),
        direction=random.normal(size=3),
        offset=random.uniform(0, 32, 3),
    )
