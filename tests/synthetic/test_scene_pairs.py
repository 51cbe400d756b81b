"""Geometric pairs end to end: exact truth, matchable pictures, the requested overlap, reproducibility."""

from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.camera import epipolar_distance, fundamental
from homolog.core.coords import inside, normalised_to_pixel, pixel_grid
from homolog.core.errors import ConfigError
from homolog.core.samples import PairSample
from homolog.core.sampling import warp_maps
from homolog.synthetic.correspondence import truth_from_depth
from homolog.synthetic.rendering.scene import Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.scene_pairs import ScenePair, ScenePairs
from homolog.synthetic.scenes.room import Disc, FloorPlan, Room

NAMES = ["bird", "bottle", "chair", "quadruped"]


@pytest.fixture(scope="module")
def pairs() -> list[ScenePair]:
    data = ScenePairs(count=6, size=(96, 128), seed=3, names=NAMES, photometry=False)
    return [data.pair(index) for index in range(len(data))]


def test_depth_and_pose_give_the_grid_of_the_surface(pairs: list[ScenePair]) -> None:
    error: list[np.ndarray] = []
    for pair in pairs:
        (view0, view1), exact = pair.views, pair.truths
        scanned = truth_from_depth(view0.depth, view0.viewpoint, view1.depth, view1.viewpoint)
        for surface, depth in zip(exact, scanned, strict=True):
            both = surface.valid & depth.valid
            assert both.sum() > 400
            error.append(np.linalg.norm(surface.xy - depth.xy, axis=-1)[both])
    assert np.median(np.concatenate(error)) < 1e-4
    assert np.percentile(np.concatenate(error), 99) < 1e-3


def test_what_depth_and_pose_find_more_or_less_of_lies_at_edges_or_is_seen_at_a_grazing_angle(
    pairs: list[ScenePair],
) -> None:
    # Depth alone tells neither bodies apart nor the same triangle of a floor from another one.
    explained: list[np.ndarray] = []
    for pair in pairs:
        (view0, view1), exact = pair.views, pair.truths
        scanned = truth_from_depth(view0.depth, view0.viewpoint, view1.depth, view1.viewpoint)
        for surface, depth, far in zip(exact, scanned, (view1, view0), strict=True):
            either = surface.valid ^ depth.valid
            xy = np.where(surface.valid[..., None], surface.xy, depth.xy)[either]
            left, top = np.floor(xy).astype(int).T
            taps = [
                (np.clip(top + down, 0, 95), np.clip(left + right, 0, 127))
                for down in (0, 1)
                for right in (0, 1)
            ]
            around, bodies = (np.stack([values[tap] for tap in taps]) for values in (far.depth, far.object))
            steep = np.ptp(around, axis=0) > 0.005 * around.min(axis=0)
            explained.append(steep | (np.ptp(bodies, axis=0) > 0))
    # Together: a direction in which forty labels differ may have one that a hair's breadth explains.
    assert len(np.concatenate(explained)) > 100
    assert np.concatenate(explained).mean() > 0.98


def test_labels_lie_on_their_epipolar_lines(pairs: list[ScenePair]) -> None:
    for pair in pairs:
        camera0, camera1 = (view.viewpoint for view in pair.views)
        # In float64, from the cameras as the renderer had them.
        R = camera1.R @ camera0.R.T
        x, y, z = camera1.t - R @ camera0.t
        E = np.array(((0, -z, y), (z, 0, -x), (-y, x, 0))) @ R
        exact = torch.from_numpy(np.linalg.inv(camera1.K).T @ E @ np.linalg.inv(camera0.K))
        sample: Any = pair.sample()
        given = fundamental(sample.pose, sample.camera0, sample.camera1)
        valid = torch.from_numpy(pair.truths[0].valid).reshape(-1)
        xy0 = pixel_grid(camera0.size)[valid].double()
        xy1 = torch.from_numpy(pair.truths[0].xy).reshape(-1, 2)[valid].double()
        for F in (exact, given.double()):
            for residual in epipolar_distance(xy0, xy1, F):
                assert residual.max() < 1e-3


