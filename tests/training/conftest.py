"""What the tests of training share."""

from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("homolog", deadline=None)
settings.load_profile("homolog")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Run as in production, without the shape checks that tests add: our own errors have to stand alone."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
