"""Videos end to end: tracks against independent projection and visibility, TAP-Vid's rules, motion, reproducibility."""

import numpy as np
import pytest
import torch

from homolog.core.errors import ConfigError
from homolog.synthetic.category import category
from homolog.synthetic.rendering.view import View
from homolog.synthetic.scenes.motion import Curves, Walk, moving_poses
from homolog.synthetic.seeds import Split
from homolog.synthetic.videos import Video, Videos

NAMES = ["bird", "bottle", "chair", "quadruped"]


@pytest.fixture(scope="module")
def videos() -> list[Video]:
    data = Videos(count=4, size=(72, 96), seed=2, names=NAMES, frames=11, tracks=160)
    return [data.video(index) for index in range(len(data))]


def test_a_track_is_at_its_query_on_the_frame_of_the_query(videos: list[Video]) -> None:
    for video in videos:
        row = np.arange(160)
        apart = np.linalg.norm(video.tracks.xy[row, video.picked.frame] - video.picked.xy, axis=1)
        assert apart.max() < 1e-3
        assert video.tracks.visible[row, video.picked.frame].all()
        # Anywhere within a pixel, not at its centre only.
        assert (video.picked.xy % 1 != 0).any(axis=1).mean() > 0.25


def test_tracks_are_where_the_surface_points_are_projected(videos: list[Video]) -> None:
    for video in videos:
        for frame, view in enumerate(video.views):
            xy, z = view.viewpoint.project(view.scene.positions(video.picked.points))
            given = video.tracks.xy[:, frame]
            assert (np.isnan(given).any(axis=1) == (z <= 0)).all()
            assert np.abs(given - xy)[z > 0].max() < 1e-3 * max(1.0, np.abs(xy[z > 0]).max() / 100)


def test_visible_is_inside_and_not_behind_anything(videos: list[Video]) -> None:
    # Against a picture with seven times as many pixels along each side, whose every seventh is one of ours.
    found, hidden = [], 0
    for video in videos:
        points = video.picked.points
        for frame in range(0, 11, 2):
            view, visible = video.views[frame], video.tracks.visible[:, frame]
            fine = View.of(view.scene, view.viewpoint.resized((7 * 72, 7 * 96)))
            xy, z = view.viewpoint.project(view.scene.positions(points))
            inside = ((xy >= -0.5) & (xy <= (95.5, 71.5))).all(axis=1) & (z > 0)
            assert not visible[~inside].any()
            column, row = np.rint(xy * 7 + 3).astype(int).clip(0, (7 * 96 - 1, 7 * 72 - 1)).T
            face = view.scene.first_face[points.object] + points.face
            found.append(visible[inside & (fine.raster.face[row, column] == face)])
            bodies = fine.object
            for n in np.flatnonzero(inside):
                around = bodies[max(row[n] - 7, 0) : row[n] + 8, max(column[n] - 7, 0) : column[n] + 8]
                if not (around == points.object[n]).any():
                    assert not visible[n]
                    hidden += 1
    assert np.concatenate(found).mean() > 0.98
    assert len(np.concatenate(found)) > 500
    assert hidden > 50


def test_first_queries_are_asked_where_a_track_is_first_in_sight(videos: list[Video]) -> None:
    for video in videos:
        tracks = video.sample().tracks
        for visible, frame in zip(tracks.visible, tracks.query_frame.tolist(), strict=True):
            assert visible[frame]
            assert not visible[:frame].any()
        assert len(set(tracks.query_frame.tolist())) > 2


def test_strided_queries_are_asked_on_every_fifth_frame() -> None:
    video = Videos(
        count=1, size=48, seed=2, names=NAMES, frames=11, tracks=80, queries="strided", photometry=False
    ).video(0)
    tracks = video.sample().tracks
    assert set(tracks.query_frame.tolist()) == set(range(0, 11, 5))
    asked = tracks.queries()
    assert (asked.frame == torch.from_numpy(video.picked.frame)).all()
    assert (asked.xy - torch.from_numpy(video.picked.xy)).norm(dim=1).max() < 1e-3
    assert tracks.visible[torch.arange(80), asked.frame].all()


def test_more_tracks_are_on_what_moves() -> None:
    for share, low, high in ((0.0, 0.0, 0.6), (1.0, 1.0, 1.0)):
        video = Videos(
            count=1, size=48, seed=6, names=NAMES, frames=3, tracks=200, on_objects=share, photometry=False
        ).video(0)
        assert low <= video.moving[video.picked.points.object].mean() <= high


