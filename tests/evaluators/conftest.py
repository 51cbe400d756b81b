"""What tests of evaluators share."""

import json
from collections.abc import Callable, Collection, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

from homolog.evaluators.homography import apply_homography
from homolog.evaluators.records import Record, Scored

K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
H = np.array([[1.1, 0.05, 12], [-0.03, 0.95, -8], [1e-4, -5e-5, 1]])


@pytest.fixture
def unchecked() -> Generator[None]:
    """Lets what the annotations forbid reach the functions' own errors, as it does outside of tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def golden_cases(goldens: Path) -> Callable[..., Callable[..., list[dict[str, Any]]]]:
    """Selects golden cases by the beginning of their names; every case of the groups belongs to a family."""
    every = json.loads((goldens / "metrics.json").read_text(encoding="utf-8"))["cases"]

    def choose(groups: Collection[str], families: tuple[str, ...]) -> Callable[..., list[dict[str, Any]]]:
        cases = [case for case in every if case["group"] in groups]
        assert {case["group"] for case in cases} == set(groups)
        assert all(case["id"].startswith(families) for case in cases), "a case that no test asserts"

        def of(*starts: str) -> list[dict[str, Any]]:
            found = [case for case in cases if case["id"].startswith(starts)]
            assert found, f"no golden case of {starts}"
            return found

        return of

    return choose


@pytest.fixture
def value() -> Callable[..., float]:
    """Returns the score of a name, and of a category."""

    def of(scored: Scored, name: str, category: str = "") -> float:
        found = [each.value for each in scored.scores if (each.name, each.category) == (name, category)]
        assert len(found) == 1, (name, [each.name for each in scored.scores])
        return found[0]

    return of


@pytest.fixture
def posed() -> Callable[..., Record]:
    """Makes records of a camera that turned and moved to the right, with exact matches."""
    return _posed


@pytest.fixture
def still() -> Callable[..., Record]:
    """Makes records of a camera that moved to the right without turning."""
    return lambda name, *, category="": replace(_posed(name, R=np.eye(3), t=[2.0, 0, 0]), category=category)


@pytest.fixture
def flat() -> Callable[..., Record]:
    """Makes records of exact matches under the homography H."""
    return _flat


def _posed(name: str = "pair", *, turn: float = 10.0, wrong: int = 0, count: int = 40, **more: Any) -> Record:
    """The first `wrong` matches are 30 pixels too low."""
    points = np.random.default_rng(3).uniform(-1, 1, (count, 3)) + np.array([0, 0, 4])
    angle = np.deg2rad(turn)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t = np.array([1.0, 0, 0.2])
    match0, match1 = ((seen @ K.T)[:, :2] / seen[:, 2:] for seen in (points, points @ R.T + t))
    match1[:wrong, 1] += 30
    arrays: dict[str, Any] = {
        "size0": (480, 640),
        "size1": (480, 640),
        "score": np.ones(count),
        "R": R,
        "t": t,
    }
    arrays |= {"match0": match0, "match1": match1, "K0": K, "K1": K, **more}
    return Record(name=name, arrays={key: np.array(part) for key, part in arrays.items()})


def _flat(name: str = "pair", *, wrong: int = 0, count: int = 20, category: str = "", **more: Any) -> Record:
    """The first `wrong` matches are off by 4 pixels to the right."""
    match0 = np.random.default_rng(5).uniform(0, 400, (count, 2))
    match1 = apply_homography(match0, H)
    match1[:wrong, 0] += 4
    arrays: dict[str, Any] = {"size0": (480, 640), "size1": (480, 640), "score": np.ones(count), "H": H}
    arrays |= {"match0": match0, "match1": match1, **more}
    return Record(name=name, category=category, arrays={key: np.array(part) for key, part in arrays.items()})
