"""Pairs of Gaussian scenes: equal in any order, with true labels; rejected views are reported."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.camera import epipolar_distance, fundamental
from homolog.core.coords import normalised_to_pixel
from homolog.core.errors import ConfigError, DataError
from homolog.synthetic.correspondence import dense_truth
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.seeds import Seeds, Split
from homolog.synthetic.splats.analytic import AnalyticScene, Plane
from homolog.synthetic.splats.gaussians import Gaussians, write_gaussians
from homolog.synthetic.splats.pairs import Gates, SplatPairs, shown_gaussians
from homolog.synthetic.splats.views import Cause, Consistent, Covered, NearFitted, Overlapping, Rejection

SMALL: dict[str, Any] = {"count": 6, "size": 64, "seed": 3, "names": ["bottle", "chair"], "gaussians": 30_000}


@pytest.fixture(scope="module")
def pairs() -> list[Any]:
    source = SplatPairs(**SMALL, pairs_per_scene=2)
    return [source.pair(index) for index in (0, 1, 4)]


def test_samples_depend_on_nothing_but_seed_split_and_index(pairs: list[Any]) -> None:
    other = SplatPairs(**SMALL, pairs_per_scene=2)
    for index, pair in ((4, pairs[2]), (0, pairs[0])):
        again = other.pair(index)
        for side in (0, 1):
            assert again.pictures[side].tobytes() == pair.pictures[side].tobytes()
            assert again.truths[side].xy.tobytes() == pair.truths[side].xy.tobytes()
            assert again.renderings[side].gaussian_id.tobytes() == pair.renderings[side].gaussian_id.tobytes()
        assert again.name == pair.name == f"splat-trn-3-{index}"
    moved = SplatPairs(**SMALL, split="val", pairs_per_scene=2).pair(0)
    assert not np.array_equal(moved.pictures[0], pairs[0].pictures[0])


def test_pairs_of_one_scene_share_it_and_others_do_not(pairs: list[Any]) -> None:
    assert np.array_equal(pairs[0].gaussians.means, pairs[1].gaussians.means)
    assert not np.array_equal(pairs[0].gaussians.means, pairs[2].gaussians.means)
    assert not np.array_equal(pairs[0].viewpoints[0].R, pairs[1].viewpoints[0].R)


def test_labels_are_true(pairs: list[Any]) -> None:
    for pair in pairs:
        views = View.of(pair.mesh, pair.viewpoints[0]), View.of(pair.mesh, pair.viewpoints[1])
        for truth, exact in zip(pair.truths, dense_truth(*views), strict=True):
            assert truth.valid.mean() > 0.1
            both = truth.valid & exact.valid
            error = np.sqrt(((truth.xy - exact.xy)[both] ** 2).sum(1))
            assert np.median(error) < 0.1
            assert np.quantile(error, 0.9) < 1
            # Hardly ever is there a label for what is out of sight.
            assert (truth.valid & ~exact.covisible).sum() < 0.02 * truth.valid.sum()


def test_labels_that_fail_the_round_trip_are_dropped() -> None:
    # Gaussians that miss their surfaces; of what comes of it, only a tenth of a pixel is let through.
    loose = Gates(consistent=Consistent(pixels=0.1, fraction=0.0), overlapping=Overlapping(fraction=0.0))
    pair = SplatPairs(**SMALL, jitter=0.3, gates=loose).pair(0)
    there, back = (truth.field() for truth in pair.truths)
    error = there.cycle_error(back, query_size=(64, 64))[0].numpy()
    known = pair.truths[0].interior & np.isfinite(error)
    assert known.sum() > 300
    assert error[known].max() < 0.101
    assert pair.truths[0].valid.sum() < 0.95 * pair.truths[0].covisible.sum()


def test_labels_of_expected_depth_are_less_true(pairs: list[Any]) -> None:
    biased = SplatPairs(**SMALL, pairs_per_scene=2, depth="expected", gates=Gates(), tries=60)
    errors: list[float] = []
    both: list[Any] = [pairs[0], biased.pair(0)]
    for pair in both:
        views = View.of(pair.mesh, pair.viewpoints[0]), View.of(pair.mesh, pair.viewpoints[1])
        exact = dense_truth(*views)[0]
        known = pair.truths[0].valid & exact.valid
        errors.append(float(np.median(np.sqrt(((pair.truths[0].xy - exact.xy)[known] ** 2).sum(1)))))
    assert errors[1] > 3 * errors[0]


def test_a_sample_has_everything_a_geometric_matcher_learns_from(pairs: list[Any]) -> None:
    pair = pairs[0]
    sample: Any = pair.sample()
    assert sample.image0.pixels.shape == (3, 64, 64)
    assert torch.equal(sample.depth0.isnan(), torch.from_numpy(np.isnan(pair.depths[0])))
    known = sample.dense0.confidence[0] == 1
    assert torch.equal(known, torch.from_numpy(pair.truths[0].valid))
    there = normalised_to_pixel(sample.dense0.grid[0].permute(1, 2, 0)[known], (64, 64))
    rows, columns = known.nonzero().T
    here = torch.stack((columns, rows), 1).float()
    # Depth, cameras and pose of the sample lead to the labels of the sample.
    points = sample.camera0.rays(here) * sample.depth0[rows, columns, None]
    assert torch.allclose(sample.camera1.project(sample.pose.apply(points)), there, atol=2e-3)
    F = fundamental(sample.pose, sample.camera0, sample.camera1)
    assert max(float(side.max()) for side in epipolar_distance(here, there, F)) < 2e-3
    assert float(sample.facts["overlap"]) == pytest.approx(min(t.valid.mean() for t in pair.truths), abs=1e-4)
    assert float(sample.facts["angle"]) <= 90
    assert float(sample.facts["baseline"]) > 0


def test_the_warped_reference_looks_like_the_query(pairs: list[Any]) -> None:
    plain = SplatPairs(**SMALL, pairs_per_scene=2, photometry=False)
    sample: Any = plain[0]
    interior = torch.from_numpy(plain.pair(0).truths[0].interior)
    warped = sample.dense0.warp(sample.image1.pixels[None])[0]
    apart = (warped - sample.image0.pixels).abs().mean(0)[interior]
    unwarped = (sample.image1.pixels - sample.image0.pixels).abs().mean(0)[interior]
    assert float(apart.mean()) < 0.03
    assert float(unwarped.mean()) > 3 * float(apart.mean())
    assert not np.array_equal(plain.pair(0).pictures[0], pairs[0].pictures[0])


def test_every_pixel_names_a_gaussian_that_it_shows(pairs: list[Any]) -> None:
    pair = pairs[0]
    for viewpoint, rendering in zip(pair.viewpoints, pair.renderings, strict=True):
        seen = rendering.gaussian_id >= 0
        assert seen.mean() > 0.95
        rows, columns = np.nonzero(seen)
        ids = rendering.gaussian_id[seen]
        xy, depth = viewpoint.project(pair.gaussians.means[ids].astype(np.float64))
        away = np.hypot(xy[:, 0] - columns, xy[:, 1] - rows)
        # A splat is as wide as its disc there, and a bit more.
        wide = pair.gaussians.scales[ids].max(1) / depth * viewpoint.K[0, 0] + 1
        assert (away < 3.4 * wide).all()
        assert np.median(away) < 3
    # 2D-3D labels agree with 2D-2D ones: where a label leads, the same Gaussian or a neighbour of it is seen.
    truth = pair.truths[0]
    rows, columns = np.nonzero(truth.interior)
    there = np.rint(truth.xy[rows, columns]).astype(int)
    first = pair.gaussians.means[pair.renderings[0].gaussian_id[rows, columns]]
    second = pair.gaussians.means[pair.renderings[1].gaussian_id[there[:, 1], there[:, 0]]]
    assert np.median(np.linalg.norm(first - second, axis=1)) < 0.15


def test_rejected_views_are_logged_and_counted(caplog: pytest.LogCaptureFixture, pairs: list[Any]) -> None:
    strict = SplatPairs(
        **SMALL,
        gates=Gates(covered=Covered(alpha=0.9999), overlapping=Overlapping(fraction=0.0)),
        tries=2,
        redraws=0,
    )
    with (
        caplog.at_level(logging.INFO, logger="homolog.synthetic.splats.pairs"),
        pytest.raises(
            DataError, match=r"none of 2 pairs of views passed the gates \(holes: 2\); loosen the gates"
        ),
    ):
        strict.pair(0)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["holes", "holes"]
    # More overlap than the pair has that passed before: that one is now rejected, and another one found.
    fractions = [min(float(truth.valid.mean()) for truth in pair.truths) for pair in pairs]
    index = (0, 1, 4)[int(np.argmin(fractions))]
    wanted = min(fractions) + 0.02
    picky = SplatPairs(
        **SMALL, pairs_per_scene=2, gates=Gates(overlapping=Overlapping(fraction=wanted)), tries=60
    )
    pair = picky.pair(index)
    assert len(pair.rejected) > len(pairs[int(np.argmin(fractions))].rejected)
    assert Cause.little_overlap in [rejection.cause for rejection in pair.rejected]
    counts = pair.sample().facts["rejected"]
    assert sum(int(part.split(": ")[1]) for part in counts.split(", ")) == len(pair.rejected)
    assert min(float(truth.valid.mean()) for truth in pair.truths) >= wanted


def _folder(root: Path) -> Path:
    """A textured corner of a room as 3D Gaussian Splatting leaves it behind."""
    sides = [Plane(centre=-2.5 * axis, normal=axis, half=2.5) for axis in np.eye(3)]
    scene = AnalyticScene.of(sides, count=20_000, seed=0)
    cloud = root / "corner" / "point_cloud" / "iteration_7" / "point_cloud.ply"
    write_gaussians(cloud, scene.gaussians)
    cameras: list[dict[str, object]] = []
    for number, azimuth in enumerate((0.4, 0.6, 0.8, 1.0, 1.2)):
        camera = Viewpoint.towards(
            np.full(3, -2.0), azimuth=azimuth, elevation=0.6, distance=3.0, focal=1.0, size=(60, 80)
        )
        cameras.append({
            "id": number, "img_name": str(number), "width": 80, "height": 60, "fx": camera.K[0, 0], "fy": camera.K[1, 1],
            "position": camera.centre.tolist(), "rotation": camera.R.T.tolist(),
        })  # fmt: skip
    (root / "corner" / "cameras.json").write_text(json.dumps(cameras))
    return root


def test_scenes_are_read_from_a_folder(tmp_path: Path) -> None:
    source = SplatPairs(
        count=2, size=48, scenes=_folder(tmp_path), stray=0.2, gates=Gates(covered=Covered(fraction=0.7))
    )
    pair = source.pair(1)
    assert pair.mesh is None
    assert len(pair.gaussians) == 20_000
    assert min(truth.valid.mean() for truth in pair.truths) > 0.1
    # 80 x 60 pixels are cut to 48 x 48: the focal length shrinks as the shorter side does.
    assert pair.viewpoints[0].K[0, 0] == pytest.approx(80 * 48 / 60)
    sides = [Plane(centre=-2.5 * axis, normal=axis, half=2.5) for axis in np.eye(3)]
    exact = AnalyticScene.of(sides, count=3, seed=0).depth(pair.viewpoints[0])
    off = np.abs(pair.depths[0] / exact - 1)
    assert np.nanmedian(off) < 1e-4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected cameras.json beside it or in a folder above"),
        ("{", "expected the cameras of 3D Gaussian Splatting, got JSONDecodeError"),
        ("[]", "expected at least two cameras, got 0"),
        ('[{"width": 3}]', r"expected width, height, .* got KeyError \('height'\)"),
        ("[3]", "expected width, height, .* got TypeError"),
        ('{"a": 3}', "expected a list of cameras, got dict"),
    ],
)
def test_a_scene_without_good_cameras_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = _folder(tmp_path) / "corner" / "cameras.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        SplatPairs(count=1, size=32, scenes=tmp_path)[0]


def test_cameras_that_do_not_rotate_are_refused(tmp_path: Path) -> None:
    path = _folder(tmp_path) / "corner" / "cameras.json"
    cameras = json.loads(path.read_text())
    cameras[1]["rotation"][0] = [0, 0, 0]
    path.write_text(json.dumps(cameras))
    with pytest.raises(DataError, match="got no rotation"):
        SplatPairs(count=1, size=32, scenes=tmp_path)[0]
    del cameras[1]
    cameras[0]["fx"] = 0
    path.write_text(json.dumps(cameras))
    with pytest.raises(DataError, match="expected a positive size and focal length"):
        SplatPairs(count=1, size=32, scenes=tmp_path)[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": -1}, "count >= 0, got -1"),
        ({"size": 8}, "a size of at least 16"),
        ({"gaussians": 0}, "gaussians >= 1"),
        ({"tries": 0}, "tries >= 1"),
        ({"kept": 0}, "kept >= 1"),
        ({"redraws": -1}, "redraws >= 0"),
        ({"turn": 0}, r"turn in \(0, 180\]"),
        ({"jitter": -0.1}, "jitter >= 0, got -0.1"),
        ({"names": ["unicorn"]}, "unicorn"),
    ],
)
def test_bad_arguments_are_refused_when_it_is_made(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SplatPairs(**(SMALL | wrong))


@pytest.mark.usefixtures("unchecked")
def test_unknown_depths_are_refused() -> None:
    unknown: Any = "guessed"
    with pytest.raises(ConfigError, match=r"depth.*guessed"):
        SplatPairs(**SMALL, depth=unknown)


def test_an_empty_folder_and_a_missing_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected PLY files of Gaussians below"):
        SplatPairs(count=1, scenes=tmp_path)
    source = SplatPairs(**SMALL)
    assert len(source) == 6
    with pytest.raises(IndexError, match=r"in \[0, 6\), got 6"):
        source.pair(6)
    with pytest.raises(IndexError):
        source[-1]


def _cameras(source: SplatPairs, number: int) -> float:
    """Return what tells the cameras of a scene from those of another."""
    return float(source._scenes[number].fitted[0].t.sum())


def _only_room(monkeypatch: pytest.MonkeyPatch, allowed: float | None) -> list[float]:
    """Let only views of one room pass; return a list of the rooms that are asked about."""
    asked: list[float] = []

    def near(self: NearFitted, viewpoint: Viewpoint, fitted: Sequence[Viewpoint]) -> Rejection | None:
        asked.append(float(fitted[0].t.sum()))
        return None if asked[-1] == allowed else Rejection(cause=Cause.far, reason="not this room")

    monkeypatch.setattr(NearFitted, "__call__", near)
    return asked


def test_another_scene_is_used_where_no_views_pass(pairs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SplatPairs(**SMALL, pairs_per_scene=2, kept=4)
    seeds = Seeds(seed=3, split=Split.trn, index=4)
    first, second = plain._scenes.spare(seeds, 0), plain._scenes.spare(seeds, 1)
    assert first != second
    asked = _only_room(monkeypatch, _cameras(plain, second))
    strict: dict[str, Any] = {**SMALL, "pairs_per_scene": 2, "tries": 4}
    found = SplatPairs(**strict).pair(4)
    # All draws in its own room, then all in the first other one, then one that passes in the second.
    own, other = _cameras(plain, 2), _cameras(plain, first)
    assert asked[:9] == [own] * 4 + [other] * 4 + [_cameras(plain, second)]
    assert [rejection.reason for rejection in found.rejected[:8]] == ["not this room"] * 8
    assert not np.array_equal(found.gaussians.means, pairs[2].gaussians.means)
    again = SplatPairs(**strict).pair(4)
    assert again.pictures[0].tobytes() == found.pictures[0].tobytes()
    _only_room(monkeypatch, None)
    nothing = SplatPairs(**strict, redraws=1)
    with pytest.raises(DataError, match=r"and 1 scenes instead of it: none of 8 pairs of views passed"):
        nothing.pair(4)


def test_the_latest_scenes_are_kept_in_memory() -> None:
    source = SplatPairs(**SMALL, kept=2)._scenes
    first, second = source[0], source[1]
    assert source[0] is first
    third = source[2]  # takes the place of 1, which was asked for longest ago
    assert source[0] is first
    assert source[2] is third
    assert source[1] is not second
    assert np.array_equal(source[1].gaussians.means, second.gaussians.means)


def test_a_sample_says_which_gaussian_each_pixel_shows(pairs: list[Any]) -> None:
    pair = pairs[0]
    shown: Any = pair.sample().gaussians
    ids = np.concatenate([rendering.gaussian_id.ravel() for rendering in pair.renderings])
    assert len(shown.attributes) == len(np.unique(ids[ids >= 0]))
    for rendering, rows in zip(pair.renderings, (shown.id0, shown.id1), strict=True):
        assert torch.equal(rows < 0, torch.from_numpy(rendering.gaussian_id < 0))
    # Equal rows are equal Gaussians, in one view and across both.
    rows = torch.cat((shown.id0.flatten(), shown.id1.flatten())).numpy()
    assert len(np.unique(np.stack((rows, ids)), axis=1).T) == len(np.unique(ids))
    mine = pair.gaussians.take(np.array([pair.renderings[0].gaussian_id[30, 20]]))
    attributes = shown.attributes[shown.id0[30, 20].long()].numpy()
    assert attributes[10] == mine.opacity[0]
    assert attributes[11:] == pytest.approx(mine.colours(np.zeros(3))[0])


def test_attributes_of_gaussians_are_those_of_the_hand_computed_case() -> None:
    half = np.sqrt(0.5).astype(np.float32)
    gaussians = Gaussians(
        means=np.array(((9, 9, 9), (1, 0, 0), (5, 0, 0)), np.float32),
        scales=np.array(((1, 1, 1), (2, 4, 2 * np.e), (1, 1, 1)), np.float32),
        rotations=np.array(((1, 0, 0, 0), (-half, 0, half, 0), (1, 0, 0, 0)), np.float32),
        opacity=np.array((0.1, 0.7, 0.9), np.float32),
        harmonics=np.zeros((3, 4, 3), np.float32),
    )
    shown = shown_gaussians(gaussians, np.array(((1, -1),), np.int32), np.array(((2,), (1,)), np.int32))
    assert shown.id0.tolist() == [[0, -1]]
    assert shown.id1.tolist() == [[1], [0]]
    # Their middle is (3, 0, 0), from which both are 2 away: that is one spread.
    expected = [-1, 0, 0, 0, np.log(2), 1, half, 0, -half, 0, 0.7, 0.5, 0.5, 0.5]
    assert shown.attributes[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert shown.attributes[1, :3].tolist() == [1, 0, 0]
    nothing = shown_gaussians(gaussians, *(np.full((1, 1), -1, np.int32) for _ in range(2)))
    assert nothing.attributes.shape == (0, 14)
