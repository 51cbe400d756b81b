"""Edges of depth are told from slopes."""

import numpy as np

from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.analytic import ball_on_plane
from homolog.synthetic.splats.depth_edges import depth_edges, without_edges
from homolog.synthetic.splats.splat import splat


def test_a_step_is_an_edge_and_its_surroundings_too() -> None:
    depth = np.full((12, 20), 2.0, np.float32)
    depth[:, 10:] = 3.0
    # The second difference is large at 9 and at 10.
    for radius, expected in ((0, [9, 10]), (2, [7, 8, 9, 10, 11, 12])):
        edge = depth_edges(depth, radius=radius)
        assert np.flatnonzero(edge.any(0)).tolist() == expected
        assert (edge.any(0) == edge.all(0)).all()
    assert np.array_equal(depth_edges(depth.T.copy(), radius=2), depth_edges(depth, radius=2).T)


def test_a_plane_has_none_however_slanted() -> None:
    rows, columns = np.indices((30, 40))
    # Inverse depth from 1 / 2 to 1 / 20 across the image.
    depth = (1 / (0.5 - 0.45 * (columns + 0.2 * rows) / 45)).astype(np.float32)
    assert depth[:, 1:].max() / depth[:, 0].min() > 5
    assert not depth_edges(depth).any()


def test_pixels_without_depth_are_edges() -> None:
    depth = np.full((9, 9), 2.0, np.float32)
    depth[4, 4] = np.nan
    edge = depth_edges(depth, radius=1)
    assert edge.sum() == 9
    assert edge[3:6, 3:6].all()
    clean = without_edges(depth, radius=1)
    assert np.array_equal(np.isnan(clean), edge)
    assert np.isnan(depth).sum() == 1


def test_without_them_a_rendered_depth_is_truer() -> None:
    scene = ball_on_plane(count=40_000, seed=0)
    camera = Viewpoint.towards(
        np.zeros(3), azimuth=0.0, elevation=0.6, distance=3.7, focal=1.0, size=(128, 128)
    )
    exact, depth = scene.depth(camera), splat(scene.gaussians, camera).plane_depth
    clean = without_edges(depth)
    worst, rest = (float(np.nanpercentile(np.abs(d - exact) / exact, 99.5)) for d in (depth, clean))
    assert np.isfinite(clean).sum() > 0.8 * np.isfinite(depth).sum()
    assert worst > 0.05
    assert rest < 0.3 * worst
