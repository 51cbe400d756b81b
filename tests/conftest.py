"""What all tests share."""

from pathlib import Path
from typing import cast

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        type=Path,
        default=Path(__file__).parent / "goldens",
        help="folder with the golden files that the tests named *golden* compare against",
    )


@pytest.fixture(scope="session")
def goldens(request: pytest.FixtureRequest) -> Path:
    """The folder of golden files: inputs and outputs of official implementations."""
    return cast(Path, request.config.getoption("--goldens"))
