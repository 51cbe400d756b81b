"""PCK by hand, what holds for any keypoints, and the protocol over records."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.image_sizes import Original, PaddedSquare, StretchedSquare, TruncatedSquare
from homolog.evaluators.keypoint_pck import (
    AVERAGES,
    PckProtocol,
    average_pck,
    box_side,
    image_side,
    keypoint_error,
    keypoint_side,
    pck,
    pck_per_image,
)
from homolog.evaluators.records import Record, Scored, load_records, save_records


def along_x(*errors: float) -> tuple[np.ndarray, np.ndarray]:
    target = np.full((len(errors), 2), 7.0)
    return target + np.array([[error, 0.0] for error in errors]).reshape(-1, 2), target


def test_an_error_on_the_threshold_counts_or_not_as_is_said():
    """3-4-5 triangle, side 50: the error is exactly 0.1 of it."""
    predicted, target = np.array([[3.0, 4.0]]), np.zeros((1, 2))
    assert not pck(predicted, target, side=50.0, alphas=[0.1], comparison="<").hits[0, 0]
    assert pck(predicted, target, side=50.0, alphas=[0.1], comparison="<=").hits[0, 0]


def test_hits_and_share_by_hand():
    found = pck(*along_x(0, 4, 6, 11), side=100, alphas=[0.05, 0.1], comparison="<")
    assert found.hits.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert found.fraction.tolist() == [0.5, 0.75]


def test_every_keypoint_may_have_its_own_side():
    found = pck(*along_x(6, 6), side=np.array([50.0, 100.0]), alphas=[0.1], comparison="<")
    assert found.hits.tolist() == [[False, True]]


@pytest.mark.parametrize("place", [np.nan, np.inf, -np.inf])
def test_a_place_that_is_not_finite_is_missed_at_any_threshold(place: float):
    predicted, target = np.array([[place, 0.0]]), np.zeros((1, 2))
    assert keypoint_error(predicted, target).tolist() == [np.inf]
    assert pck(predicted, target, side=1e300, alphas=[1e6], comparison="<=").fraction[0] == 0


def test_without_keypoints_the_share_is_not_a_number():
    found = pck(np.zeros((0, 2)), np.zeros((0, 2)), side=10.0, alphas=[0.1, 0.2], comparison="<")
    assert found.hits.shape == (2, 0)
    assert np.isnan(found.fraction).all()


def test_precision_decides_within_a_rounding_of_the_threshold():
    """0.15 * 100 is 15 exactly in both; 0.1f * 3 rounds up in float32, and 0.3 is farther off in float64."""
    predicted, target = np.array([[np.float32(0.3), 0]], dtype=np.float32), np.zeros((1, 2), dtype=np.float32)
    limits = np.float32(0.1) * np.float32(3), 0.1 * 3
    assert float(np.float32(0.3)) > limits[1]
    assert np.float32(0.3) <= limits[0]
    hits = {
        precision: pck(
            predicted, target, side=3.0, alphas=[0.1], comparison="<=", precision=precision
        ).fraction[0]
        for precision in ("float32", "float64")
    }
    assert hits == {"float32": 1, "float64": 0}


@pytest.mark.usefixtures("unchecked")
def test_settings_that_are_none_are_refused():
    predicted, target = along_x(1, 2)
    wrong: Any = "half"
    with pytest.raises(ConfigError, match="precision"):
        pck(predicted, target, side=1.0, alphas=[0.1], comparison="<", precision=wrong)
    with pytest.raises(ShapeError, match=r"two arrays \[N 2\]"):
        pck(predicted, target[:1], side=1.0, alphas=[0.1], comparison="<")
    for side in (float("nan"), -1.0):
        with pytest.raises(ShapeError, match="sides of 0 pixels or more"):
            pck(predicted, target, side=side, alphas=[0.1], comparison="<")


def test_choices_that_move_the_number_have_no_default():
    with pytest.raises(TypeError, match="side"):
        pck(*along_x(1), alphas=[0.1], comparison="<")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="comparison"):
        pck(*along_x(1), side=1.0, alphas=[0.1])  # pyright: ignore[reportCallIssue]


def test_four_averages_by_hand():
    """Two cats of 1 and 3 keypoints, a dog of 1: cat 1/1, 0/3; dog 1/1. A pair without keypoints is none."""
    hits = np.array([[True, False, False, False, True]])
    image = np.array([0, 1, 1, 1, 3])
    average = average_pck(hits, image, ["cat", "cat", "bird", "dog"])
    assert average.per_image[0] == pytest.approx((1 + 0 + 1) / 3)
    assert average.per_point[0] == pytest.approx(2 / 5)
    assert average.macro_per_image[0] == pytest.approx((1 / 2 + 1) / 2)
    assert average.macro_per_point[0] == pytest.approx((1 / 4 + 1) / 2)
    assert average.of("macro per point")[0] == average.macro_per_point[0]
    shares = pck_per_image(hits, image, count=4)
    np.testing.assert_array_equal(shares, [[1, 0, np.nan, 1]])


def test_averages_of_nothing_are_not_numbers():
    none = average_pck(np.zeros((2, 0), dtype=np.bool_), np.zeros(0, dtype=np.int64), [])
    assert all(part.shape == (2,) and np.isnan(part).all() for part in none)


def test_sides_by_hand():
    assert box_side(np.array([10, 20, 30, 40])) == 40
    assert image_side((480, 640)) == 640
    assert keypoint_side(np.array([[0.0, 5.0], [3.0, 1.0]])) == 4
    assert np.isnan(keypoint_side(np.zeros((0, 2))))


POINTS = st.integers(1, 20).flatmap(
    lambda count: st.tuples(
        *[arrays(np.float64, (count, 2), elements=st.floats(-1e3, 1e3)) for _ in range(2)]
    )
)


@given(POINTS, st.floats(1, 1e3))
def test_pck_grows_with_alpha_and_inclusive_counts_at_least_as_much(pair, side: float):
    alphas = [0.0, 0.01, 0.05, 0.1, 0.5, 10.0]
    strict, inclusive = (
        pck(*pair, side=side, alphas=alphas, comparison=comparison) for comparison in ("<", "<=")
    )
    assert (np.diff(strict.fraction) >= 0).all()
    assert (inclusive.hits | ~strict.hits).all()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    st.lists(st.sampled_from(["cat", "dog"]), min_size=5, max_size=5),
)
def test_averages_are_those_of_plain_loops(points, categories: list[str]):
    """Against the definition, written out over lists."""
    image, hits = (np.array(part) for part in zip(*points, strict=True))
    pairs = {number: [hit for other, hit in points if other == number] for number in set(image.tolist())}
    shares = {number: np.mean(hits) for number, hits in pairs.items()}
    by: dict[str, list[int]] = {}
    for number in pairs:
        by.setdefault(categories[number], []).append(number)
    average = average_pck(hits[None], image, categories)
    assert average.per_image[0] == pytest.approx(np.mean(list(shares.values())))
    assert average.per_point[0] == pytest.approx(np.mean([hit for _, hit in points]))
    assert average.macro_per_image[0] == pytest.approx(
        np.mean([np.mean([shares[number] for number in numbers]) for numbers in by.values()])
    )
    assert average.macro_per_point[0] == pytest.approx(
        np.mean([np.mean([hit for number in numbers for hit in pairs[number]]) for numbers in by.values()])
    )


def pair(name: str, errors: list[float], *, category: str = "", box: float | None = 50, **arrays) -> Record:
    """A pair of 100 x 200 px whose keypoints are missed by so much along x."""
    xy1 = np.array([[10.0 + 7 * row, 20.0] for row in range(len(errors))]).reshape(-1, 2)
    given = {
        "size0": np.array([100, 200]),
        "size1": np.array([100, 200]),
        "xy0": xy1,
        "xy1": xy1,
        "visible": np.ones(len(errors), dtype=np.bool_),
        "predicted": xy1 + np.array([[error, 0.0] for error in errors]).reshape(-1, 2),
    }
    if box is not None:
        given["box1"] = np.array([0, 0, box / 2, box])
    return Record(name=name, category=category, arrays={**given, **arrays})


def protocol(**settings) -> PckProtocol:
    given: dict[str, Any] = {
        "name": "test/pck",
        "alphas": [0.1, 0.05],
        "comparison": "<=",
        "side": "box",
        "average": "per image",
        "frame": Original(),
        "precision": "float64",
        **settings,
    }
    return PckProtocol(**given)


def values(scored: Scored) -> dict[tuple[str, str], float]:
    found = {(score.name, score.category): score.value for score in scored.scores}
    assert len(found) == len(scored.scores), "two scores of one name"
    return found


PAIRS = [
    pair("a", [0], category="cat"),
    pair("b", [0, 9, 9, 9], category="cat"),
    pair("c", [3, 9], category="dog"),
]
"""Box 50: within 5 px at 0.1, 2.5 px at 0.05. Shares 1, 1/4, 1/2 at 0.1; 1, 1/4, 0 at 0.05."""


def test_the_headline_leads_and_all_averages_stand_beside_it():
    scored = protocol().score(PAIRS)
    found = values(scored)
    assert [score.name for score in scored.scores[:2]] == [
        "PCK@0.1 per image, box",
        "PCK@0.05 per image, box",
    ]
    assert found["PCK@0.1 per image, box", ""] == pytest.approx((1 + 1 / 4 + 1 / 2) / 3)
    assert found["PCK@0.1 per point, box", ""] == pytest.approx(3 / 7)
    assert found["PCK@0.1 macro per image, box", ""] == pytest.approx((5 / 8 + 1 / 2) / 2)
    assert found["PCK@0.1 macro per point, box", ""] == pytest.approx((2 / 5 + 1 / 2) / 2)
    assert found["PCK@0.05 per image, box", ""] == pytest.approx((1 + 1 / 4 + 0) / 3)
    # 0.05 of the image's 200 px is 10 px: all are right.
    assert found["PCK@0.05 per point, image", ""] == 1
    averages = {f"PCK@0.1 {average}, {side}" for average in AVERAGES for side in ("box", "image")}
    assert averages <= {name for name, _ in found}
    counts = {score.name: score.count for score in scored.scores if not score.category}
    assert counts["PCK@0.1 per image, box"] == 3
    assert counts["PCK@0.1 per point, box"] == 7
    assert counts["PCK@0.1 macro per image, box"] == 2


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("side", ["box", "image"])
def test_whichever_leads_the_numbers_are_the_same(average, side):
    scored = protocol(average=average, side=side).score(PAIRS)
    assert scored.scores[0].name == f"PCK@0.1 {average}, {side}"
    plain = {key: value for key, value in values(protocol().score(PAIRS)).items() if not key[1]}
    assert {key: value for key, value in values(scored).items() if not key[1]} == plain


def test_categories_have_their_rows():
    scored = protocol().score(PAIRS)
    found = values(scored)
    assert found["PCK@0.1 per image, box", "cat"] == pytest.approx(5 / 8)
    assert found["PCK@0.1 per point, box", "cat"] == pytest.approx(2 / 5)
    assert found["PCK@0.1 per image, box", "dog"] == 0.5
    assert {(score.category, score.count) for score in scored.scores if "per image" in score.name} >= {
        ("cat", 2),
        ("dog", 1),
    }


def test_without_categories_there_is_neither_a_row_nor_a_macro_average():
    scored = protocol().score([pair("a", [0]), pair("b", [9], category="cat")])
    assert not any("macro" in score.name for score in scored.scores)
    assert {score.category for score in scored.scores} == {"", "cat"}


def test_the_protocol_compares_errors_on_the_threshold_as_configured():
    assert protocol().score([pair("a", [5])]).scores[0].value == 1
    assert protocol(comparison="<").score([pair("a", [5])]).scores[0].value == 0


def test_points_that_are_not_seen_in_both_images_do_not_count():
    hidden = pair("a", [0, np.nan, 9], visible=np.array([True, False, True]))
    scored = protocol().score([hidden])
    assert scored.scores[0].value == 0.5
    assert scored.per_sample["points"].tolist() == [2]


def test_a_place_that_is_not_a_number_is_missed():
    scored = protocol().score([pair("a", [0, np.nan])])
    assert scored.scores[0].value == 0.5
    assert scored.per_sample["mean error px"].tolist() == [np.inf]


def test_a_pair_without_points_is_left_out_and_named():
    scored = protocol().score([pair("a", [0, 9]), pair("empty", [], category="")])
    assert scored.scores[0].value == 0.5
    assert scored.scores[0].count == 1
    assert np.isnan(scored.per_sample["PCK@0.1, box"][1])
    assert scored.settings["pairs without a point"] == "empty"
    assert scored.quality is not None
    assert np.isnan(scored.quality[1])
    for nothing in (protocol().score([]), protocol().score([pair("empty", [])])):
        assert np.isnan(nothing.scores[0].value)
        assert nothing.scores[0].count == 0
        assert not nothing.curves


def test_geometry_aware_points_are_scored_by_themselves():
    """Of two pairs with the group, one has one such point, found; the other two, one found; a third has none."""
    aware = [np.array([True, False]), np.array([True, True]), np.array([False])]
    records = [
        pair("a", [0, 9], geometry_aware=aware[0]),
        pair("b", [0, 9], geometry_aware=aware[1]),
        pair("c", [9], geometry_aware=aware[2]),
        pair("d", [9]),
    ]
    scored = protocol().score(records)
    found = {score.name: score for score in scored.scores}
    assert found["PCK@0.1 per image, box, geometry-aware"].value == pytest.approx((1 + 1 / 2) / 2)
    assert found["PCK@0.1 per image, box, geometry-aware"].count == 2
    assert found["PCK@0.1 per point, box, geometry-aware"].value == pytest.approx(2 / 3)
    assert not any("aware" in score.name for score in protocol().score(PAIRS).scores)


def test_the_group_follows_the_visible_points():
    record = pair(
        "a",
        [9, 0, 0],
        visible=np.array([False, True, True]),
        geometry_aware=np.array([True, True, False]),
    )
    found = {score.name: score for score in protocol().score([record]).scores}
    assert found["PCK@0.1 per point, box, geometry-aware"].value == 1
    assert found["PCK@0.1 per point, box, geometry-aware"].count == 1


def test_the_extent_of_keypoints_can_be_the_side():
    """Four keypoints from x = 10 to x = 31: a side of 21 px, 2.1 px at 0.1."""
    scored = protocol(side="keypoints").score([pair("a", [2, 2.2, 0, 0], box=None)])
    assert scored.scores[0].name == "PCK@0.1 per image, keypoints"
    assert scored.scores[0].value == 0.75
    assert scored.per_sample["side px, keypoints"].tolist() == [21]
    assert {score.name.split(", ")[1] for score in scored.scores} == {"keypoints", "image"}


def test_a_box_is_asked_for_only_where_it_is_needed():
    with pytest.raises(ShapeError, match="expected a record with box1"):
        protocol().score([pair("a", [0], box=None)])
    scored = protocol(side="image").score([pair("a", [0], box=None)])
    assert {score.name for score in scored.scores} == {
        f"PCK@{alpha} {average}, image" for alpha in ("0.1", "0.05") for average in ("per image", "per point")
    }


def test_a_uniform_frame_changes_errors_and_sides_alike_and_a_stretched_one_does_not():
    records = [pair("a", [4.9, 5.1, 2.4, 2.6])]
    plain = protocol().score(records)
    padded = protocol(frame=PaddedSquare(side=840)).score(records)
    assert values(padded) == values(plain)
    assert padded.per_sample["side px, box"].tolist() == [50 * 4.2]
    assert padded.per_sample["mean error px"] == pytest.approx(plain.per_sample["mean error px"] * 4.2)
    assert [score.value for score in plain.scores[:2]] == [0.75, 0.25]
    # 199 px become 99 along x, where the errors are (2.44, 2.54, 1.19, 1.29 then), and 99 stay 99 along y,
    # where the box is longer: its side stays 50.
    stretched = protocol(frame=StretchedSquare(side=100)).score(records)
    assert stretched.per_sample["side px, box"].tolist() == [50]
    assert [score.value for score in stretched.scores[:2]] == [1, 0.75]


def test_matcha_as_released_cuts_annotated_points_to_whole_pixels_of_512(value: Any):
    # In 512 x 512 the image of 1000 x 500 shrinks to 0.512 in x, and grows to 1.024 in y.
    arrays: dict[str, Any] = {
        "size0": (500, 1000),
        "size1": (500, 1000),
        # (170.496, 78.848), kept as (170, 78), and (0.512, 0), kept as (0, 0).
        "xy1": [[333.0, 77.0], [1.0, 0.0]],
        # 20 px to the right: (180.736, 78.848), and (10.752, 0): errors of 10.770 and 10.752 px, without the cut 10.24.
        "predicted": [[353.0, 77.0], [21.0, 0.0]],
    }
    record = Record(name="a", arrays={key: np.array(part) for key, part in arrays.items()})
    settings: dict[str, Any] = {"side": "image", "alphas": [0.02, 0.021, 0.0211]}
    released = protocol(frame=TruncatedSquare(side=512), **settings).score([record])
    assert released.per_sample["side px, image"].tolist() == [512]
    errors = (np.hypot(10.736, 0.848) + 10.752) / 2
    assert released.per_sample["mean error px"] == pytest.approx(errors)
    # The thresholds are 10.24, 10.752 and 10.803 px.
    assert [score.value for score in released.scores[:3]] == [0, 0.5, 1]
    whole = protocol(frame=StretchedSquare(side=512), **settings).score([record])
    assert value(whole, "PCK@0.02 per image, image") == 1


def test_the_curve_passes_through_the_headline():
    scored = protocol(average="per point").score(PAIRS)
    curve = scored.curves["PCK"]
    at = {round(float(x), 3): float(y) for x, y in zip(curve.x, curve.y, strict=True)}
    assert at[0.1] == scored.scores[0].value
    assert at[0.05] == scored.scores[1].value
    assert curve.y_label == "PCK per point, box"


def test_confidence_is_compared_with_being_right():
    records = [
        pair("a", [0, 9], confidence=np.array([0.95, 0.05])),
        pair("b", [9, 0], confidence=np.array([0.91, np.nan]), visible=np.array([True, False])),
    ]
    curve = protocol().score(records).curves["calibration"]
    np.testing.assert_allclose(curve.x, [0.05, 0.93])
    np.testing.assert_allclose(curve.y, [0, 0.5])
    assert "calibration" not in protocol().score(PAIRS).curves


def test_quality_ranks_pairs_that_tie_at_the_headline():
    scored = protocol().score([pair("good", [0]), pair("fair", [4]), pair("bad", [90])])
    assert scored.per_sample["PCK@0.1, box"].tolist() == [1, 1, 0]
    assert scored.quality is not None
    assert scored.quality[0] > scored.quality[1] > scored.quality[2] == 0


def test_numbers_of_stored_records_are_the_same(tmp_path):
    records = [*PAIRS, pair("d", [1, 2], category="dog", geometry_aware=np.array([True, False]))]
    save_records(tmp_path / "raw.npz", records)
    assert values(protocol().score(load_records(tmp_path / "raw.npz"))) == values(protocol().score(records))


def test_settings_say_every_choice():
    settings = protocol(note="assumed").score(PAIRS).settings
    assert settings["comparison"] == "<="
    assert settings["side"] == "longer side of the box of image 1"
    assert settings["average"] == "per image"
    assert settings["frame of the error"] == "original image"
    assert settings["precision"] == "float64"
    assert settings["note"] == "assumed"
    assert "note" not in protocol().score(PAIRS).settings


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alphas": []}, "alphas above 0"),
        ({"alphas": [0.0]}, "alphas above 0"),
        ({"side": "object"}, "side to be one of box, image, keypoints"),
        ({"average": "mean"}, "average to be one of per image"),
        ({"comparison": ">"}, "comparison to be"),
        ({"precision": "float16"}, "precision to be"),
    ],
)
def test_choices_that_there_are_not_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        protocol(**settings)


def test_no_choice_that_moves_the_number_has_a_default():
    with pytest.raises(TypeError, match="missing"):
        PckProtocol(name="x", alphas=[0.1])  # pyright: ignore[reportCallIssue]


def test_a_record_of_another_task_is_refused():
    with pytest.raises(ShapeError, match="choose a protocol that fits the task"):
        protocol().score([Record(name="a", arrays={"size1": np.array([1, 1])})])
