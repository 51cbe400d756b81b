"""View-aligned pairs: both directions of the truth, reproducibility, and labels dropped near contours."""

from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.coords import normalised_to_pixel
from homolog.core.errors import ConfigError
from homolog.synthetic.aligned_pairs import AlignedPair, AlignedPairs, lattice_of
from homolog.synthetic.correspondence import contours, distance_to
from homolog.synthetic.texturing.texturers import Conditioning, IdentityTexturer

_NAMES = ["bird", "bottle", "chair", "quadruped"]
_STILL: dict[str, Any] = {"rotation": 0, "scale": (1, 1), "stretch": 0, "shift": 0, "bend": 0}


def _pairs(**changes: Any) -> AlignedPairs:
    arguments: dict[str, Any] = {
        "count": 6,
        "size": 64,
        "seed": 5,
        "photometry": False,
        "names": _NAMES,
        **changes,
    }
    return AlignedPairs(**arguments)


@pytest.fixture(scope="module")
def pair() -> AlignedPair:
    return _pairs(size=[80, 96], names=["quadruped"]).pair(2)


def test_the_grids_of_a_pair_are_inverses_of_each_other(pair: AlignedPair) -> None:
    for here, there, back in ((0, 1, pair.map.moved), (1, 0, pair.map.undone)):
        truth, size = pair.truths[here], pair.views[there].size
        assert truth.valid.sum() > 300
        again = back(truth.xy[truth.valid].astype(np.float64), size)
        assert np.abs(again - lattice_of(truth.valid)).max() < 1e-3


def test_fields_as_a_matcher_reads_them_lead_there_and_back(pair: AlignedPair) -> None:
    sample: Any = pair.sample()
    for there, back, truth in (
        (sample.dense0, sample.dense1, pair.truths[0]),
        (sample.dense1, sample.dense0, pair.truths[1]),
    ):
        error = there.cycle_error(back, query_size=(80, 96))[0].numpy()
        error = error[truth.interior & np.isfinite(error)]
        assert len(error) > 300
        # Bilinear reading of a bent grid between its pixels is what is left.
        assert error.max() < 0.05


def test_swapped_fields_fail(pair: AlignedPair) -> None:
    """What dense0 says of a pixel of image 0 is a place of image 1, where the same place of the body is seen."""
    place0, place1 = (view.canonical for view in pair.views)

    def agreement(field: torch.Tensor) -> float:
        place = normalised_to_pixel(field.permute(1, 2, 0), (80, 96)).numpy()
        valid = np.isfinite(place).all(axis=-1) & np.isfinite(place0[..., 0])
        x, y = np.rint(place[valid]).astype(int).T
        apart = np.linalg.norm(place1[np.clip(y, 0, 79), np.clip(x, 0, 95)] - place0[valid], axis=1)
        return float((apart < 0.05).mean())

    sample: Any = pair.sample()
    assert agreement(sample.dense0.grid[0]) > 0.85
    assert agreement(sample.dense1.grid[0]) < 0.25


def test_the_truth_agrees_with_the_surface_points_that_both_views_show(pair: AlignedPair) -> None:
    warped, plain = pair.views
    valid = pair.truths[0].valid
    places = warped.scene.positions(warped.points().take(valid.reshape(-1)))
    assert np.linalg.norm(plain.viewpoint.project(places)[0] - pair.truths[0].xy[valid], axis=1).max() < 0.06


def test_a_map_that_moves_nothing_gives_the_lattice() -> None:
    pair = _pairs(**_STILL).pair(0)
    for truth in pair.truths:
        assert np.abs(truth.xy[truth.valid] - lattice_of(truth.valid)).max() < 1e-5
        assert np.array_equal(truth.valid, pair.views[0].shows(0))
    assert pair.landmarks[0].xy == pytest.approx(pair.landmarks[1].xy, abs=1e-4)


def test_keypoints_move_with_the_map_and_are_hidden_beyond_the_border() -> None:
    for index in range(4):
        pair = _pairs(shift=0.3, kept=0.0).pair(index)
        moved = pair.map.moved(pair.landmarks[1].xy.astype(np.float64), (64, 64))
        assert pair.landmarks[0].xy == pytest.approx(moved, abs=1e-3)
        inside = ((moved >= -0.5) & (moved <= 63.5)).all(axis=1)
        assert np.array_equal(pair.landmarks[0].visible, pair.landmarks[1].visible & inside)


def test_both_images_look_different_on_one_geometry_and_alike_with_the_identity() -> None:
    def difference(pair: AlignedPair) -> float:
        sample: Any = pair.sample()
        seen = sample.dense0.warp(sample.image1.pixels[None])[0].nan_to_num()
        inner = torch.from_numpy(pair.truths[0].interior & (distance_to(contours(pair.views[0])) > 2))
        assert inner.sum() > 50
        return float((seen - sample.image0.pixels).abs().mean(dim=0)[inner].mean())

    indices = range(3)
    changed = [difference(_pairs(names=["bottle"]).pair(index)) for index in indices]
    kept = [
        difference(_pairs(names=["bottle"], texturer=IdentityTexturer()).pair(index)) for index in indices
    ]
    assert min(changed) > 0.08
    assert max(kept) < 0.03


def test_only_labels_near_contours_of_either_image_are_dropped() -> None:
    free, kept = (_pairs(names=["bottle"], erosion=radius).pair(1) for radius in (0, 3))
    for side in (0, 1):
        before, after = free.truths[side], kept.truths[side]
        assert not (after.valid & ~before.valid).any()
        assert np.isnan(after.xy[~after.valid]).all()
        assert not (after.interior & ~after.valid).any()
        own = distance_to(contours(free.views[side]))
        assert own[after.valid].min() > 3
        # Well inside both, nothing is lost.
        far = distance_to(contours(free.views[1 - side]))
        x, y = np.rint(np.nan_to_num(before.xy)).astype(int).transpose(2, 0, 1)
        deep = before.valid & (own > 3) & (far[np.clip(y, 0, 63), np.clip(x, 0, 63)] > 3)
        assert deep.sum() > 20
        assert np.array_equal(after.valid, deep)


def test_the_texturer_is_asked_with_the_category_and_other_seeds_for_both_images() -> None:
    asked: list[tuple[str, int]] = []

    class Recorder:
        def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> np.ndarray:
            asked.append((prompt, seed))
            return np.zeros((*conditioning.size, 3), np.uint8)

    pair = _pairs(texturer=Recorder(), names=["bottle"], prompts=["one {category}"]).pair(0)
    assert [prompt for prompt, _ in asked] == ["one bottle", "one bottle"]
    assert asked[0][1] != asked[1][1]
    assert pair.prompts == ("one bottle", "one bottle")
    assert pair.pictures[0].max() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"count": -1},
        {"scale": [1]},
        {"bend": 1},
        {"erosion": -1},
        {"prompts": []},
    ],
)
def test_bad_arguments_are_refused_at_construction(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        _pairs(**changes)
    assert "\n" not in str(caught.value)
