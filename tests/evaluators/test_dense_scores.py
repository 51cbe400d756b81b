"""End-point error, flow PCK and warp error by hand, and the protocols over records."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.dense import DenseProtocol, FlowPckProtocol, endpoint_error, flow_pck, warp_error
from homolog.evaluators.records import Record, Scored


def test_the_end_point_error_is_a_distance_and_infinite_where_there_is_no_place():
    predicted = np.array([[3, 4], [1, 1], [np.nan, 0], [np.inf, 0]], dtype=np.float32)
    error = endpoint_error(predicted, np.array([[0, 0], [1, 1], [0, 0], [0, 0]], dtype=np.float32))
    assert error.tolist() == [5, 0, np.inf, np.inf]
    assert error.dtype == np.float64


def test_flow_pck_by_hand_on_the_threshold():
    error = np.array([0.0, 5.0, 5.01, 20.0])
    assert flow_pck(error, side=100.0, alphas=[0.05, 0.2], comparison="<=").tolist() == [0.5, 1]
    assert flow_pck(error, side=100.0, alphas=[0.05, 0.2], comparison="<").tolist() == [0.25, 0.75]


def test_a_pair_without_pixels_has_no_number():
    assert np.isnan(flow_pck(np.zeros(0), side=100.0, alphas=[0.05], comparison="<=")).all()


@given(st.lists(st.floats(0, 50), min_size=1, max_size=20), st.floats(1, 100))
def test_flow_pck_grows_with_alpha_and_does_not_care_for_the_unit(errors, side):
    alphas = [0.01, 0.1, 0.5, 1.0]
    shares = flow_pck(np.array(errors), side=side, alphas=alphas, comparison="<=")
    assert (np.diff(shares) >= 0).all()
    scaled = flow_pck(np.array(errors) * 4, side=side * 4, alphas=alphas, comparison="<=")
    np.testing.assert_array_equal(shares, scaled)


def test_the_warp_error_is_the_squared_distance_summed_over_the_channels():
    found, truth = np.array([[1, 0.5, 0], [0.2, 0.2, 0.2]]), np.array([[0, 0, 0], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(warp_error(found, truth), [1.25, 0])


def pair(
    name: str,
    errors: list[float],
    *,
    side: int = 100,
    subset: str = "",
    category: str = "",
    **arrays: np.ndarray,
) -> Record:
    count = len(errors)
    xy1 = np.full((count, 2), 7, dtype=np.float32)
    predicted = xy1 + np.stack((np.array(errors), np.zeros(count)), axis=-1).astype(np.float32)
    return Record(
        name=name,
        category=category,
        arrays={
            "size0": np.array([10, 20]),
            "size1": np.array([side // 2, side]),
            "xy1": xy1,
            "predicted": predicted.reshape(count, 2),
            **arrays,
        },
        facts={"subset": subset, "lattice": "every 1 px"},
    )


def flow(records: list[Record], **settings: Any) -> Scored:
    given: dict[str, Any] = {"alphas": [0.05, 0.1], "comparison": "<=", "side": "image1", **settings}
    return FlowPckProtocol(name="tss/sd-dino", **given).score(records)


def dense(records: list[Record]) -> Scored:
    protocol = DenseProtocol(name="synthetic-dense/homolog", alphas=[0.05], comparison="<=", side="image1")
    return protocol.score(records)


def test_per_image_and_per_point_by_hand(value: Any):
    scored = flow([pair("a", [0, 6]), pair("b", [0, 0, 20, 5, 5, 20])])
    assert value(scored, "PCK@0.05 per image") == pytest.approx((1 / 2 + 4 / 6) / 2)
    assert value(scored, "PCK@0.05 per point") == pytest.approx(5 / 8)
    assert value(scored, "PCK@0.1 per image") == pytest.approx((1 + 4 / 6) / 2)
    assert value(scored, "EPE per image") == pytest.approx((3 + 50 / 6) / 2)
    assert scored.scores[0].name == "PCK@0.05 per image"
    assert {score.name: score.count for score in scored.scores}["PCK@0.05 per point"] == 8
    epe = next(score for score in scored.scores if score.name == "EPE per image")
    assert (epe.unit, epe.higher_is_better) == ("px", False)


def test_every_pixel_is_compared_with_the_side_of_its_own_pair(value: Any):
    """sd-dino's script compares the pixels of all pairs with the last pair's side: here 2 of 2 would be found."""
    scored = flow([pair("small", [6.0], side=100), pair("large", [6.0], side=1000)])
    assert value(scored, "PCK@0.05 per point") == 0.5
    assert value(scored, "PCK@0.05 per image") == 0.5


def test_an_error_on_the_threshold_counts_or_not_as_is_said(value: Any):
    assert value(flow([pair("a", [5])]), "PCK@0.05 per image") == 1
    assert value(flow([pair("a", [5])], comparison="<"), "PCK@0.05 per image") == 0


def test_the_side_is_of_the_image_that_is_named(value: Any):
    assert value(flow([pair("a", [2])], side="image0"), "PCK@0.05 per image") == 0
    assert value(flow([pair("a", [1])], side="image0"), "PCK@0.05 per image") == 1


def test_groups_are_those_of_the_fact_and_macro_is_their_mean(value: Any):
    records = [
        pair("a", [0], subset="JODS"),
        pair("b", [9], subset="JODS"),
        pair("c", [9], subset="PASCAL"),
    ]
    scored = flow(records, group_by="subset")
    assert value(scored, "PCK@0.05 per image", "JODS") == 0.5
    assert value(scored, "PCK@0.05 per image", "PASCAL") == 0
    assert value(scored, "EPE per image", "PASCAL") == 9
    assert value(scored, "PCK@0.05 macro") == 0.25
    assert value(scored, "PCK@0.05 per image") == pytest.approx(1 / 3)


def test_without_a_fact_the_groups_are_categories(value: Any):
    scored = flow([pair("a", [0], category="cat"), pair("b", [9], category="dog")])
    assert value(scored, "PCK@0.05 per image", "cat") == 1
    assert not any("macro" in score.name for score in flow([pair("a", [0])]).scores)


def test_a_pair_without_a_known_pixel_is_left_out_and_named(value: Any):
    scored = flow([pair("a", [0, 9]), pair("empty", [])])
    assert value(scored, "PCK@0.05 per image") == 0.5
    assert scored.scores[0].count == 1
    assert np.isnan(scored.per_sample["PCK@0.05"][1])
    assert scored.settings["pairs without a known pixel"] == "empty"
    assert np.isnan(flow([pair("empty", [])]).scores[0].value)
    assert np.isnan(flow([]).scores[0].value)


def test_a_place_that_is_not_a_number_is_infinitely_far(value: Any):
    scored = flow([pair("a", [np.nan, 0])])
    assert value(scored, "PCK@0.05 per image") == 0.5
    assert value(scored, "EPE per image") == np.inf


def test_confidence_is_compared_with_being_right():
    sure = np.array([0.95, 0.91, 0.05], dtype=np.float32)
    scored = flow(
        [pair("a", [0, 9, 9], confidence=sure), pair("empty", [], confidence=np.zeros(0, dtype=np.float32))]
    )
    curve = scored.curves["calibration"]
    np.testing.assert_allclose(curve.x, [0.05, 0.93], atol=1e-6)
    np.testing.assert_allclose(curve.y, [0, 0.5])
    assert "calibration" not in flow([pair("a", [0])]).curves


def test_the_curve_passes_through_the_scores(value: Any):
    scored = flow([pair("a", [0, 4, 7, 12])])
    curve = scored.curves["PCK"]
    at = {round(float(x), 3): float(y) for x, y in zip(curve.x, curve.y, strict=True)}
    assert at[0.05] == value(scored, "PCK@0.05 per image")
    assert at[0.1] == value(scored, "PCK@0.1 per image")


def test_settings_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="expected at least one alpha"):
        flow([], alphas=[])
    with pytest.raises(ShapeError, match="expected a record with predicted"):
        flow([Record(name="a")])


def test_the_warp_error_leads_and_is_a_mean_of_means(value: Any):
    scored = dense(
        [
            pair("a", [0], warp_error=np.array([0.3], dtype=np.float32)),
            pair("b", [0, 9], warp_error=np.array([0.1, 0.3], dtype=np.float32)),
        ]
    )
    first = scored.scores[0]
    assert (first.name, first.higher_is_better, first.count) == ("warp error", False, 2)
    assert first.value == pytest.approx(0.25)
    assert value(scored, "PCK@0.05 per image") == 0.75
    assert value(scored, "EPE per image") == pytest.approx(2.25)
    assert scored.quality is not None
    assert scored.quality.tolist() == pytest.approx([-0.3, -0.2])
    assert "not comparable" in scored.settings["warp error"]


def test_a_pair_without_a_known_pixel_has_no_warp_error():
    none = np.zeros(0, dtype=np.float32)
    scored = dense(
        [pair("empty", [], warp_error=none), pair("a", [0], warp_error=np.ones(1, dtype=np.float32))]
    )
    assert scored.scores[0].value == 1
    assert scored.scores[0].count == 1
    with pytest.raises(ShapeError, match="expected a record with warp_error"):
        dense([pair("a", [0])])
