"""SuperPoint against the official implementations, run on a tiny random network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from homolog.backbones.superpoint import (
    DenseSuperPoint,
    Sampling,
    SuperPoint,
    SuperPointNetwork,
    find_peaks,
    sample_descriptors,
    suppress,
)
from homolog.core.keypoints import Keypoints
from homolog.core.weights import load_state, restore

CONVENTIONS: list[tuple[Sampling, str, str]] = [
    ("centre", "", "query_desc_align_false"),
    ("magicleap", "magicleap.", "query_desc_align_true"),
]


@dataclass(frozen=True)
class Golden:
    about: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def config(self) -> dict[str, Any]:
        return self.about["config"]

    @property
    def weights(self) -> dict[str, Tensor]:
        return {
            key.removeprefix("net."): value for key, value in self.tensors.items() if key.startswith("net.")
        }

    def check(self, name: str, ours: Tensor, kind: str) -> None:
        tolerance = self.about["tolerance"][kind]
        bound = 0.0 if tolerance == "exact" else float(tolerance)
        torch.testing.assert_close(ours, self.tensors[name], rtol=0, atol=bound)


@pytest.fixture(scope="module")
def golden(goldens: Path) -> Golden:
    about = json.loads((goldens / "superpoint_tiny.json").read_text(encoding="utf-8"))
    return Golden(about=about, tensors=load_state(goldens / "superpoint_tiny.safetensors"))


@pytest.fixture(scope="module")
def dense(golden: Golden) -> DenseSuperPoint:
    network = SuperPointNetwork(
        channels=golden.config["channels"], descriptor_dim=golden.config["descriptor_dim"]
    )
    restore(network, golden.weights, name="golden")
    with torch.inference_mode():
        return network.eval()(golden.tensors["image"])


@pytest.fixture(scope="module")
def found(golden: Golden, dense: DenseSuperPoint) -> Keypoints:
    peaks = suppress(dense.score, golden.config["nms_radius"])
    return find_peaks(
        peaks[0],
        golden.config["detection_threshold"],
        golden.config["remove_borders"],
        golden.config["max_num_keypoints"],
    )


def test_golden_network_gives_the_official_dense_maps(golden: Golden, dense: DenseSuperPoint) -> None:
    golden.check("dense_scores_before_nms", dense.score, "scores")
    golden.check("dense_descriptors", dense.descriptor, "descriptors")


def test_golden_suppression_leaves_the_official_scores(golden: Golden, dense: DenseSuperPoint) -> None:
    golden.check("scores_after_nms", suppress(dense.score, golden.config["nms_radius"]), "scores")


@pytest.mark.parametrize("prefix", ["", "magicleap."])
def test_golden_keypoints_have_the_official_places_scores_and_order(
    golden: Golden, found: Keypoints, prefix: str
) -> None:
    assert len(found) == golden.about["n_keypoints"] == golden.about["n_keypoints_magicleap"]
    golden.check(f"{prefix}keypoints", found.xy, "keypoints")
    golden.check(f"{prefix}keypoint_scores", found.score, "scores")


@pytest.mark.parametrize(("sampling", "prefix", "query"), CONVENTIONS)
def test_golden_descriptors_are_read_as_each_release_reads_them(
    golden: Golden, dense: DenseSuperPoint, found: Keypoints, sampling: Sampling, prefix: str, query: str
) -> None:
    stride = dense.score.shape[1] // dense.descriptor.shape[2]

    def read(xy: Tensor) -> Tensor:
        return sample_descriptors(dense.descriptor, xy[None], stride=stride, sampling=sampling)[0]

    golden.check(f"{prefix}descriptors", read(found.xy), "descriptors")
    golden.check(query, read(golden.tensors["query_points"]), "descriptors")


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(("sampling", "prefix", "_query"), CONVENTIONS)
def test_golden_detector_loaded_from_disk_returns_the_official_keypoints_best_first(
    golden: Golden, tmp_path: Path, ending: str, sampling: Sampling, prefix: str, _query: str
) -> None:
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(golden.weights, path)
    else:
        save_file(golden.weights, path)
    detector = SuperPoint(
        checkpoint=path,
        channels=golden.config["channels"],
        descriptor_dim=golden.config["descriptor_dim"],
        sampling=sampling,
        nms_radius=golden.config["nms_radius"],
        border=golden.config["remove_borders"],
        threshold=golden.config["detection_threshold"],
        max_keypoints=golden.config["max_num_keypoints"],
    )
    with torch.inference_mode():
        (found,) = detector(golden.tensors["image"].expand(-1, 3, -1, -1))
    official = Keypoints(
        xy=golden.tensors[f"{prefix}keypoints"],
        score=golden.tensors[f"{prefix}keypoint_scores"],
        descriptor=golden.tensors[f"{prefix}descriptors"],
    ).best(None)
    assert found.descriptor is not None
    assert official.descriptor is not None
    assert torch.equal(found.xy, official.xy)
    tolerance = golden.about["tolerance"]
    torch.testing.assert_close(found.score, official.score, rtol=0, atol=tolerance["scores"])
    torch.testing.assert_close(found.descriptor, official.descriptor, rtol=0, atol=tolerance["descriptors"])
