"""The loop of a process that estimates; `homolog.evaluators.solver_pool` starts it.

It imports what an estimator needs and nothing else: no torch, no caller's script.
"""

import os
import pickle
import signal
import sys
from collections.abc import Sequence
from typing import Any

from homolog.core.errors import HomologError
from homolog.evaluators.two_view import Estimator, MatchedPair


def serve() -> None:
    """Read an estimator from standard input, then lists of pairs; answer each with a list of estimates."""
    # Ctrl-C reaches the whole group; the parent closes the pipe, and that ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, channel = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    try:
        estimator: Estimator[Any] = pickle.load(source)
        while True:
            pickle.dump(_answer(estimator, pickle.load(source)), channel, pickle.HIGHEST_PROTOCOL)
            channel.flush()
    except (EOFError, BrokenPipeError):
        # The parent is done, or gone.
        os._exit(0)


def _answer(estimator: Estimator[Any], pairs: Sequence[MatchedPair]) -> Any:
    try:
        return [estimator.estimate(pair) for pair in pairs]
    except HomologError as error:  # the parent raises it; anything else is a defect, and ends this process
        return error
