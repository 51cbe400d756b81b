"""Load networks and their libraries faster."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def loading() -> Generator[None]:
    """Leave Python's search for garbage out while libraries are imported and networks built.

    That makes millions of objects that stay until the end. Going through them again and again, at
    last when Python exits, took 4 of the 20 seconds of a demo. Afterwards the search goes on, but
    leaves out what is there by now.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collected:
            gc.enable()
