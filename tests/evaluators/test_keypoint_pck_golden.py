"""PCK against the official functions: every case of the group `semantic_pck`, and the sides of `semantic_loader`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homolog.evaluators.image_sizes import Original, PaddedSquare
from homolog.evaluators.keypoint_pck import (
    Average,
    PckProtocol,
    average_pck,
    box_side,
    image_side,
    keypoint_side,
    pck,
    pck_per_image,
)
from homolog.evaluators.read_out import dift
from homolog.evaluators.records import Record
from homolog.zoo.build import build
from homolog.zoo.compose import compose

FAMILIES = (
    *("geoaware_pck", "geoaware_get_img_result", "hpf_correct_kps", "hpf_evaluator"),
    *("visualai_calculate_pck", "distilldift_pck", "dift_spair_script"),
)


@pytest.fixture(scope="module")
def of(golden_cases: Any) -> Any:
    return golden_cases(["semantic_pck"], FAMILIES)


def numbers(value: Any, dtype: str) -> np.ndarray:
    return np.array(value, dtype=object).astype(np.float64).astype(dtype)


def configured(file: str, **changes: Any) -> PckProtocol:
    """Return the protocol of a file of `configs/protocol`, with what a golden case has instead."""
    group, _, name = file.partition("/")
    protocol = build(compose(f"protocol/{group}/{name}")["protocol"][group])
    for key, changed in changes.items():
        setattr(protocol, key, changed)
    return protocol


def scores(protocol: PckProtocol, records: list[Record]) -> dict[tuple[str, str], float]:
    scored = protocol.score(records)
    values = {(score.name, score.category): score.value for score in scored.scores}
    assert len(values) == len(scored.scores), "two scores of one name"
    return values


# --- GeoAware-SC ----------------------------------------------------------------------------------


def geoaware_records(given: dict[str, Any], dtype: str) -> Iterator[Record]:
    for category, part in given["categories"].items():
        annotated = numbers(part["kps_src_trg_interleaved"], dtype)
        for pair, (predicted, side) in enumerate(
            zip(numbers(part["pred_xy"], dtype), part["bbox_threshold_px"], strict=True)
        ):
            source, target = annotated[2 * pair], annotated[2 * pair + 1]
            yield Record(
                name=f"{category}-{pair}",
                category=category,
                arrays={
                    "size1": np.array([840, 840]),
                    "xy1": target[:, :2],
                    "predicted": predicted,
                    "visible": source[:, 2] * target[:, 2] > 0,
                    "box1": np.array([0, 0, side, 0], dtype=dtype),
                },
            )


def test_golden_geoaware_averages_weights_and_categories(of):
    for case in of("geoaware_pck"):
        given, wanted = case["inputs"], case["outputs"]
        average = "per point" if given["KPT_RESULT"] else "per image"
        side = "box" if given["threshold"] == "bbox" else "image"
        if side == "image":
            assert given["threshold"] == "img(ANNO_SIZE=840)"
        alphas = [0.1, 0.05, 0.15 if given["dataset"] == "pascal" else 0.01]
        protocol = configured(
            "spair/geoaware", alphas=alphas, side=side, average=average, precision=case["dtype"]
        )
        records = list(geoaware_records(given, case["dtype"]))
        scored = protocol.score(records)
        headline = [score.value for score in scored.scores[: len(alphas)]]
        np.testing.assert_allclose(
            headline, wanted["weighted_total_a0.10_a0.05_a0.01or0.15"], atol=case["tol"]
        )
        values = {(score.name, score.category): score for score in scored.scores}
        for category, each in wanted["per_category"].items():
            for kind in ("per_point", "per_image"):
                official = each[f"{kind}_a0.10_a0.05_a0.01or0.15_n"]
                if official is None:
                    continue
                for alpha, value in zip(alphas, official[:-1], strict=True):
                    ours = values[f"PCK@{alpha:g} {kind.replace('_', ' ')}, {side}", category]
                    assert ours.value == pytest.approx(value, abs=case["tol"]), (case["id"], category)
                    assert ours.count == official[-1]


def test_golden_geoaware_subset_is_averaged_over_the_images_that_have_it(of):
    for case in of("geoaware_get_img_result"):
        records = list(subset_records(case))
        protocol = configured("spair/geoaware", precision=case["dtype"])
        scored = protocol.score(records)
        values = {(score.name, score.category): score for score in scored.scores}
        categories = case["outputs"].keys() - {"geo_images"}
        assert {"all", "geo"} < categories
        for key in categories:
            suffix = ", geometry-aware" if key == "geo" else ""
            names = [f"PCK@{alpha:g} per image, box{suffix}" for alpha in protocol.alphas]
            ours = [values[name, "" if key in ("all", "geo") else key] for name in names]
            np.testing.assert_allclose(
                [each.value for each in ours], case["outputs"][key], atol=case["tol"], err_msg=key
            )
            if key == "geo":
                assert ours[0].count == case["outputs"]["geo_images"]


def subset_records(case: dict[str, Any]) -> Iterator[Record]:
    for index, item in enumerate(case["inputs"]["items"]):
        target = numbers(item["gt_kps"], case["dtype"])
        rows = np.arange(len(target))
        yield Record(
            name=str(index),
            category=item["category"],
            arrays={
                "size1": np.array([840, 840]),
                "xy1": target,
                "predicted": numbers(item["pred_kps"], case["dtype"]),
                "visible": np.isin(rows, item["used_points"]),
                "geometry_aware": np.isin(rows, item["geo_aware_idx"]),
                "box1": np.array([0, 0, 0, item["thresholds"]], dtype=case["dtype"]),
            },
        )


# --- HPF ------------------------------------------------------------------------------------------


def test_golden_hpf_counts(of):
    for case in of("hpf_correct_kps"):
        given, wanted = case["inputs"], case["outputs"]["n_correct"]
        found = pck(
            numbers(given["prd_kps_2xn"], case["dtype"]).T,
            numbers(given["trg_kps_2xn"], case["dtype"]).T,
            side=given["pckthres"],
            alphas=[float(alpha) for alpha in wanted],
            comparison="<=",
            precision=case["dtype"],
        )
        assert found.hits.sum(axis=1).tolist() == list(wanted.values()), case["id"]


def test_golden_hpf_average_over_pairs(of):
    for case in of("hpf_evaluator"):
        given, wanted = case["inputs"], case["outputs"]
        hits: list[np.ndarray] = []
        for item in given["items"]:
            predicted, target = (
                numbers(item[key], case["dtype"]).T for key in ("prd_kps_2xn", "trg_kps_2xn")
            )
            side = item["pckthres_original_px"] * item["trg_intratio"]
            part = pck(
                predicted,
                target,
                side=side,
                alphas=[given["alpha"]],
                comparison="<=",
                precision=case["dtype"],
            )
            hits.append(part.hits)
        image = np.repeat(np.arange(len(hits)), [part.shape[1] for part in hits])
        every, categories = np.concatenate(hits, axis=1), [item["pair_class"] for item in given["items"]]
        shares = pck_per_image(every, image, count=len(hits))[0]
        np.testing.assert_allclose(shares, wanted["pair_pck"], atol=case["tol"])
        average = average_pck(every, image, categories)
        assert average.per_image[0] == pytest.approx(wanted["average_over_pairs"], abs=case["tol"])
        means = wanted["class_mean"]
        assert average.macro_per_image[0] == pytest.approx(np.mean(list(means.values())), abs=case["tol"])
        for category, mean in means.items():
            rows = np.array([name == category for name in categories])
            assert shares[rows].mean() == pytest.approx(mean, abs=case["tol"])


def test_golden_hpf_frame_and_threshold_give_what_the_original_image_gives(of):
    """The frame `Downscaled` scales points and box alike, as HPF does before it calls its evaluator."""
    for case in of("hpf_evaluator"):
        records: list[Record] = []
        for index, item in enumerate(case["inputs"]["items"]):
            ratio = item["trg_intratio"]
            longest = round(300 / ratio) if ratio < 1 else 300
            scale = min(1.0, 300 / longest)
            predicted, target = (numbers(item[key], "float64").T for key in ("prd_kps_2xn", "trg_kps_2xn"))
            arrays = {
                "size1": np.array([longest, longest // 2]),
                "xy1": target / scale,
                "predicted": predicted / scale,
                "box1": np.array([0, 0, item["pckthres_original_px"], 0]),
            }
            records.append(Record(name=str(index), category=item["pair_class"], arrays=arrays))
        protocol = configured("spair/hpf", alphas=[case["inputs"]["alpha"]], precision=case["dtype"])
        assert protocol.score(records).scores[0].value == pytest.approx(
            case["outputs"]["average_over_pairs"], abs=case["tol"]
        )


# --- Visual-AI ------------------------------------------------------------------------------------


def test_golden_visual_ai_by_image_and_by_point(of):
    for case in of("visualai_calculate_pck"):
        given = case["inputs"]
        records = [
            Record(
                name=str(index),
                category=category,
                arrays={
                    "size1": np.array([768, 768]),
                    "xy1": numbers(target, case["dtype"]),
                    "predicted": numbers(predicted, case["dtype"]),
                    "visible": np.arange(len(target)) < count,
                    "box1": np.array([0, 0, side, 0], dtype=case["dtype"]),
                },
            )
            for index, (target, predicted, count, side, category) in enumerate(
                zip(
                    given["trg_kps"],
                    given["matches"],
                    given["n_pts"],
                    given["pckthres"],
                    given["categories"],
                    strict=True,
                )
            )
        ]
        averages: dict[str, Average] = {"image": "per image", "point": "per point"}
        average = averages[given["by"]]
        alphas = {key: float(key.removeprefix("nn_pck")) for key in case["outputs"]}
        protocol = configured(
            "spair/visual_ai",
            alphas=list(alphas.values()),
            average=average,
            frame=Original(),
            precision=case["dtype"],
        )
        values = scores(protocol, records)
        for key, alpha in alphas.items():
            for category, value in case["outputs"][key].items():
                ours = values[f"PCK@{alpha:g} {average}, box", "" if category == "all" else category]
                assert ours == pytest.approx(value, abs=case["tol"]), (case["id"], key, category)


# --- DistillDIFT ----------------------------------------------------------------------------------


def test_golden_distilldift_counts_by_image_and_by_box(of):
    for case in of("distilldift_pck"):
        given, wanted = case["inputs"], case["outputs"]
        predicted, target = (numbers(given[key], case["dtype"])[:, ::-1] for key in ("pred_yx", "target_yx"))
        y, x, height, width = given["bbox_y_x_h_w"]
        sides = {
            "n_correct_img": image_side(np.array(given["image_size"])),
            "n_correct_bbox": box_side(np.array([x, y, width, height])),
        }
        assert sides.keys() == wanted.keys()
        for key, side in sides.items():
            found = pck(
                predicted,
                target,
                side=side,
                alphas=[float(alpha) for alpha in wanted[key]],
                comparison="<=",
                precision=case["dtype"],
            )
            assert found.hits.sum(axis=1).tolist() == list(wanted[key].values()), (case["id"], key)


# --- DIFT -----------------------------------------------------------------------------------------


def test_golden_dift_script_from_features_to_printed_lines(of):
    for case in of("dift_spair_script"):
        given = case["inputs"]
        maps = {
            name: torch.from_numpy(numbers(values, case["dtype"]))
            for name, values in given["features_chw"].items()
        }
        records = [dift_record(name, pair, maps) for name, pair in given["pair_annotations"].items()]
        protocol = configured("spair/dift")
        values = scores(protocol, records)
        assert case["outputs"]["stdout"]
        for line in case["outputs"]["stdout"]:
            parts = re.fullmatch(r"(\w+) (per image|per point) PCK@0\.1: ([\d.]+)", line)
            assert parts is not None, line
            category, average, percent = parts.groups()
            ours = values[f"PCK@0.1 {average}, box", "" if category == "All" else category]
            assert 100 * ours == pytest.approx(float(percent), abs=case["tol"]), line


def dift_record(name: str, pair: dict[str, Any], maps: dict[str, torch.Tensor]) -> Record:
    size0, size1 = ((pair[key][1], pair[key][0]) for key in ("src_imsize", "trg_imsize"))
    x1, y1, x2, y2 = pair["trg_bndbox"]
    predicted = dift(
        maps[pair["src_imname"]],
        maps[pair["trg_imname"]],
        torch.tensor(pair["src_kps"], dtype=torch.float32),
        size0=size0,
        size1=size1,
    )
    return Record(
        name=name,
        category=pair["category"],
        arrays={
            "size1": np.array(size1),
            "xy1": np.array(pair["trg_kps"], dtype=np.float64),
            "predicted": predicted.numpy(),
            "box1": np.array([x1, y1, x2 - x1, y2 - y1]),
        },
    )


# --- sides ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaders(goldens: Path) -> dict[str, dict[str, Any]]:
    every = json.loads((goldens / "metrics.json").read_text(encoding="utf-8"))["cases"]
    return {case["id"]: case for case in every if case["group"] == "semantic_loader"}


def test_golden_side_of_pf_willow_is_the_extent_of_the_keypoints(loaders):
    case = loaders["hpf_pfwillow_loader"]
    wanted = case["outputs"]
    width, height = case["inputs"]["image_wh"]
    for keypoints, box, image in zip(
        wanted["trg_kps_2xn"], wanted["pckthres_bbox"], wanted["pckthres_img"], strict=True
    ):
        assert keypoint_side(numbers(keypoints, "float64").T) == pytest.approx(box, abs=case["tol"])
        assert image_side((height, width)) == image


def test_golden_sides_of_pf_pascal(loaders):
    case = loaders["hpf_pfpascal_loader"]
    given, wanted = case["inputs"], case["outputs"]
    for pair, box, image in zip(given["pairs"], wanted["pckthres_bbox"], wanted["pckthres_img"], strict=True):
        x1, y1, x2, y2 = given["bbox"][pair[1]][0]
        assert box_side(np.array([x1, y1, x2 - x1, y2 - y1])) == box
        assert image_side(tuple(given["image_hw"][pair[1]])) == image


def test_golden_sides_of_spair_in_the_padded_square(loaders):
    case = loaders["geoaware_load_spair_data"]
    sides = [
        box_side(np.array([0, 0, *place_box(pair)])) for pair in case["inputs"]["pair_annotations"].values()
    ]
    np.testing.assert_allclose(sides, case["outputs"]["thresholds"], atol=case["tol"])


def place_box(pair: dict[str, Any]) -> np.ndarray:
    width, height = pair["trg_imsize"][:2]
    x1, y1, x2, y2 = pair["trg_bndbox"]
    return PaddedSquare(side=840)((height, width)).lengths(np.array([x2 - x1, y2 - y1]))
