"""SD+DINO: the joint reduction and the fusion, against a plain twin."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from homolog.backbones.sd_dino import SdDino, reduce_jointly
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features

STRIDES = {"dift.s5": 64, "dift.s4": 32, "dift.s3": 16}


class Fake(nn.Module):
    """A backbone with maps of given strides that depend on each image alone."""

    joint = False

    def __init__(self, strides: dict[str, int], channels: int) -> None:
        super().__init__()
        self.strides, self.multiple = strides, max(strides.values())
        self.channels = dict.fromkeys(strides, channels)
        self.seen: list[tuple[int, ...]] = []
        generator = torch.Generator().manual_seed(channels)
        self.mixing = torch.randn(channels, 3, generator=generator) * 3

    def forward(self, images: Tensor) -> Features:
        self.seen.append(tuple(images.shape[-2:]))
        maps = {
            name: torch.sin(self.mixing @ F.avg_pool2d(images.flatten(0, 1), stride).flatten(2) * 4)
            .unflatten(2, (images.shape[-2] // stride, images.shape[-1] // stride))
            .unflatten(0, images.shape[:2])
            for name, stride in self.strides.items()
        }
        return Features(maps=maps, image_size=(images.shape[-2], images.shape[-1]))


def fused(**options: Any) -> tuple[SdDino, Fake, Fake]:
    diffusion, dino = Fake(STRIDES, 12), Fake({"block.11": 14}, 7)
    options = {"diffusion_maps": list(STRIDES), "dino_map": "block.11", "components": 5, **options}
    return SdDino(diffusion, dino, **options), diffusion, dino


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 2, 3, 192, 256, generator=torch.Generator().manual_seed(0))


def plain_reduction(maps: Tensor, components: int) -> np.ndarray:
    """Principal components of one pair by numpy's singular value decomposition: [V h w K], signs free."""
    cells = maps.movedim(1, -1).double().numpy()
    rows = cells.reshape(-1, cells.shape[-1])
    rows = rows - rows.mean(axis=0)
    basis = np.linalg.svd(rows, full_matrices=False)[2][:components]
    return (rows @ basis.T).reshape(*cells.shape[:-1], components)


def test_the_reduction_is_that_of_a_singular_value_decomposition_of_both_views() -> None:
    maps = torch.randn(2, 2, 9, 4, 6, generator=torch.Generator().manual_seed(1))
    found = reduce_jointly(maps, 4)
    assert found.shape == (2, 2, 4, 4, 6)
    for pair, reduced in zip(maps, found, strict=True):
        twin = torch.from_numpy(plain_reduction(pair, 4)).movedim(-1, 1).float()
        signs = (twin * reduced).sum(dim=(0, 2, 3), keepdim=True).sign()
        torch.testing.assert_close(reduced, twin * signs, atol=1e-4, rtol=1e-4)


def test_all_components_keep_the_distances_between_cells_of_both_views() -> None:
    maps = torch.randn(1, 2, 6, 3, 5, generator=torch.Generator().manual_seed(2))

    def distances(maps: Tensor) -> Tensor:
        cells = maps[0].movedim(1, -1).flatten(0, 2)
        return torch.cdist(cells, cells, compute_mode="donot_use_mm_for_euclid_dist")

    torch.testing.assert_close(distances(reduce_jointly(maps, 99)), distances(maps), atol=1e-4, rtol=1e-4)


def test_the_reduction_is_the_same_again_whatever_the_random_state() -> None:
    maps = torch.randn(1, 2, 9, 4, 6, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    first = reduce_jointly(maps, 4)
    torch.manual_seed(2)
    assert torch.equal(reduce_jointly(maps, 4), first)
    torch.testing.assert_close(reduce_jointly(maps.flip(1), 4).flip(1), first, atol=1e-5, rtol=1e-4)


def test_the_reduction_is_as_exact_under_autocast() -> None:
    maps = torch.randn(1, 2, 9, 4, 6, generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = reduce_jointly(maps, 4)
    assert torch.equal(found, reduce_jointly(maps, 4))


def test_the_fused_map_has_the_distances_of_a_plain_twin(images: Tensor) -> None:
    model, diffusion, dino = fused()
    found = model(images)["sd_dino.fused"]
    for pair, reduced in zip(images, found, strict=True):
        raw = diffusion(pair[None])
        twin: Tensor | None = None
        for name in STRIDES:
            level = torch.from_numpy(plain_reduction(raw[name][0], 5)).movedim(-1, 1).float()
            if twin is not None:
                level = torch.cat((F.interpolate(twin, level.shape[-2:], mode="bilinear"), level), dim=1)
            twin = level
        assert twin is not None
        scaled = F.interpolate(pair, (168, 224), mode="bilinear", antialias=True)
        tokens = dino(scaled[None])["block.11"][0]
        both = torch.cat(
            (twin / twin.norm(dim=1, keepdim=True), tokens / tokens.norm(dim=1, keepdim=True)), 1
        )
        cells, cells_twin = (maps.movedim(1, -1).flatten(0, 2) for maps in (reduced, both))
        torch.testing.assert_close(cells @ cells.T, cells_twin @ cells_twin.T, atol=1e-4, rtol=1e-4)


def test_both_parts_have_unit_norm_times_their_weight(images: Tensor) -> None:
    model, _, _ = fused(weights={"diffusion": 1.0, "dino": 0.5})
    map_ = model(images)["sd_dino.fused"]
    assert map_.shape == (2, 2, model.channels["sd_dino.fused"], 12, 16)
    assert model.channels["sd_dino.fused"] == 3 * 5 + 7
    torch.testing.assert_close(map_[:, :, :15].norm(dim=2), torch.ones(2, 2, 12, 16))
    torch.testing.assert_close(map_[:, :, 15:].norm(dim=2), torch.full((2, 2, 12, 16), 0.5))


def test_dino_sees_one_patch_per_cell(images: Tensor) -> None:
    model, _, dino = fused()
    model(images)
    assert dino.seen == [(12 * 14, 16 * 14)]


def test_the_partner_changes_the_fused_map_but_pairs_of_a_batch_do_not(images: Tensor) -> None:
    model, _, _ = fused()
    together = model(images)["sd_dino.fused"]
    torch.testing.assert_close(model(images[:1])["sd_dino.fused"][0], together[0])
    other = torch.stack((images[0, 0], images[1, 0]))[None]
    assert model.joint
    assert not torch.allclose(model(other)["sd_dino.fused"][0, 0], together[0, 0], atol=1e-3)


def test_what_does_not_fit_is_refused(images: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"dift\.s6; did you mean"):
        fused(diffusion_maps=["dift.s6"])
    with pytest.raises(ConfigError, match="components"):
        fused(components=0)
    with pytest.raises(ShapeError, match="multiples of 64"):
        fused()[0](images[..., :100])
