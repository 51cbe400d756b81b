"""Ground-truth matches and dual softmax give the numbers of the official code."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, pixel_grid
from homolog.training.ground_truth import GroundTruthMatches, matches_from_depth, matches_from_homography
from homolog.training.losses.sparse import assignment_loss, dual_softmax_loss

Case = dict[str, Any]
HALF = 0.5


@pytest.fixture(scope="module")
def cases(goldens: Path) -> list[Case]:
    found = json.loads((goldens / "gt_matches.json").read_text(encoding="utf-8"))["cases"]
    assert {case["kind"] for case in found} == {"homography", "depth"}
    return found


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def keypoints(case: Case) -> tuple[Tensor, Tensor]:
    return double(case["keypoints0"]) - HALF, double(case["keypoints1"]) - HALF


def labels(case: Case) -> GroundTruthMatches:
    """What homolog says of a case."""
    if case["kind"] == "homography":
        shift = double([[1, 0, HALF], [0, 1, HALF], [0, 0, 1]])
        homography = torch.linalg.inv(shift) @ double(case["H_0to1"]) @ shift
        return matches_from_homography(
            *keypoints(case), homography, positive=float(case["pos_th"]), negative=float(case["neg_th"])
        )
    K = double(case["K"])
    K[:2, 2] -= HALF
    pose = RelativePose(R=double(case["R_0to1"]), t=double(case["t_0to1"]))
    normal, distance = double(case["depth0"]["normal"]), case["depth0"]["distance"]
    normal1 = pose.R @ normal
    width, height = case["image_size"]
    planes = ((normal, distance, "depth0"), (normal1, distance + float(normal1 @ pose.t), "depth1"))
    depth0, depth1 = (
        plane_depth(n, d, K, (height, width), case[name]["invalid_box_y0y1x0x1"]) for n, d, name in planes
    )
    return matches_from_depth(
        *keypoints(case),
        depth0=depth0,
        depth1=depth1,
        camera0=Camera(K=K),
        camera1=Camera(K=K),
        pose=pose,
        positive=float(case["pos_th"]),
        negative=float(case["neg_th"]),
        epipolar=case["epi_th"] is not None,
    )


def plane_depth(normal: Tensor, distance: float, K: Tensor, size: Size, hole: list[int]) -> Tensor:
    rays = Camera(K=K).rays(pixel_grid(size).double())
    depth = (distance / (rays @ normal)).reshape(size)
    y0, y1, x0, x1 = hole
    depth[y0:y1, x0:x1] = 0
    return depth


def test_golden_labels_are_those_of_glue_factory(cases):
    for case in cases:
        found = labels(case)
        told = f"{case['kind']} {case['pos_th']} {case['neg_th']} {case.get('epi_th')}"
        assert found.matches0.tolist() == case["matches0"], told
        assert found.matches1.tolist() == case["matches1"], told


def test_golden_pairs_are_the_same_read_from_both_images(cases):
    for case in cases:
        found = labels(case)
        pairs0 = [[i, j] for i, j in enumerate(found.matches0.tolist()) if j >= 0]
        pairs1 = [[i, j] for j, i in enumerate(found.matches1.tolist()) if i >= 0]
        assert sorted(pairs0) == sorted(pairs1)
        if "positives" in case:
            assert pairs0 == case["positives"]


def test_golden_loss_is_that_of_glue_factory(cases):
    with_loss = [case for case in cases if "nll" in case]
    assert with_loss
    for case in with_loss:
        found = labels(case)
        loss = assignment_loss(
            double(case["log_assignment"])[None], found.matches0[None], found.matches1[None]
        )
        for value, expected in zip(loss, (case["nll"], case["nll_pos"], case["nll_neg"]), strict=True):
            torch.testing.assert_close(value, double([expected]), rtol=1e-6, atol=1e-6)


def test_golden_loss_confidence_and_gradient_are_those_of_xfeat(goldens: Path):
    golden = json.loads((goldens / "mutual_nn.json").read_text(encoding="utf-8"))
    about = golden["dual_softmax_loss"]
    assert about["values"]
    for value in about["values"]:
        descriptor0 = torch.tensor(about["X"], requires_grad=True)
        loss, confidence = dual_softmax_loss(descriptor0, torch.tensor(about["Y"]), scale=value["temp"])
        loss.backward()
        torch.testing.assert_close(loss.detach(), torch.tensor(value["loss"]))
        torch.testing.assert_close(confidence, torch.tensor(value["conf"]))
        torch.testing.assert_close(descriptor0.grad, torch.tensor(value["grad_X"]), rtol=1e-5, atol=1e-5)
