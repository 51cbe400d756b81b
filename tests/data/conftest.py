"""What tests of data sets share."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest


@pytest.fixture
def unchecked() -> Generator[None]:
    """Let wrong choices through to our own checks, as they come without the tests' type checker."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def golden(goldens: Path) -> Callable[[str], dict[str, Any]]:
    """Return the golden case of an id."""

    def of(name: str) -> dict[str, Any]:
        cases = json.loads((goldens / "metrics.json").read_text())["cases"]
        return next(case for case in cases if case["id"] == name)

    return of
