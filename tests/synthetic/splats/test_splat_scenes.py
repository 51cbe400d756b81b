"""Gaussians on the surfaces of synthetic scenes."""

from collections.abc import Callable

import numpy as np
import pytest

from homolog.core.errors import ShapeError
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import Look, Pattern, row
from homolog.synthetic.rendering.paint import paint
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.rendering import render
from homolog.synthetic.splats.scenes import sampled

Quad = Callable[..., Body]
LIGHT = Light(
    towards=np.array((0.0, 0, -1)), sun=np.full(3, 0.6), sky=np.full(3, 0.3), ground=np.full(3, 0.2)
)


def _wall(quad: Quad, name: str, x: float, half: float) -> Body:
    return quad(
        name, [(x - half, -half, 2.0), (x - half, half, 2), (x + half, half, 2), (x + half, -half, 2)], name
    )


def _camera(focal: float) -> Viewpoint:
    K = np.array(((focal, 0, 31.5), (0, focal, 31.5), (0, 0, 1)))
    return Viewpoint(K=K, R=np.eye(3), t=np.zeros(3), size=(64, 64))


def _look(pattern: Pattern = Pattern.plain) -> Look:
    finish = row(
        np.array((0.9, 0.5, 0.1)), np.array((0.1, 0.2, 0.8)), pattern=pattern, frequency=3.0, grain=0.0
    )
    return Look(rows=finish[None])


def test_gaussians_lie_flat_on_their_triangles(quad: Quad) -> None:
    scene = Scene.of([_wall(quad, "wall", 0.0, 1.0)])
    made = sampled(scene, [_look()], LIGHT, count=1000, seed=0)
    assert np.abs(made.means[:, 2] - 2).max() < 1e-6
    assert np.abs(made.means[:, :2]).max() <= 1
    assert np.abs(np.abs(made.normals()[:, 2]) - 1).max() < 1e-6
    # 1000 on an area of 4: the distance is 1 / sqrt 250, the radius 0.9 of it.
    assert made.scales[:, :2] == pytest.approx(np.full((1000, 2), 0.9 / np.sqrt(250)), rel=1e-5)


def test_they_are_spread_evenly_by_area(quad: Quad) -> None:
    # One triangle is three times as large as the other.
    body = quad("kite", [(-1, 0, 2.0), (0, -1, 2), (1, 0, 2), (0, 3, 2)], "kite")
    made = sampled(Scene.of([body]), [_look()], LIGHT, count=4000, seed=0)
    assert (made.means[:, 1] > 0).mean() == pytest.approx(0.75, abs=0.002)
    wall = sampled(Scene.of([_wall(quad, "wall", 0.0, 1.0)]), [_look()], LIGHT, count=6400, seed=1)
    counts, _, _ = np.histogram2d(wall.means[:, 0], wall.means[:, 1], bins=8, range=[[-1, 1], [-1, 1]])
    # A hundred in each of 64 cells; drawn on their own they would deviate by 10.
    assert counts.std() < 7


def test_small_bodies_get_more_than_their_area(quad: Quad) -> None:
    scene = Scene.of([_wall(quad, "large", 0.0, 2.0), _wall(quad, "small", 5.0, 0.5)])
    made = sampled(scene, [_look(), _look()], LIGHT, count=1000, seed=0)
    small = made.means[:, 0] > 3
    # Areas of 16 and 1: square roots of 4 and 1.
    assert small.sum() == 200
    assert made.scales[small, 0].max() < made.scales[~small, 0].min()


def test_they_look_as_the_painted_scene_does(quad: Quad) -> None:
    scene = Scene.of([_wall(quad, "wall", 0.0, 1.5)])
    camera = _camera(60.0)
    looks = [_look(Pattern.checks)]
    painted = paint(View.of(scene, camera), looks, LIGHT, np.zeros((64, 64, 3), np.float32))
    assert painted.std((0, 1)).max() > 0.1
    drawn = render(sampled(scene, looks, LIGHT, count=60_000, seed=0), camera)
    middle = (slice(4, -4), slice(4, -4))
    assert drawn.alpha[middle].min() > 0.98
    # But for a blur at the edges of the checks, and what is let through.
    assert np.median(np.abs(drawn.rgb - painted)[middle]) < 0.01
    assert np.abs(drawn.rgb - painted)[middle].mean() < 0.04


def test_plane_depth_is_that_of_the_mesh(quad: Quad) -> None:
    body = quad("slope", [(-3, -3, 3.0), (3, -3, 6), (3, 3, 6), (-3, 3, 3)], "slope")
    scene = Scene.of([body])
    camera = _camera(80.0)
    drawn, exact = (
        render(sampled(scene, [_look()], LIGHT, count=6000, seed=0), camera),
        View.of(scene, camera).depth,
    )
    assert np.isfinite(drawn.plane_depth).all()
    assert np.abs(drawn.plane_depth / exact - 1).max() < 1e-4


def test_jitter_and_tilt_have_the_given_size(quad: Quad) -> None:
    scene = Scene.of([_wall(quad, "wall", 0.0, 1.0)])
    made = sampled(scene, [_look()], LIGHT, count=4000, seed=0, jitter=0.5, tilt=0.1)
    spacing = np.sqrt(4 / 4000)
    assert (made.means[:, 2] - 2).std() == pytest.approx(0.5 * spacing, rel=0.05)
    angles = np.arccos(np.abs(made.normals()[:, 2]))
    # Of two directions across the normal, each 0.1: Rayleigh's mean.
    assert angles.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.05)


def test_the_seed_decides(quad: Quad) -> None:
    scene = Scene.of([_wall(quad, "wall", 0.0, 1.0)])
    one, same, other = (sampled(scene, [_look()], LIGHT, count=50, seed=seed) for seed in (1, 1, 2))
    assert one.means.tobytes() == same.means.tobytes()
    assert one.harmonics.tobytes() == same.harmonics.tobytes()
    assert not np.array_equal(one.means, other.means)


def test_what_does_not_fit_is_refused(quad: Quad) -> None:
    scene = Scene.of([_wall(quad, "a", 0.0, 1.0), _wall(quad, "b", 3.0, 1.0)])
    with pytest.raises(ShapeError, match="expected 2 looks and at least as many Gaussians, got 1 and 9"):
        sampled(scene, [_look()], LIGHT, count=9, seed=0)
    with pytest.raises(ShapeError, match="got 2 and 1"):
        sampled(scene, [_look(), _look()], LIGHT, count=1, seed=0)