def test_depth_pose_and_cameras_of_the_sample_lead_to_its_dense_field(pairs: list[ScenePair]) -> None:
    for pair in pairs:
        samples: list[Any] = [pair.sample(), _swapped(pair.sample())]
        for sample in samples:
            known = sample.dense0.confidence[0].reshape(-1) == 1
            rays = sample.camera0.rays(pixel_grid(sample.image0.size))[known]
            there = sample.camera1.project(sample.pose.apply(rays * sample.depth0.reshape(-1, 1)[known]))
            grid = normalised_to_pixel(sample.dense0.grid[0].permute(1, 2, 0), sample.image1.size)
            assert known.sum() > 400
            assert (there - grid.reshape(-1, 2)[known]).norm(dim=1).quantile(0.99) < 1e-3


def _swapped(sample: Any) -> PairSample:
    return PairSample(
        image0=sample.image1,
        image1=sample.image0,
        camera0=sample.camera1,
        camera1=sample.camera0,
        pose=sample.pose.inverse(),
        dense0=sample.dense1,
        depth0=sample.depth1,
    )


def test_image_1_read_through_the_field_is_image_0(pairs: list[ScenePair]) -> None:
    # Colours do not depend on where the camera stands, but for highlights and the width of pixels.
    for pair in pairs:
        sample: Any = pair.sample()
        warped = warp_maps(sample.image1.pixels[None], sample.dense0.grid.nan_to_num(9.0))[0]
        inner = torch.from_numpy(pair.truths[0].interior)
        one, other = sample.image0.pixels[:, inner], warped[:, inner]
        plain = sample.image1.pixels[:, inner]
        assert inner.sum() > 300
        assert (one - other).abs().mean() < 0.4 * (one - plain).abs().mean()


def test_both_images_are_full_of_texture(pairs: list[ScenePair]) -> None:
    # Blocks of 8 x 8 whose gray levels vary by more than noise does (2 of 255).
    shares: list[float] = []
    for pair in pairs:
        for picture in pair.pictures:
            blocks = picture.mean(axis=2).reshape(12, 8, 16, 8).std(axis=(1, 3))
            shares.append(float((blocks > 2).mean()))
    assert min(shares) > 0.6
    assert np.mean(shares) > 0.85


def test_the_overlap_is_what_was_asked_for_and_what_the_facts_say() -> None:
    for low, high in ((0.1, 0.35), (0.5, 0.9)):
        data = ScenePairs(count=5, size=64, seed=8, names=NAMES, overlap=(low, high))
        shares: list[float] = []
        samples: list[Any] = [data[index] for index in range(len(data))]
        for sample in samples:
            shared = [float(field.confidence.mean()) for field in (sample.dense0, sample.dense1)]
            assert [float(sample.facts[f"overlap{side}"]) for side in (0, 1)] == pytest.approx(
                shared, abs=1e-4
            )
            assert float(sample.facts["overlap"]) == pytest.approx(min(shared), abs=1e-4)
            assert sample.facts["overlap_fits"] == ("yes" if low <= min(shared) <= high else "no")
            shares.append(min(shared))
        assert np.mean([low <= share <= high for share in shares]) >= 0.8


def test_where_no_camera_fits_the_closest_is_taken_and_the_facts_say_so() -> None:
    asked = ScenePairs(count=3, size=64, seed=2, names=["bottle"], overlap=(0.999, 1.0))
    usual = ScenePairs(count=3, size=64, seed=2, names=["bottle"])
    for index in range(3):
        facts, other = asked[index].facts, usual[index].facts
        assert facts["overlap_fits"] == "no"
        assert float(facts["overlap"]) >= float(other["overlap"]) - 0.05


