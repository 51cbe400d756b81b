"""The products that need no download, on a photo and a perspective view of it: the truth is known everywhere."""

import math
from dataclasses import dataclass

import pytest
import torch
from skimage import data
from torch import Tensor

from homolog.core.coords import inside, pixel_grid, pixel_to_normalised
from homolog.core.errors import CapabilityError
from homolog.core.image import Image, crop, resize
from homolog.core.io import as_image
from homolog.core.protocols import Correspondence, Matcher
from homolog.core.sampling import warp_maps
from homolog.core.tracks import Queries
from homolog.matchers.sparse import SparseCorrespondence, SparseMatcher
from homolog.matchers.tracking import FrameByFrame
from homolog.zoo import load_matcher

DENSE = ["mini", "xfeat"]
SPARSE = ["xfeat_lighterglue", "sift"]
HALF_A_CELL = 4.0  # the maps of the dense products have a stride of 8 pixels


def apply(homography: Tensor, xy: Tensor) -> Tensor:
    at = torch.cat((xy.double(), torch.ones(len(xy), 1, dtype=torch.float64)), dim=1) @ homography.T
    return at[:, :2] / at[:, 2:]


@dataclass(frozen=True)
class View:
    photo: Image
    view: Image
    homography: Tensor
    """From pixels of the photo to pixels of the view."""

    def error(self, xy0: Tensor, xy1: Tensor) -> Tensor:
        return (apply(self.homography, xy0) - xy1).norm(dim=1)


@pytest.fixture(scope="module")
def seen() -> View:
    """The photo, 512 x 512, and a view of 400 x 480 that is turned by 6 degrees, nearer and a little tilted."""
    photo, size = as_image(data.astronaut()), (400, 480)
    cosine, sine = math.cos(math.radians(6)) / 1.1, math.sin(math.radians(6)) / 1.1
    to_photo = torch.tensor(
        [[cosine, -sine, 60.0], [sine, cosine, 20.0], [1e-4, -1e-4, 1]], dtype=torch.float64
    )
    places = apply(to_photo, pixel_grid(size))
    grid = pixel_to_normalised(places, photo.size).T.reshape(1, 2, *size).float()
    pixels = warp_maps(photo.pixels[None], grid, mode="bicubic", padding="border")[0].clamp(0, 1)
    return View(photo=photo, view=Image(pixels=pixels), homography=torch.linalg.inv(to_photo))


@pytest.fixture(scope="module", params=DENSE + SPARSE)
def product(request: pytest.FixtureRequest) -> Matcher:
    return load_matcher(request.param, device="cpu")


@pytest.fixture(scope="module", params=DENSE)
def dense_product(request: pytest.FixtureRequest) -> Matcher:
    return load_matcher(request.param, device="cpu")


def check_matches(found: Correspondence, seen: View) -> None:
    assert isinstance(found, SparseCorrespondence)
    matches = found.matches()
    for side in (0, 1):
        keypoints, index = getattr(found, f"keypoints{side}"), getattr(matches, f"index{side}")
        assert torch.equal(keypoints[index], getattr(matches, f"xy{side}"))
    assert len(matches) >= 50
    assert seen.error(matches.xy0, matches.xy1).median() < 2
    assert torch.equal(matches.score, matches.score.sort(descending=True).values)


def test_matches_lie_where_the_homography_says(product, seen):
    check_matches(product.match(seen.photo, seen.view), seen)


def test_matches_come_in_pixels_of_the_original_of_a_resized_crop(product, seen):
    part = resize(crop(seen.photo, x=30, y=10, size=(460, 470)), (500, 450))
    check_matches(product.match(part, seen.view), seen)


def test_transferred_points_are_within_half_a_cell_of_the_truth(dense_product, seen):
    xy0 = pixel_grid((20, 20)) * 25 + 12
    truth = apply(seen.homography, xy0)
    visible = inside(truth, seen.view.size)
    found = dense_product.match(seen.photo, seen.view).transfer(xy0)
    error = (truth - found.xy).norm(dim=1)[visible]
    assert error.median() < HALF_A_CELL
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    sure = found.confidence[visible] > found.confidence[visible].median()
    assert error[sure].mean() < error[~sure].mean()


@pytest.mark.parametrize("name", SPARSE)
def test_transfer_with_sparse_products_is_an_error(name, seen):
    found = load_matcher(name, device="cpu").match(seen.photo, seen.view)
    assert not found.can_transfer
    with pytest.raises(CapabilityError, match="finds sparse matches only"):
        found.transfer([[1.0, 2.0]])


def test_an_image_without_any_structure_has_no_matches(product, seen):
    gray = Image(pixels=torch.full((3, 96, 128), 0.5))
    assert len(product.match(gray, seen.view).matches()) == 0
    assert len(product.match(seen.view, gray).matches()) == 0


def test_a_matcher_that_sees_pairs_only_transfers_and_tracks_points(seen):
    """Its head compares both images first, so it cannot describe a point of one image."""
    matcher = load_matcher("mini_semidense", "resize=256", device="cpu")
    xy0 = torch.tensor([[200.0, 150.0], [260.0, 300.0]])
    assert isinstance(matcher, SparseMatcher)
    moved = matcher.match(seen.photo, seen.view).transfer(xy0)
    with pytest.raises(CapabilityError, match=r"call match\(image0, image1\)\.transfer"):
        matcher.describe(matcher.extract(seen.photo), xy0)
    queries = Queries(xy=xy0, frame=torch.tensor([0, 0]))
    tracks = FrameByFrame(matcher, visible_above=None, cycle=8.0).track([seen.photo, seen.view], queries)
    assert torch.equal(tracks.xy[:, 1], moved.xy)
