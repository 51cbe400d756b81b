"""DISK, ALIKED and DeDoDe: official checkpoints, pixel convention, and what a detector owes its caller."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kornia.feature import DeDoDe
from kornia.feature.dedode import encoder, vgg
from safetensors.torch import save_file
from torch import Tensor, nn

from homolog.backbones.aliked import Aliked
from homolog.backbones.dedode import Dedode, DedodeDescriptor
from homolog.backbones.disk import Disk
from homolog.core.coords import inside, pixel_grid
from homolog.core.errors import WeightsError
from homolog.core.keypoints import Keypoints

SIZE = (64, 96)
WITHOUT_SUPPRESSION = "dedode"
NAMES = ("disk", "aliked", "dedode")


@pytest.fixture(autouse=True)
def _vgg_without_classifier(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Spare each test the 120 million random numbers of a classifier that kornia cuts off anyway."""
    features = vgg.make_layers
    monkeypatch.setattr(
        encoder, "vgg19_bn", lambda: SimpleNamespace(features=features(vgg.cfgs["E"], batch_norm=True))
    )


def build(name: str, **arguments: Any) -> Any:
    torch.manual_seed(0)
    if name == "disk":
        return Disk(**arguments)
    if name == "aliked":
        return Aliked(variant="aliked-t16", **arguments)
    arguments.setdefault("max_keypoints", 100)
    return Dedode(descriptor=DedodeDescriptor(), **arguments)


def photo(batch: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, SIZE[0] // 4, SIZE[1] // 4, generator=generator)
    return F.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)


def detect(detector: Any, images: Tensor) -> list[Keypoints]:
    with torch.inference_mode():
        return detector(images)


def descriptors(found: Keypoints) -> Tensor:
    assert found.descriptor is not None
    return found.descriptor


def randomised(network: nn.Module) -> dict[str, Tensor]:
    """A state of the network's shapes with every value changed, running statistics included."""
    generator = torch.Generator().manual_seed(9)
    return {
        key: value + 0.01 * torch.rand(value.shape, generator=generator)
        if value.is_floating_point()
        else value + 1
        for key, value in network.state_dict().items()
    }


def assert_holds(network: nn.Module, state: dict[str, Tensor]) -> None:
    own = network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", NAMES)
def test_each_image_of_a_batch_has_its_own_number_of_keypoints(name: str) -> None:
    detector = build(name)
    assert not any(part.training for part in detector.modules())
    images = photo(batch=2)
    images[1, :, :, 24:] = 0.5
    found = detect(detector, images)
    if name == WITHOUT_SUPPRESSION:
        assert [len(one) for one in found] == [100, 100]
    else:
        assert len(found[0]) != len(found[1])
    for one, image in zip(found, images, strict=True):
        torch.testing.assert_close(one.xy, detect(detector, image[None])[0].xy, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["disk", "dedode"])
def test_limit_keeps_the_best(name: str) -> None:
    image = photo()
    (many,), (few,) = detect(build(name), image), detect(build(name, max_keypoints=7), image)
    assert len(few) == 7
    torch.testing.assert_close(few.xy, many.xy[:7])


def test_limit_of_aliked_keeps_the_highest_peaks_as_they_were_before_refinement() -> None:
    detector = build("aliked", max_keypoints=7)
    with torch.inference_mode():
        _, score = detector.network.extract_dense_map(photo())
    inner = score[0, 0, 2:-2, 2:-2]
    highest = F.max_pool2d(score[0], 5, 1)[0]  # of each whole window of nms_radius 2
    y, x = (inner == highest).nonzero(as_tuple=True)
    best = inner[y, x].argsort(descending=True)[:7]
    peaks = torch.stack((x, y), dim=1)[best] + 2
    (found,) = detect(detector, photo())
    near = (found.xy[:, None] - peaks).abs().amax(dim=2) <= 2
    assert near.sum(dim=1).tolist() == near.sum(dim=0).tolist() == [1] * 7


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_image_gives_fewer_keypoints_except_where_a_count_is_asked_for(name: str) -> None:
    (found,) = detect(build(name), torch.full((1, 3, *SIZE), 0.5))
    assert len(descriptors(found)) == len(found)
    if name == WITHOUT_SUPPRESSION:
        assert len(found) == 100
    else:
        (busy,) = detect(build(name), photo())
        assert len(found) < len(busy)


def test_aliked_takes_any_size_and_no_padding_shows() -> None:
    (found,) = detect(build("aliked"), photo()[..., :53, :71])
    assert len(found) > 10
    assert bool(inside(found.xy, (53, 71)).all())


# -- official checkpoint files


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_disk_restores_the_official_file_and_its_flat_copy(tmp_path: Path, ending: str) -> None:
    state = randomised(build("disk").network)
    path = tmp_path / f"depth-save.{ending}"
    if ending == "pth":
        torch.save({"extractor": state, "epoch": 3}, path)
    else:
        save_file(state, path)
    assert_holds(Disk(checkpoint=path).network, state)


def test_aliked_restores_the_official_file_which_lacks_the_window_offsets(tmp_path: Path) -> None:
    source = build("aliked")
    official = randomised(source.network)
    offsets = source.network.dkd.hw_grid
    del official["dkd.hw_grid"]
    torch.save(official, tmp_path / "aliked-t16.pth")
    restored = Aliked(variant="aliked-t16", checkpoint=tmp_path / "aliked-t16.pth")
    assert_holds(restored.network, {**official, "dkd.hw_grid": offsets})


