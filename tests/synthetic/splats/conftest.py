"""Small scenes of Gaussians."""

from collections.abc import Callable, Generator

import jaxtyping
import numpy as np
import pytest

from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.gaussians import Gaussians


def _scattered(count: int, seed: int = 0, degree: int = 0, size: float = 0.15) -> Gaussians:
    """Gaussians of all shapes in a unit cube around the origin."""
    random = np.random.default_rng(seed)
    turn = random.standard_normal((count, 4))
    return Gaussians(
        means=random.uniform(-1, 1, (count, 3)).astype(np.float32),
        scales=(size * np.exp(random.normal(0, 0.6, (count, 3)))).astype(np.float32),
        rotations=(turn / np.linalg.norm(turn, axis=1, keepdims=True)).astype(np.float32),
        opacity=random.uniform(0.1, 1.0, count).astype(np.float32),
        harmonics=(0.6 * random.standard_normal((count, (degree + 1) ** 2, 3))).astype(np.float32),
    )


@pytest.fixture
def scattered() -> Callable[..., Gaussians]:
    return _scattered


@pytest.fixture
def camera() -> Viewpoint:
    """Looks at the origin from some side; its image is not square and its axis not in the middle."""
    made = Viewpoint.towards(
        np.zeros(3), azimuth=0.7, elevation=0.4, distance=4.0, focal=1.1, size=(20, 28), roll=0.2
    )
    K = made.K.copy()
    K[:2, 2] += (1.3, -1.6)
    K[0, 1] = 0.7
    K[1, 1] *= 1.1
    return Viewpoint(K=K, R=made.R, t=made.t, size=made.size)


@pytest.fixture
def unchecked() -> Generator[None]:
    """Let shapes through to our own checks, as outside of tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
