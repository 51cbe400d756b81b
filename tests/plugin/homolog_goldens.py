"""The option `--goldens`."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--goldens",
        type=Path,
        default=Path(__file__).parents[1] / "goldens",
        help="folder with the golden files that the tests named *golden* compare against",
    )