def test_dedode_restores_both_official_files(tmp_path: Path) -> None:
    source = build("dedode")
    detector = randomised(source.network)
    descriptor = randomised(source.descriptor.network)
    torch.save(detector, tmp_path / "dedode_detector_L_v2.pth")
    torch.save(descriptor, tmp_path / "dedode_descriptor_B.pth")
    restored = Dedode(
        checkpoint=tmp_path / "dedode_detector_L_v2.pth",
        descriptor=DedodeDescriptor(checkpoint=tmp_path / "dedode_descriptor_B.pth"),
    )
    assert_holds(restored.network, detector)
    assert restored.descriptor is not None
    assert_holds(restored.descriptor.network, descriptor)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"extractor": {"conv.weight": torch.zeros(3)}}, path)
    with pytest.raises(WeightsError, match=r"missing .*unexpected \(conv\.weight"):
        Disk(checkpoint=path)
    torch.save({"conv.weight": torch.zeros(3)}, path)
    for load in (
        lambda: Aliked(checkpoint=path),
        lambda: Dedode(checkpoint=path),
        lambda: DedodeDescriptor(checkpoint=path),
    ):
        with pytest.raises(WeightsError, match=r"missing .*unexpected \(conv\.weight"):
            load()
    with pytest.raises(WeightsError, match="extractor"):
        Disk(checkpoint=path)


# -- where a keypoint lies: integer = centre of the pixel


class Fixed(nn.Module):
    """A network that answers with a given map."""

    def __init__(self, map_: Tensor) -> None:
        super().__init__()
        self.map_ = map_

    def forward(self, _images: Tensor) -> Tensor:
        return self.map_


def pixel_map(height: int, width: int) -> Tensor:
    """[1 3 H W]: x, y and 1 at each pixel, so that a direction tells the place it was read at."""
    xy = pixel_grid((height, width)).T.reshape(1, 2, height, width)
    return torch.cat((xy, torch.ones_like(xy[:, :1])), dim=1)


def bump(x: float, y: float, height: int, width: int) -> Tensor:
    """[1 1 H W]: a round peak of height 1 at the pixel coordinate (x, y)."""
    distance = (pixel_grid((height, width)) - torch.tensor([x, y])).square().sum(dim=1)
    return (-distance / 8).exp().reshape(1, 1, height, width)


def place(descriptor: Tensor) -> Tensor:
    return descriptor[:, :2] / descriptor[:, 2:3]


def test_disk_keypoints_are_pixel_centres_described_there() -> None:
    detector: Any = Disk(descriptor_dim=3, max_keypoints=1)
    heat = bump(83, 9, *SIZE)
    detector.network.unet = Fixed(torch.cat((pixel_map(*SIZE), heat), dim=1))
    (found,) = detect(detector, photo())
    assert found.xy.tolist() == [[83, 9]]
    torch.testing.assert_close(place(descriptors(found)), found.xy)


def test_disk_without_any_peak_above_the_threshold_returns_empty_keypoints() -> None:
    (found,) = detect(build("disk", threshold=1e9), photo())
    assert found.xy.shape == (0, 2)
    assert descriptors(found).shape == (0, 128)


def test_dedode_keypoints_are_pixel_centres_described_there() -> None:
    detector: Any = Dedode(descriptor=DedodeDescriptor(), max_keypoints=1)
    detector.network = Fixed(20 * bump(83, 9, *SIZE))
    detector.descriptor.network = Fixed(F.pad(pixel_map(*SIZE), (0, 0, 0, 0, 0, 253)))
    (found,) = detect(detector, photo())
    assert found.xy.tolist() == [[83, 9]]
    torch.testing.assert_close(place(descriptors(found)), found.xy, rtol=0, atol=1e-3)


def test_dedode_equals_kornia_on_its_own_weights_up_to_the_convention() -> None:
    detector = build("dedode")
    network = DeDoDe(descriptor_model="B")
    network.detector.load_state_dict(detector.network.state_dict())
    network.descriptor.load_state_dict(detector.descriptor.network.state_dict())
    image = photo()
    (found,) = detect(detector, image)
    with torch.inference_mode():
        xy, score, descriptor = network.eval()(image, n=100, pad_if_not_divisible=False)
    torch.testing.assert_close(found.xy, xy[0] - 0.5, rtol=0, atol=1e-4)  # theirs: corner of the pixel
    torch.testing.assert_close(found.score, score[0])
    torch.testing.assert_close(descriptors(found), F.normalize(descriptor[0], dim=1), rtol=0, atol=1e-4)


def test_dedode_without_a_descriptor_finds_the_same_points_undescribed() -> None:
    torch.manual_seed(0)
    descriptor = DedodeDescriptor()
    both = Dedode(descriptor=descriptor, max_keypoints=50)
    bare = Dedode(max_keypoints=50)
    bare.network.load_state_dict(both.network.state_dict())
    (described,), (plain,) = detect(both, photo()), detect(bare, photo())
    assert plain.descriptor is None
    assert torch.equal(plain.xy, described.xy)
