"""What tests of evaluators share."""

from collections.abc import Generator

import jaxtyping
import pytest


@pytest.fixture
def unchecked() -> Generator[None]:
    """Lets what the annotations forbid reach the functions' own errors, as it does outside of tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