def test_objects_move_and_what_stands_stands(videos: list[Video]) -> None:
    for video in videos:
        places = np.stack([view.scene.positions(video.picked.points) for view in video.views])
        ways = np.linalg.norm(np.diff(places, axis=0), axis=2)
        moving = video.moving[video.picked.points.object]
        assert (ways[:, ~moving] == 0).all()
        assert (ways[:, moving].sum(axis=0) > 0.02).all()
        # A twelfth of a second: nothing jumps.
        assert ways.max() < 0.8
        centres = np.stack([view.viewpoint.centre for view in video.views])
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert 0 < steps.max() < 0.4
        for body, topology in enumerate(view.topology for view in video.views[0].scene.bodies):
            assert all(view.scene.bodies[body].topology is topology for view in video.views)


def test_bodies_bend_as_they_move() -> None:
    data = Videos(count=2, size=32, seed=9, names=["bird", "quadruped"], frames=6, tracks=4, photometry=False)
    for video in (data.video(0), data.video(1)):
        for index in np.flatnonzero(video.moving):
            first, last = (video.views[frame].scene.bodies[index].vertices for frame in (0, -1))
            # A rigid motion keeps distances.
            few = np.linspace(0, len(first) - 1, 40).astype(int)
            lengths = [np.linalg.norm(part[few][:, None] - part[few][None], axis=2) for part in (first, last)]
            assert np.abs(lengths[0] - lengths[1]).max() > 0.03


def test_objects_hide_one_another(videos: list[Video]) -> None:
    hidden = 0
    for video in videos:
        moving = video.moving[video.picked.points.object]
        for frame, view in enumerate(video.views):
            xy = video.tracks.xy[:, frame]
            inside = ((xy > 0) & (xy < (95, 71))).all(axis=1)
            behind = np.flatnonzero(inside & moving & ~video.tracks.visible[:, frame])
            column, row = np.rint(xy[behind]).astype(int).T
            front = view.object[row, column]
            hidden += int((video.moving[front] & (front != video.picked.points.object[behind])).sum())
    assert hidden > 30


def test_photometry_is_the_same_on_all_frames() -> None:
    plain, developed = (
        Videos(count=1, size=32, seed=3, names=NAMES, frames=3, tracks=20, photometry=photometry)[0]
        for photometry in (False, True)
    )
    gains = [
        float(one.pixels.mean() / other.pixels.mean())
        for one, other in zip(developed.frames, plain.frames, strict=True)
    ]
    assert np.ptp(gains) < 0.01


def test_curves_are_smooth_and_stay_within_bounds() -> None:
    curves = Curves.drawn(np.random.default_rng(0), 50, slowest=0.1, fastest=2.0)
    at = curves.at(np.arange(0, 20, 0.001))
    assert np.abs(at).max() <= 1
    assert np.abs(at).max() > 0.9
    # No wave is faster than 2 Hz.
    assert np.abs(np.diff(at, axis=0)).max() < 0.001 * 2 * np.pi * 2
    assert 0.1 <= curves.hertz.min() < curves.hertz.max() <= 2


def test_poses_stay_within_their_ranges_and_use_them() -> None:
    kind = category("quadruped")
    poses = moving_poses(kind, np.random.default_rng(1), np.arange(0, 60, 0.05))
    for name, (low, _, high) in kind.poses.items():
        values = np.array([pose[name] for pose in poses])
        assert low <= values.min() < values.max() <= high
        assert np.ptp(values) > 0.5 * (high - low)


def test_a_walk_goes_where_it_looks() -> None:
    seconds = np.arange(40) / 12
    for seed in range(5):
        walk = Walk.drawn(np.random.default_rng(seed), seconds, speed=0.8, reach=1.0)
        step = np.diff(walk.place, axis=0)
        middle = (walk.heading[1:] + walk.heading[:-1]) / 2
        ahead = (step * np.stack((np.cos(middle), np.sin(middle)), 1)).sum(axis=1) * 12
        assert (ahead > 0.8 * 0.6).all()
        assert (ahead < 0.8 * 1.4).all()
        assert np.abs(np.linalg.norm(step, axis=1) * 12 - ahead).max() < 0.01
        assert np.abs((walk.place.min(axis=0) + walk.place.max(axis=0)) / 2).max() <= 1


def test_invalid_settings_raise() -> None:
    with pytest.raises(ConfigError, match="frames >= 1"):
        Videos(count=1, frames=0)
    with pytest.raises(ConfigError, match="no split named train"):
        Split.named("train")
