"""SuperPoint: its pieces against plain twins, its checkpoints, and what a detector owes its caller."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from homolog.backbones.superpoint import (
    SuperPoint,
    SuperPointNetwork,
    find_peaks,
    gray,
    sample_descriptors,
    suppress,
)
from homolog.core.coords import inside
from homolog.core.errors import WeightsError

CHANNELS = (8, 8, 16, 16, 32)
STAGES = ("1a", "1b", "2a", "2b", "3a", "3b", "4a", "4b")


def tiny(**arguments: object) -> SuperPoint:
    torch.manual_seed(0)
    return SuperPoint(channels=CHANNELS, descriptor_dim=16, **arguments)  # pyright: ignore[reportArgumentType]


def lively(**arguments: object) -> SuperPoint:
    """A random network whose batch statistics fit its input, so that it answers to what it sees."""
    detector = tiny(**arguments)
    for part in detector.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    detector.train()
    with torch.no_grad():
        detector.network(gray(photo(batch=4, seed=2)))
    return detector.eval()


def photo(batch: int = 1, height: int = 96, width: int = 128, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 8, width // 8, generator=generator)
    return F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


def magicleap_state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    widths = [1, 8, 8, 8, 8, 16, 16, 16, 16]
    shapes = {
        f"conv{stage}": (after, before, 3)
        for stage, before, after in zip(STAGES, widths, widths[1:], strict=False)
    }
    shapes |= {"convPa": (32, 16, 3), "convPb": (65, 32, 1), "convDa": (32, 16, 3), "convDb": (16, 32, 1)}
    state: dict[str, Tensor] = {}
    for name, (outputs, inputs, kernel) in shapes.items():
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * (inputs * kernel**2) ** -0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(outputs)
    return state


def magicleap_twin(state: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
    """The published architecture, spelled out under its own names."""

    def convolve(name: str, map_: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(map_, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    for stage in STAGES:
        image = convolve(f"conv{stage}", image).relu()
        if stage in {"1b", "2b", "3b"}:
            image = F.max_pool2d(image, 2, 2)
    logits = convolve("convPb", convolve("convPa", image).relu())
    descriptor = convolve("convDb", convolve("convDa", image).relu())
    cells = logits.softmax(1)[:, :64]
    batch, _, height, width = cells.shape
    score = cells.reshape(batch, 8, 8, height, width).permute(0, 3, 1, 4, 2)
    return score.reshape(batch, 8 * height, 8 * width), descriptor / descriptor.norm(dim=1, keepdim=True)


def plain_suppress(score: Tensor, radius: int) -> Tensor:
    """Three rounds of looking at every window, pixel by pixel."""
    height, width = score.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]

    def near(y: int, x: int) -> list[tuple[int, int]]:
        rows = range(max(0, y - radius), min(height, y + radius + 1))
        return [(j, i) for j in rows for i in range(max(0, x - radius), min(width, x + radius + 1))]

    kept: set[tuple[int, int]] = set()
    for _ in range(3):
        covered = {pixel for peak in kept for pixel in near(*peak)}
        rest = {pixel: 0.0 if pixel in covered else float(score[pixel]) for pixel in pixels}
        kept |= {
            pixel
            for pixel in pixels
            if pixel not in covered and rest[pixel] == max(rest[other] for other in near(*pixel))
        }
    out = torch.zeros_like(score)
    for pixel in kept:
        out[pixel] = score[pixel]
    return out


@pytest.mark.parametrize("radius", [0, 1, 2, 4])
@pytest.mark.parametrize("levels", [4, 10_000])
def test_suppression_equals_its_pixel_by_pixel_twin_with_and_without_ties(radius: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(radius)
    score = torch.randint(1, levels, (2, 15, 18), generator=generator).float() / levels
    assert torch.equal(suppress(score, radius), torch.stack([plain_suppress(one, radius) for one in score]))


def test_equal_neighbours_survive_suppression_together() -> None:
    score = torch.zeros(1, 9, 9)
    score[0, 4, 3:5] = 0.5
    assert torch.equal(suppress(score, 2), score)


def test_peaks_come_row_by_row_when_all_are_kept_and_best_first_when_some_are_cut() -> None:
    peaks = torch.zeros(6, 8)
    peaks[1, 5], peaks[3, 2], peaks[4, 6], peaks[2, 3] = 0.2, 0.9, 0.5, 0.05
    kept = find_peaks(peaks, 0.1, 1)
    assert kept.xy.tolist() == [[5, 1], [2, 3], [6, 4]]
    torch.testing.assert_close(kept.score, torch.tensor([0.2, 0.9, 0.5]))
    assert find_peaks(peaks, 0.1, 1, max_keypoints=3).xy.tolist() == kept.xy.tolist()
    assert find_peaks(peaks, 0.1, 1, max_keypoints=2).xy.tolist() == [[2, 3], [6, 4]]


def test_a_threshold_is_exceeded_not_met() -> None:
    assert len(find_peaks(torch.full((2, 2), 0.5), 0.5, 0)) == 0


@pytest.mark.parametrize(("border", "expected"), [(0, 30), (1, 12), (2, 2), (3, 0), (9, 0)])
def test_a_border_takes_that_many_pixels_from_each_side(border: int, expected: int) -> None:
    found = find_peaks(torch.ones(5, 6), 0.5, border)
    assert len(found) == expected
    assert bool((found.xy >= border).all())
    assert bool((found.xy < torch.tensor([6, 5]) - border).all())


def test_gray_weighs_the_channels_as_bt601() -> None:
    colours = torch.eye(3).reshape(3, 3, 1, 1)
    torch.testing.assert_close(gray(colours).flatten(), torch.tensor([0.299, 0.587, 0.114]))


def test_a_descriptor_at_the_middle_of_a_cell_is_that_cell() -> None:
    cells = F.normalize(torch.randn(1, 5, 3, 4), dim=1)
    xy = torch.tensor([[8 * x + 3.5, 8 * y + 3.5] for y in range(3) for x in range(4)])
    read = sample_descriptors(cells, xy[None], stride=8)[0]
    torch.testing.assert_close(read, cells[0].flatten(1).T)


def test_magicleap_sampling_reads_at_the_cell_that_their_formula_names() -> None:
    height, width = 6, 9
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    ramp = torch.stack((x, y, torch.ones_like(x)))[None]
    xy = torch.tensor([[3.5, 3.5], [20.0, 11.0], [60.25, 40.0], [64.0, 43.5]])
    read = sample_descriptors(ramp, xy[None], stride=8, sampling="magicleap")[0]
    # theirs: (xy - 3.5) / ([8w, 8h] - 4.5) * 2 - 1, corners aligned
    theirs = (xy - 3.5) / torch.tensor([8 * width - 4.5, 8 * height - 4.5]) * 2 - 1
    cell = (theirs + 1) / 2 * torch.tensor([width - 1, height - 1])
    torch.testing.assert_close(read[:, :2] / read[:, 2:], cell)


def test_magicleap_checkpoint_gives_the_maps_of_the_published_architecture(tmp_path: Path) -> None:
    state = magicleap_state()
    torch.save(state, tmp_path / "superpoint_v1.pth")
    detector = tiny(checkpoint=tmp_path / "superpoint_v1.pth", batch_norm=False, sampling="magicleap")
    image = gray(photo(batch=2))
    with torch.inference_mode():
        dense = detector.network(image)
    score, descriptor = magicleap_twin(state, image)
    torch.testing.assert_close(dense.score, score, rtol=0, atol=1e-6)
    torch.testing.assert_close(dense.descriptor, descriptor, rtol=0, atol=1e-5)


def test_rpautrat_checkpoint_restores_every_tensor(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = SuperPointNetwork(channels=CHANNELS, descriptor_dim=16)
    for name, buffer in source.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
        assert name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    torch.save(source.state_dict(), tmp_path / "superpoint_v6_from_tf.pth")
    loaded = tiny(checkpoint=tmp_path / "superpoint_v6_from_tf.pth").network.state_dict()
    assert loaded.keys() == source.state_dict().keys()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())


def test_a_checkpoint_of_the_other_release_is_refused_with_its_keys(tmp_path: Path) -> None:
    torch.save(magicleap_state(), tmp_path / "magicleap.pth")
    torch.save(tiny().network.state_dict(), tmp_path / "rpautrat.pth")
    with pytest.raises(WeightsError, match=r"missing \(backbone\.0\.0\.bn\.bias"):
        tiny(checkpoint=tmp_path / "magicleap.pth")
    with pytest.raises(WeightsError, match=r"unexpected \(backbone\.0\.0\.bn\.bias"):
        tiny(checkpoint=tmp_path / "rpautrat.pth", batch_norm=False)


def test_limit_keeps_the_best() -> None:
    with torch.inference_mode():
        (everything,), (few,) = lively()(photo()), lively(max_keypoints=7)(photo())
    assert torch.equal(few.xy, everything.xy[:7])


def test_an_image_without_keypoints_gives_empty_keypoints_with_descriptors_of_the_right_width() -> None:
    with torch.inference_mode():
        (found,) = lively(threshold=0.9)(torch.full((1, 3, 64, 64), 0.5))
    assert found.xy.shape == (0, 2)
    assert found.descriptor is not None
    assert found.descriptor.shape == (0, 16)


def test_keypoints_move_with_the_image_by_whole_cells() -> None:
    patch = photo(height=48, width=48)
    near, far = torch.full((1, 3, 192, 208), 0.5), torch.full((1, 3, 192, 208), 0.5)
    near[..., 72:120, 72:120], far[..., 80:128, 96:144] = patch, patch
    detector = lively()
    with torch.inference_mode():
        (before,), (after,) = detector(near), detector(far)
    moved = before.xy + torch.tensor([24.0, 8.0])

    def on_patch(xy: Tensor) -> set[tuple[float, float]]:
        keep = inside(xy - torch.tensor([96.0, 80.0]), (48, 48))
        return {(x, y) for x, y in xy[keep].tolist()}

    assert len(on_patch(after.xy)) > 10
    assert on_patch(moved) == on_patch(after.xy)


def test_half_precision_weights_still_give_float32_keypoints() -> None:
    with torch.inference_mode():
        (found,) = lively().bfloat16()(photo().bfloat16())
    assert found.descriptor is not None
    assert found.xy.dtype == found.score.dtype == found.descriptor.dtype == torch.float32
    assert len(found) > 10


def test_rpautrats_file_has_no_batch_counters_and_loads(tmp_path: Path) -> None:
    source = SuperPoint(channels=(8, 8, 16), descriptor_dim=8)
    state = source.network.state_dict()
    converted = {key: value + 1 for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(state) - len(converted) == 8
    torch.save(converted, tmp_path / "superpoint_v6_from_tf.pth")
    restored = SuperPoint(
        checkpoint=tmp_path / "superpoint_v6_from_tf.pth", channels=(8, 8, 16), descriptor_dim=8
    )
    own = restored.network.state_dict()
    assert all(torch.equal(own[key], value) for key, value in converted.items())
    del converted["backbone.0.0.bn.running_mean"]
    torch.save(converted, tmp_path / "incomplete.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(backbone\.0\.0\.bn\.running_mean\)"):
        SuperPoint(checkpoint=tmp_path / "incomplete.pth", channels=(8, 8, 16), descriptor_dim=8)
