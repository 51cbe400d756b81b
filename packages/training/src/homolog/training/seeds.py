"""Seeds out of several numbers."""

import numpy as np


def mixed_seed(*numbers: int) -> int:
    """Return one seed for several numbers, none of them below 0, far from that of their neighbours.

    >>> mixed_seed(0, 1) == mixed_seed(0, 1), mixed_seed(0, 1) == mixed_seed(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
