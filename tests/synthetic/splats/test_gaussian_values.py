"""Gaussians as values, and their colours."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from homolog.core.errors import ShapeError
from homolog.synthetic.splats.discs import THIN, discs
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.harmonics import basis, constant, shade
from homolog.synthetic.splats.tensors import GaussianTensors

Made = Callable[..., Gaussians]


def test_harmonics_are_orthonormal_on_the_sphere() -> None:
    # Gauss-Legendre heights times even turns integrate polynomials of degree 6 exactly.
    heights, weights = np.polynomial.legendre.leggauss(8)
    turns = np.arange(16) / 16 * 2 * np.pi
    z, turn = np.repeat(heights, 16), np.tile(turns, 8)
    weight = np.repeat(weights, 16) * 2 * np.pi / 16
    across = np.sqrt(1 - z**2)
    values = basis(across * np.cos(turn), across * np.sin(turn), z, 3)
    table = np.stack([np.broadcast_to(value, z.shape) for value in values])
    assert len(values) == 16
    assert np.abs(table * weight @ table.T - np.eye(16)).max() < 1e-12


@pytest.mark.parametrize(
    ("k", "direction", "sign"), [(1, (0, 1, 0), -1), (2, (0, 0, 1), 1), (3, (1, 0, 0), -1)]
)
def test_harmonics_of_degree_1_have_the_signs_of_3dgs(k: int, direction: tuple[int, ...], sign: int) -> None:
    coefficients = np.zeros((1, 4, 3))
    coefficients[0, k] = 0.1
    seen = shade(coefficients, np.array([direction], np.float64))
    assert seen == pytest.approx(np.full((1, 3), 0.5 + sign * 0.1 * np.sqrt(3 / (4 * np.pi))))


def test_a_constant_colour_is_seen_from_every_side() -> None:
    colours = np.random.default_rng(0).random((20, 3))
    directions = np.random.default_rng(1).standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert shade(constant(colours), directions) == pytest.approx(colours)


def test_colours_depend_on_the_side_and_are_not_negative(scattered: Made) -> None:
    gaussians = scattered(300, degree=3)
    one, other = gaussians.colours(np.array((5.0, 0, 0))), gaussians.colours(np.array((-5.0, 0, 0)))
    assert one.min() == 0
    assert np.abs(one - other).max() > 0.5
    directions = gaussians.means.astype(np.float64) - (5, 0, 0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    in_torch = shade(torch.from_numpy(gaussians.harmonics.astype(np.float64)), torch.from_numpy(directions))
    assert np.abs(one - in_torch.numpy()).max() < 1e-5


def test_axes_are_rotations_and_a_quarter_turn_is_one() -> None:
    turn = np.array(((np.sqrt(0.5), 0, 0, np.sqrt(0.5)),), np.float32)  # about z
    gaussians = Gaussians(
        means=np.zeros((1, 3), np.float32),
        scales=np.array(((0.1, 0.2, 0.3),), np.float32),
        rotations=turn,
        opacity=np.ones(1, np.float32),
        harmonics=np.zeros((1, 1, 3), np.float32),
    )
    assert gaussians.axes()[0] == pytest.approx(np.array(((0, -1, 0), (1, 0, 0), (0, 0, 1))), abs=1e-7)
    assert gaussians.normals()[0] == pytest.approx((0, 1, 0), abs=1e-7)


def test_discs_lie_across_their_normals_whatever_these_are() -> None:
    normals = np.concatenate((np.eye(3), -np.eye(3), np.random.default_rng(0).standard_normal((50, 3))))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    count = len(normals)
    made = discs(np.zeros((count, 3)), normals, np.full(count, 0.5), np.full((count, 3), 0.25))
    assert np.abs(made.normals() - normals).max() < 1e-6
    assert made.scales[0] == pytest.approx((0.5, 0.5, 0.5 * THIN))
    assert made.colours(np.array((0, 0, 3.0))) == pytest.approx(np.full((count, 3), 0.25))


def test_taking_and_joining_keep_what_belongs_together(scattered: Made) -> None:
    gaussians = scattered(10, degree=2)
    assert gaussians.degree == 2
    both = gaussians.take(np.arange(3)).joined(gaussians.take(np.arange(10) >= 3))
    for part in ("means", "scales", "rotations", "opacity", "harmonics"):
        assert np.array_equal(getattr(both, part), getattr(gaussians, part))
    with pytest.raises(ShapeError, match="expected Gaussians of degree 2 to join, got 0"):
        gaussians.joined(scattered(2))


@pytest.mark.usefixtures("unchecked")
def test_parts_that_do_not_belong_together_are_refused(scattered: Made) -> None:
    gaussians = scattered(4)
    with pytest.raises(ShapeError, match=r"equal lengths, got \[4, 3, 4, 4, 4\]"):
        replace(gaussians, scales=gaussians.scales[:3])
    with pytest.raises(ShapeError, match="1, 4, 9 or 16 harmonics"):
        replace(gaussians, harmonics=np.zeros((4, 5, 3), np.float32))


def test_tensors_give_the_same_gaussians_back(scattered: Made) -> None:
    gaussians = scattered(7, degree=1)
    back = GaussianTensors.of(gaussians, dtype=torch.float64).gaussians()
    assert np.array_equal(back.means, gaussians.means)
    assert np.abs(back.rotations - gaussians.rotations).max() < 1e-6
    assert np.array_equal(back.harmonics, gaussians.harmonics)
