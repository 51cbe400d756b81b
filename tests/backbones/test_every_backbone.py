"""What every backbone promises, asked of each YAML in configs/backbone, whoever wrote it."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn

from homolog.core.errors import ShapeError
from homolog.core.features import Features
from homolog.core.image import fitted_size
from homolog.core.protocols import Backbone

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs/backbone").glob("*.yaml"))


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Each backbone, at the tiny size that tests/tiny gives it, in evaluation mode."""
    tiny = ROOT / "tests/tiny/backbone" / f"{request.param}.yaml"
    smaller = yaml.safe_load(tiny.read_text()) if tiny.exists() else []
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose(overrides=[f"+backbone={request.param}", *(f"backbone.{key}" for key in smaller)])
    torch.manual_seed(0)
    return instantiate(config.backbone, _convert_="all").eval()


@pytest.fixture
def images(backbone: Backbone) -> Tensor:
    """Two scenes of two views, of an odd and not square size rounded to what the backbone takes."""
    height, width = fitted_size((71, 117), multiple=backbone.multiple)
    noise = torch.rand(2, 2, 3, height, width, generator=torch.Generator().manual_seed(1))
    return nn.functional.avg_pool2d(noise.flatten(0, 1), 5, stride=1, padding=2).unflatten(0, (2, 2))


def extracted(backbone: Backbone, images: Tensor) -> Features:
    with torch.inference_mode():
        return backbone(images)


def cosines(map_: Tensor) -> Tensor:
    """Between all cells of all images: what most heads compare."""
    cells = nn.functional.normalize(map_.float().movedim(2, -1).flatten(0, -2), dim=-1)
    return cells @ cells.T


def assert_close(one: Features, other: Features) -> None:
    assert one.maps.keys() == other.maps.keys()
    for name, map_ in one.maps.items():
        scale = map_.abs().max().item()
        torch.testing.assert_close(
            other[name], map_, rtol=0, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_it_meets_the_protocol(backbone):
    assert isinstance(backbone, Backbone)
    assert backbone.multiple >= 1
    assert isinstance(backbone.joint, bool)


def test_its_maps_are_those_it_declares_and_cover_the_image_evenly(backbone, images):
    features = extracted(backbone, images)
    height, width = images.shape[-2:]
    assert features.image_size == (height, width)
    assert {name: map_.shape[2] for name, map_ in features.maps.items()} == backbone.channels
    for name, map_ in features.maps.items():
        assert map_.shape[:2] == (2, 2), name
        assert map_.isfinite().all(), name
        assert map_.shape[3] * width == map_.shape[4] * height, f"{name}: cells are not square"


def test_one_scene_and_one_view_are_enough(backbone, images):
    assert all(map_.shape[:2] == (1, 1) for map_ in extracted(backbone, images[:1, :1]).maps.values())


def test_a_scene_gets_the_same_features_at_any_place_of_the_batch(backbone, images):
    features, swapped = extracted(backbone, images), extracted(backbone, images.flip(0))
    assert_close(
        features,
        Features(maps={n: m.flip(0) for n, m in swapped.maps.items()}, image_size=swapped.image_size),
    )


def test_views_matter_to_each_other_only_if_it_is_joint(backbone, images):
    together, alone = extracted(backbone, images), extracted(backbone, images[:, :1])
    if backbone.joint:
        assert any(not torch.allclose(alone[n], m[:, :1], atol=1e-5) for n, m in together.maps.items())
    else:
        assert_close(together.view(0), alone)


def test_the_views_can_come_in_the_other_order(backbone, images):
    features, swapped = extracted(backbone, images), extracted(backbone, images.flip(1))
    back = Features(maps={n: m.flip(1) for n, m in swapped.maps.items()}, image_size=swapped.image_size)
    if not backbone.joint:
        assert_close(features, back)
    for name, map_ in features.maps.items():
        assert back[name].shape == map_.shape
        assert back[name].isfinite().all()
        # Every view still has its own features: nearer to what it had than to those of the other view.
        same, other = ((back[name] - each).float().norm() for each in (map_, map_.flip(1)))
        assert same < other, f"{name}: the maps of the two views were exchanged"


def test_the_same_images_give_the_same_features(backbone, images):
    first, again = extracted(backbone, images), extracted(backbone, images)
    assert all(torch.equal(map_, again[name]) for name, map_ in first.maps.items())


def test_the_images_stay_as_they_were(backbone, images):
    before = images.clone()
    extracted(backbone, images)
    assert torch.equal(images, before)


def test_what_is_trainable_gets_gradients(backbone, images):
    trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    features = backbone(images)
    loss = torch.stack([map_.float().square().mean() for map_ in features.maps.values()]).sum()
    assert loss.requires_grad == bool(trainable)
    if trainable:
        gradients = cast(Sequence[Tensor | None], torch.autograd.grad(loss, trainable, allow_unused=True))
        reached = [gradient for gradient in gradients if gradient is not None and gradient.abs().max() > 0]
        assert len(reached) > len(trainable) / 2
        assert all(gradient.isfinite().all() for gradient in reached)


def test_under_autocast_to_bfloat16_cosines_and_scores_stay_close(backbone, images):
    # The contract of half precision: callers use autocast, weights stay as they are. Values may be
    # rotated (SD+DINO projects on principal axes, which turn at the least provocation), so what is
    # held fixed is what heads compare: cosines between cells, and maps of one channel as such.
    scene = images[:1]  # one is enough: processors without bfloat16 are slow at it
    features = extracted(backbone, scene)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast = extracted(backbone, scene)
    for name, map_ in features.maps.items():
        if map_.shape[2] > 1:
            drift = (cosines(fast[name]) - cosines(map_)).abs().mean()
        else:
            drift = (fast[name].float() - map_).norm() / map_.norm()
        assert drift < 0.02, f"{name}: {drift:.3f}"


def test_a_size_between_its_multiples_is_refused_with_the_remedy(backbone, images):
    if backbone.multiple == 1:
        assert extracted(backbone, images[..., 1:, :]).image_size[0] == images.shape[-2] - 1
    else:
        with pytest.raises(ShapeError, match=str(backbone.multiple)):
            extracted(backbone, images[..., 1:, :])
