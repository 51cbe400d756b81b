"""What every detector promises, asked of each YAML in configs/detector, whoever wrote it."""

from math import lcm
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from skimage import data
from torch import Tensor, nn

from homolog.core.coords import inside
from homolog.core.errors import ShapeError
from homolog.core.features import Features
from homolog.core.image import fitted_size
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import Backbone, Detector

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs/detector").glob("*.yaml"))


def build(group: str, name: str) -> Any:
    tiny = ROOT / "tests/tiny" / group / f"{name}.yaml"
    smaller = yaml.safe_load(tiny.read_text()) if tiny.exists() else []
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose(overrides=[f"+{group}={name}", *(f"{group}.{key}" for key in smaller)])
    torch.manual_seed(0)
    return instantiate(config[group], _convert_="all").eval()


@pytest.fixture(scope="module", params=NAMES)
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each detector, at the tiny size that tests/tiny gives it, in evaluation mode."""
    return build("detector", request.param)


@pytest.fixture(scope="module")
def images(detector: Detector) -> Tensor:
    """Two photos, not square, of an odd size rounded to what detector and backbone take."""
    size = fitted_size((131, 187), multiple=lcm(detector.multiple, 32))
    photos = [torch.from_numpy(photo()).permute(2, 0, 1) / 255 for photo in (data.astronaut, data.chelsea)]
    return torch.cat(
        [nn.functional.interpolate(p[None], size=size, mode="bilinear", antialias=True) for p in photos]
    )


@pytest.fixture(scope="session")
def mini() -> Backbone:
    """The default backbone; a detector that reads maps finds its own among its features."""
    return build("backbone", "mini")


@pytest.fixture(scope="module")
def features(mini: Backbone, images: Tensor) -> Features:
    """What the default backbone says of the images."""
    return seen_by(mini, images)


def seen_by(backbone: Backbone, images: Tensor) -> Features:
    with torch.inference_mode():
        return backbone(images[:, None])


def found(detector: Detector, images: Tensor, features: Features) -> list[Keypoints]:
    with torch.inference_mode():
        return detector(images, features)


@pytest.fixture(scope="module")
def keypoints(detector: Detector, images: Tensor, features: Features) -> list[Keypoints]:
    """What the detector finds on the images."""
    return found(detector, images, features)


def assert_same(one: Keypoints, other: Keypoints) -> None:
    assert torch.equal(one.xy, other.xy)
    torch.testing.assert_close(one.score, other.score, rtol=1e-4, atol=1e-5)
    assert (one.descriptor is None) == (other.descriptor is None)
    if one.descriptor is not None:
        torch.testing.assert_close(one.descriptor, other.descriptor, rtol=1e-3, atol=1e-4)


def test_it_meets_the_protocol(detector):
    assert isinstance(detector, Detector)
    assert detector.multiple >= 1


def test_photos_have_keypoints_inside_of_them_best_first(keypoints, images):
    assert len(keypoints) == len(images)
    for each in keypoints:
        assert len(each) > 10
        assert each.xy.dtype == each.score.dtype == torch.float32
        assert inside(each.xy, tuple(images.shape[-2:])).all()
        assert (each.score.diff() <= 0).all()
        assert each.score.isfinite().all()


def test_descriptors_have_unit_norm_and_one_length_for_all_photos(keypoints):
    descriptors = [each.descriptor for each in keypoints]
    if any(descriptor is None for descriptor in descriptors):
        assert descriptors == [None, None]
    else:
        for descriptor in descriptors:
            assert descriptor.dtype == torch.float32
            torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(len(descriptor)))
        assert len({descriptor.shape[1] for descriptor in descriptors}) == 1


def test_an_image_has_the_same_keypoints_at_any_place_of_the_batch(detector, images, features, keypoints):
    swapped = Features(
        maps={name: map_.flip(0) for name, map_ in features.maps.items()}, image_size=features.image_size
    )
    for one, other in zip(keypoints, reversed(found(detector, images.flip(0), swapped)), strict=True):
        assert_same(one, other)


def test_the_same_images_give_the_same_keypoints_and_stay_as_they_were(detector, images, features, keypoints):
    before = images.clone()
    for one, other in zip(keypoints, found(detector, images, features), strict=True):
        assert torch.equal(one.xy, other.xy)
        assert torch.equal(one.score, other.score)
    assert torch.equal(images, before)


def test_a_blank_image_is_no_accident(detector, images, mini):
    blank = torch.zeros_like(images[:1])
    (keypoints,) = found(detector, blank, seen_by(mini, blank))
    assert keypoints.xy.isfinite().all()
    assert keypoints.score.isfinite().all()


def test_under_autocast_to_bfloat16_positions_stay_float32_and_inside(detector, images, mini):
    # Small, because processors without bfloat16 take seconds for what is milliseconds in float32.
    side = lcm(detector.multiple, 32)
    patch = images[:1, :, :side, :side]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (keypoints,) = found(detector, patch, seen_by(mini, patch))
    assert keypoints.xy.dtype == keypoints.score.dtype == torch.float32
    assert inside(keypoints.xy, (side, side)).all()
    assert keypoints.score.isfinite().all()


def test_a_size_between_its_multiples_is_refused_with_the_remedy(detector, images, features):
    if detector.multiple == 1:
        assert len(found(detector, images[..., 1:, :], features)) == 2
    else:
        with pytest.raises(ShapeError, match=str(detector.multiple)):
            found(detector, images[..., 1:, :], features)
