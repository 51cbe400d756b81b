"""What all tests share."""

import os
import runpy
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; threads that wait for one another's cores cost more than they bring. Processes that
    # tests start inherit it.
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    # Installed where uv set things up; elsewhere `--goldens=DIR`, written as one word, does the same.
    if not pluginmanager.hasplugin("homolog_goldens"):
        plugin = runpy.run_path(str(Path(__file__).parent / "plugin" / "homolog_goldens.py"))
        plugin["pytest_addoption"](parser)


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
