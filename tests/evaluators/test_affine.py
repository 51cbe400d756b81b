"""PCK of affine maps by hand and over records."""

from typing import Any

import numpy as np
import pytest

from homolog.core.errors import ConfigError
from homolog.evaluators.affine import AffineProtocol, affine_error, affine_pck
from homolog.evaluators.opencv_solvers import OpencvAffine
from homolog.evaluators.records import Record


def test_pck_of_an_affine_map_is_a_share_of_the_longer_side() -> None:
    xy0 = np.array([[0.0, 0], [10, 0], [0, 10]])
    xy1 = xy0 + np.array([[3, 4], [0, 0], [0, 1]])
    A = np.eye(3)[:2]
    assert affine_error(A, xy0, xy1).tolist() == [5, 0, 1]
    found = affine_pck(A, xy0, xy1, (50, 100), [0.01, 0.05], comparison="<=")
    assert found == pytest.approx([2 / 3, 1])
    assert affine_pck(A, xy0, xy1, (50, 100), [0.01], comparison="<") == pytest.approx([1 / 3])
    assert affine_error(None, xy0, xy1).tolist() == [np.inf] * 3
    assert affine_pck(None, xy0, xy1, (50, 100), [0.05], comparison="<=") == [0]


def test_affine_maps_are_scored_by_annotated_points(value: Any) -> None:
    A = np.array([[0.9, -0.3, 40], [0.3, 0.9, -15]])
    match0 = np.random.default_rng(0).uniform(0, 520, (30, 2))
    xy0 = np.array([[0.0, 0], [500, 0], [0, 500], [500, 500]])
    xy1 = xy0 @ A[:, :2].T + A[:, 2]
    xy1[0] += 10  # a marked point that no map explains: 14 px off, 0.03 * 520 = 15.6
    arrays = {"match0": match0, "match1": match0 @ A[:, :2].T + A[:, 2], "score": np.ones(30)}
    arrays |= {"xy0": xy0, "xy1": xy1, "size0": np.array((520, 520)), "size1": np.array((520, 520))}
    found = Record(name="found", arrays=arrays)
    lost = Record(
        name="lost", arrays={**arrays, **{key: arrays[key][:2] for key in ("match0", "match1", "score")}}
    )
    protocol = AffineProtocol(
        name="test/affine",
        estimator=OpencvAffine(method="RANSAC", threshold=3.0, confidence=0.999),
        alphas=[0.01, 0.03],
        comparison="<=",
        workers=1,
    )
    scored = protocol.score([found, lost])
    assert [each.name for each in scored.scores][:2] == ["PCK@0.01", "PCK@0.03"]
    assert scored.per_sample["PCK@0.01"].tolist() == [0.75, 0]
    assert scored.per_sample["PCK@0.03"].tolist() == [1, 0]
    assert value(scored, "PCK@0.03") == 0.5
    assert value(scored, "failures") == 0.5
    assert scored.per_sample["mean error"][1] == np.inf
    with pytest.raises(ConfigError, match="at least one alpha"):
        AffineProtocol(
            name="x",
            estimator=OpencvAffine(method="RANSAC", threshold=3.0, confidence=0.9),
            alphas=[],
            comparison="<",
        )