def test_baselines_are_large(pairs: list[ScenePair]) -> None:
    facts = [pair.sample().facts for pair in pairs]
    for pair, fact in zip(pairs, facts, strict=True):
        apart = np.linalg.norm(pair.views[0].viewpoint.centre - pair.views[1].viewpoint.centre)
        assert float(fact["baseline"]) == pytest.approx(apart, abs=1e-3)
    assert np.median([float(fact["baseline"]) for fact in facts]) > 1.5
    assert np.median([float(fact["angle"]) for fact in facts]) > 20


@pytest.mark.parametrize("ceiling", [True, False])
def test_a_room_is_seen_from_inside_wherever_one_looks(ceiling: bool) -> None:
    room = Room(half=(3.0, 4.0), height=2.5, ceiling=ceiling)
    scene = Scene.of([room.body()])
    for azimuth in np.linspace(0, 2 * np.pi, 7):
        for elevation in (-0.9, 0.0, 0.9):
            camera = Viewpoint.towards(
                np.array((0.5, 1.2, -0.4)),
                azimuth=azimuth,
                elevation=elevation,
                distance=0.3,
                focal=0.5,
                size=(24, 24),
            )
            depth = View.of(scene, camera).depth
            if ceiling:
                assert np.isfinite(depth).all()
            else:
                rows, columns = np.nonzero(np.isnan(depth))
                rays = np.linalg.inv(camera.K) @ np.stack((columns, rows, np.ones_like(rows)))
                assert ((camera.R.T @ rays)[1] > 0).all()
                assert (len(rows) > 0) == (elevation < 0) or elevation == 0


def test_the_way_to_a_wall_ends_at_it() -> None:
    room = Room(half=(3.0, 4.0), height=2.5, ceiling=True)
    start = np.array((1.0, 1.0, -1.0))
    assert room.way_to_wall(start, np.array((1.0, 0, 0)), margin=0.5) == pytest.approx(1.5)
    assert room.way_to_wall(start, np.array((0, 0, -1.0)), margin=0.5) == pytest.approx(2.5)
    assert room.way_to_wall(start, np.array((0, 0.6, 0.8)), margin=0.5) == pytest.approx(1 / 0.6)
    assert room.way_to_wall(start, np.array((0, -1.0, 0)), margin=0.2) == pytest.approx(0.8)


def test_things_do_not_stand_in_one_another() -> None:
    plan, random = FloorPlan([Disc(0.0, 0.0, 1.0, top=0.5)]), np.random.default_rng(0)
    for _ in range(12):
        plan.place(random, 0.4, reach=(4.0, 4.0))
    xy = np.array([(disc.x, disc.z) for disc in plan.discs])
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    radius = np.array([disc.radius for disc in plan.discs])
    assert (apart + 9 * np.eye(13) > radius[:, None] + radius[None]).all()
    assert plan.clearance(np.array(((0.0, 2.0),)))[0] <= 1.0
    assert FloorPlan([Disc(0.0, 0.0, 1.0, top=0.5)]).clearance(np.zeros((1, 2)), above=0.6)[0] == np.inf


def test_cameras_stand_in_the_room_and_see_with_the_size_that_was_asked_for(pairs: list[ScenePair]) -> None:
    for pair in pairs:
        low, high = (extreme(pair.views[0].scene.vertices, axis=0) for extreme in (np.min, np.max))
        for view in pair.views:
            assert (view.viewpoint.centre > low).all()
            assert (view.viewpoint.centre[[0, 2]] < high[[0, 2]]).all()
            assert view.size == (96, 128)
        assert inside(torch.from_numpy(pair.truths[0].xy[pair.truths[0].valid]), (96, 128)).all()


@pytest.mark.parametrize("overlap", [(0.5, 0.2), (0.2,), (-0.1, 0.5)])
def test_an_overlap_that_is_no_range_is_refused(overlap: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="an overlap"):
        ScenePairs(count=1, overlap=overlap)
