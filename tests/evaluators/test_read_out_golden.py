"""Read-outs and the padded square against the official functions: groups `semantic_nn` and `semantic_resize`."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from homolog.evaluators.image_sizes import PaddedSquare
from homolog.evaluators.read_out import (
    align_corners,
    distilldift,
    geoaware_descriptors,
    geoaware_patch,
    geoaware_soft_patch,
    geoaware_transfer,
    hpf,
    visual_ai_corners,
    visual_ai_kernel_soft,
    visual_ai_nearest,
    visual_ai_soft,
)

GROUPS = ("semantic_nn", "semantic_resize")
FAMILIES = (
    *("geoaware_match_", "geoaware_match60_", "geoaware_get_flow_", "geoaware_patch_idx_edges"),
    *("geoaware_preprocess_kps_pad_", "geoaware_resize_canvas_"),
    *("hpf_predict_kps", "visualai_matching", "distilldift_correspondence_"),
)


@pytest.fixture(scope="module")
def of(golden_cases: Any) -> Any:
    return golden_cases(GROUPS, FAMILIES)


def tensor(value: Any, dtype: str = "float32") -> torch.Tensor:
    return torch.tensor(value, dtype=getattr(torch, dtype))


def near(case: dict[str, Any], ours: Any, wanted: Any) -> None:
    """Compare in pixels; a suggested tolerance below what float32 resolves there is relative, as the file says."""
    ours, wanted = np.asarray(ours, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    resolution = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    allowed = np.maximum(case["tol"], resolution)
    assert (np.abs(ours - wanted) <= allowed).all(), (case["id"], np.abs(ours - wanted).max())


# --- GeoAware-SC ----------------------------------------------------------------------------------


def recipe(seed: int, channels: int) -> torch.Tensor:
    """The descriptors of a `match60` case, as its recipe says."""
    coarse = np.random.RandomState(seed).randint(-64, 65, (1, channels, 10, 10)) / 64
    fine = F.interpolate(
        torch.from_numpy(coarse.astype(np.float32)), size=(60, 60), mode="bilinear", align_corners=False
    )
    return fine[0].flatten(1).T


def check_match(case: dict[str, Any], descriptors0: torch.Tensor, descriptors1: torch.Tensor) -> None:
    given, wanted = case["inputs"], case["outputs"]
    patches, side = given["num_patches"], given["ANNO_SIZE"]
    xy0 = tensor(given["kps1_xy"])
    assert geoaware_patch(xy0, patches=patches, side=side).tolist() == wanted["patch_idx"]
    found = geoaware_transfer(
        descriptors0,
        descriptors1,
        xy0,
        patches=patches,
        side=side,
        window=given["SOFT_EVAL_WINDOW"] if given["SOFT_EVAL"] else None,
    )
    near(case, found, wanted["kps_1_to_2_xy"])


def test_golden_geoaware_small_maps(of):
    for case in of("geoaware_match_"):
        pair = [tensor(case["inputs"][key]) for key in ("desc1", "desc2")]
        if case["inputs"]["l2_normalised"]:
            pair = [geoaware_descriptors(each) for each in pair]
        check_match(case, *pair)


def test_golden_geoaware_maps_of_60(of):
    found = of("geoaware_match60_")
    windows = {case["inputs"]["SOFT_EVAL_WINDOW"] for case in found if case["inputs"]["SOFT_EVAL"]}
    assert min(windows) < 0 < max(windows)
    for case in found:
        given = case["inputs"]
        pair = [recipe(given[seed], given["C"]) for seed in ("seed1", "seed2")]
        check_match(case, *(geoaware_descriptors(each) for each in pair))


def test_golden_geoaware_flow_of_a_whole_map(of):
    for case in of("geoaware_get_flow_"):
        given = case["inputs"]
        patches = given["num_patches"]
        found = geoaware_soft_patch(
            tensor(given["corr_src_by_trg"]), patches=patches, window=given["flow_window"]
        )
        near(case, found.reshape(patches, patches, 2), case["outputs"]["flow_src_y_src_x_xy"])


def test_golden_geoaware_patches_at_the_edges(of):
    for case in of("geoaware_patch_idx_edges"):
        given = case["inputs"]
        found = geoaware_patch(
            tensor(given["kps1_xy"], case["dtype"]), patches=given["num_patches"], side=given["ANNO_SIZE"]
        )
        assert found.tolist() == case["outputs"]["patch_idx"]


def test_golden_geoaware_padded_keypoints(of):
    for case in of("geoaware_preprocess_kps_pad_"):
        given, wanted = case["inputs"], case["outputs"]
        keypoints = np.array(given["kps_x_y_vis"], dtype=case["dtype"])
        place = PaddedSquare(side=given["size"])((given["img_height"], given["img_width"]))
        assert place.scale == pytest.approx((wanted["scale"], wanted["scale"]), rel=1e-12)
        assert place.offset == (wanted["offset_x"], wanted["offset_y"])
        # Official code multiplies by the flag afterwards, to hide what is invisible: 0.5 halves coordinates.
        flag = keypoints[:, 2:]
        near(case, place.points(keypoints[:, :2]) * flag, np.array(wanted["kps"])[:, :2])


def test_golden_geoaware_canvas(of):
    for case in of("geoaware_resize_canvas_"):
        given, wanted = case["inputs"], case["outputs"]
        square = PaddedSquare(side=given["target_res"])
        assert square.content((given["height"], given["width"])) == (
            tuple(wanted["content_rows_first_last_plus1"]),
            tuple(wanted["content_cols_first_last_plus1"]),
        )
        assert wanted["canvas_shape"][:2] == [square.side, square.side]


# --- the others -----------------------------------------------------------------------------------


def test_golden_hpf_receptive_fields(of):
    for case in of("hpf_predict_kps"):
        given = case["inputs"]
        found = hpf(
            tensor(given["confidence_ts"]),
            tensor(given["src_box"]),
            tensor(given["trg_box"]),
            tensor(given["src_kps_2xn"]).T,
        )
        near(case, found.T, case["outputs"]["pred_2xn"])


def test_golden_visual_ai_four_read_outs(of):
    for case in of("visualai_matching"):
        given, wanted = case["inputs"], dict(case["outputs"])
        map0, map1 = tensor(given["src_featmap"]), tensor(given["trg_featmap"])
        image = tuple(given["img_hw"])
        cells0, cells1 = ((each.shape[1], each.shape[2]) for each in (map0, map1))
        cell0 = align_corners(tensor(given["src_kps_xy"]), image, cells0)
        near(case, cell0, wanted.pop("query_in_featmap")[0])
        ours = {
            "nn_xy": visual_ai_nearest(map0, map1, cell0),
            "bilinear_xy": visual_ai_corners(map0, map1, cell0),
            "softmax_0.04_xy": visual_ai_soft(map0, map1, cell0),
            "kernelsoftmax_0.04_7_xy": visual_ai_kernel_soft(map0, map1, cell0),
        }
        assert ours.keys() == wanted.keys()
        for key, cells in ours.items():
            near(case, align_corners(cells, cells1, image), wanted[key][0])


def test_golden_distilldift_with_and_without_window(of):
    found = of("distilldift_correspondence_")
    assert {case["inputs"]["window_softargmax"] for case in found} == {False, True}
    for case in found:
        given = case["inputs"]
        size0, size1 = (tuple(reversed(given[key])) for key in ("source_size_wh", "target_size_wh"))
        ours = distilldift(
            tensor(given["src_feat"]),
            tensor(given["trg_feat"]),
            tensor(given["src_points_yx"]).flip(1),
            size0=size0,
            size1=size1,
            soft=given["window_softargmax"],
        )
        near(case, ours.flip(1), case["outputs"]["pred_yx"])
