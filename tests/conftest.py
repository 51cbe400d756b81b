"""What all tests share."""

from collections.abc import Generator
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


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Keep tests from reading and filling the caches of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOMOLOG_CACHE", str(tmp_path_factory.mktemp("homolog-cache")))
        yield
