"""The sides that objects are photographed from."""

import math

import numpy as np
import pytest

from homolog.synthetic.rendering.viewpoint import ANYWHERE, drawn_azimuth, drawn_turn

_MANY = 4000


def _aside(azimuth: float) -> float:
    """Return the angle from the front, degrees."""
    return math.degrees(abs(math.remainder(azimuth, 2 * math.pi)))


@pytest.mark.parametrize("sides", [(0.0, 75.0), (35.0, 145.0), (0.0, 180.0)])
def test_most_pictures_are_taken_from_the_usual_sides_and_some_from_anywhere(
    sides: tuple[float, float],
) -> None:
    random = np.random.default_rng(2)
    asides = np.array([_aside(drawn_azimuth(random, sides)) for _ in range(_MANY)])
    expected = 1 - ANYWHERE * (1 - (sides[1] - sides[0]) / 180)
    usual = (sides[0] <= asides) & (asides <= sides[1])
    # Four standard deviations of a share of so many draws.
    assert abs(usual.mean() - expected) <= 4 * math.sqrt(expected * (1 - expected) / _MANY)
    assert asides[usual].min() < sides[0] + 1
    assert asides[usual].max() > sides[1] - 1


def test_left_and_right_are_equally_usual() -> None:
    random = np.random.default_rng(3)
    signs = [math.sin(drawn_azimuth(random, (35.0, 145.0))) > 0 for _ in range(_MANY)]
    assert abs(np.mean(signs) - 0.5) < 4 * 0.5 / math.sqrt(_MANY)


@pytest.mark.parametrize("widest", [30.0, 100.0])
def test_the_second_picture_is_taken_from_a_usual_side_if_the_first_is(widest: float) -> None:
    random, sides = np.random.default_rng(4), (0.0, 75.0)
    turned: list[float] = []
    for _ in range(_MANY):
        azimuth = drawn_azimuth(random, sides)
        turn = drawn_turn(random, azimuth, sides, widest)
        assert abs(turn) <= math.radians(widest)
        if _aside(azimuth) <= sides[1]:
            assert _aside(azimuth + turn) <= sides[1] + 1e-9
            turned.append(abs(math.degrees(turn)))
    assert max(turned) > 0.95 * widest
