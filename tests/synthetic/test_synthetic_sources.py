"""What all sources have in common: a sample depends on seed, split and index alone, and its labels not on the camera."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homolog.core.errors import ConfigError
from homolog.synthetic.aligned_pairs import AlignedPairs
from homolog.synthetic.homography_source import HomographySource
from homolog.synthetic.scene_pairs import ScenePairs
from homolog.synthetic.semantic_pairs import SemanticPairs
from homolog.synthetic.videos import Videos

Make = Callable[..., Any]

NAMES = ["bird", "bottle", "chair", "quadruped"]
SOURCES: dict[str, tuple[Make, dict[str, Any]]] = {
    "semantic": (SemanticPairs, {}),
    "aligned": (AlignedPairs, {"names": NAMES}),
    "scene": (ScenePairs, {"names": NAMES}),
    "homography": (HomographySource, {"displacement": 10.0}),
    "video": (Videos, {"names": NAMES, "frames": 4, "tracks": 20}),
}


@pytest.fixture(params=SOURCES)
def make(request: pytest.FixtureRequest, photo_folder: Path) -> Make:
    kind, settings = SOURCES[request.param]
    if kind is HomographySource:
        settings = {**settings, "photos": photo_folder}
    return lambda **changes: kind(**{"size": [32, 48], "seed": 5, **settings, **changes})


def _images(sample: Any) -> list[Any]:
    return sample.frames if hasattr(sample, "frames") else [sample.image0, sample.image1]


def _pictures(sample: Any) -> bytes:
    return b"".join(image.pixels.numpy().tobytes() for image in _images(sample))


def _labels(sample: Any) -> bytes:
    if hasattr(sample, "frames"):
        parts = (sample.tracks.xy, sample.tracks.visible, sample.tracks.query_frame)
    else:
        points = () if sample.xy0 is None else (sample.xy0, sample.xy1)
        parts = (sample.dense0.grid, sample.dense1.grid, sample.dense0.confidence, *points)
    return b"".join(part.numpy().tobytes() for part in parts)


def test_a_sample_does_not_depend_on_the_samples_before(make: Make) -> None:
    data, other = make(count=3), make(count=7)
    forward = [_pictures(data[index]) + _labels(data[index]) for index in range(3)]
    assert [_pictures(other[index]) + _labels(other[index]) for index in (2, 1, 0)] == forward[::-1]
    assert len(set(forward)) == 3


def test_seeds_and_splits_give_unrelated_samples(make: Make) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 6}, {"split": "val"}, {"split": "test"}]
    samples = [make(count=1, **change)[0] for change in changes]
    assert len({_pictures(sample) for sample in samples}) == 4
    assert len({_labels(sample) for sample in samples}) == 4


def test_photometry_changes_pictures_and_no_label(make: Make) -> None:
    plain, developed = (make(count=1, photometry=photometry)[0] for photometry in (False, True))
    assert _labels(plain) == _labels(developed)
    assert _pictures(plain) != _pictures(developed)
    assert {image.size for image in _images(plain) + _images(developed)} == {(32, 48)}


@pytest.mark.parametrize(
    ("changes", "message"), [({"size": 8}, "a size of at least 16"), ({"count": -1}, "count >= 0")]
)
def test_invalid_settings_are_refused(make: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**{"count": 1, **changes})


def test_indices_and_seeds_out_of_range_are_refused(make: Make) -> None:
    for index in (1, -1):
        with pytest.raises(IndexError, match=r"index of a (pair|video) in \[0, 1\)"):
            make(count=1)[index]
    with pytest.raises(ConfigError, match="seed and index >= 0"):
        make(count=1, seed=-1)[0]


@pytest.mark.parametrize("kind", [SemanticPairs, AlignedPairs, ScenePairs, Videos])
def test_unknown_or_no_categories_are_refused(kind: Make) -> None:
    with pytest.raises(ConfigError, match="no category named hors"):
        kind(count=1, names=["hors"])
    with pytest.raises(ConfigError, match="at least one category"):
        kind(count=1, names=[])
