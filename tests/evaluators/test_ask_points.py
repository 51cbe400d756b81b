"""Asking for keypoints: what is asked, what is recorded, and how often an image is looked at."""

from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from homolog.core.camera import Camera
from homolog.core.coords import resize_affine
from homolog.core.dense import Transfer
from homolog.core.errors import CapabilityError, ConfigError, ShapeError
from homolog.core.image import Image, crop, resize
from homolog.core.io import as_image
from homolog.core.keypoints import Matches
from homolog.core.protocols import ImageLike, Points
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks
from homolog.evaluators.benchmark import Benchmark, Predictor
from homolog.evaluators.image_sizes import Original
from homolog.evaluators.keypoint_pck import PckProtocol
from homolog.evaluators.predictors import PointPredictor
from homolog.matchers.sparse import SparseMatcher
from homolog.zoo import load_matcher


class Shifting:
    """Answers every point with one shifted by (3, -1), and remembers what it was asked."""

    can_transfer = True

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []

    def match(self, image0: ImageLike, image1: ImageLike) -> "Shifting":
        return self

    def matches(self, limit: int | None = None) -> Matches:
        return Matches(xy0=torch.zeros(0, 2), xy1=torch.zeros(0, 2), score=torch.zeros(0))

    def transfer(self, xy0: Points) -> Transfer:
        assert isinstance(xy0, torch.Tensor)
        self.asked.append(xy0)
        return Transfer(xy0 + torch.tensor([3.0, -1.0]), torch.linspace(0, 1, len(xy0)))


class Sloppy(Shifting):
    def transfer(self, xy0: Points) -> Transfer:
        return Transfer(torch.as_tensor(xy0)[1:], torch.zeros(len(xy0)))


def blank(height: int, width: int) -> Image:
    return Image(pixels=torch.zeros(3, height, width))


def sample(**more) -> PairSample:
    given: dict[str, Any] = {
        "image0": blank(10, 20),
        "image1": blank(30, 25),
        "xy0": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        "xy1": torch.tensor([[4.0, 1.0], [0.0, 0.0], [8.0, 6.0]]),
        "name": "a-b",
        **more,
    }
    return PairSample(**given)


def test_it_is_a_predictor():
    assert isinstance(PointPredictor(), Predictor)


def test_all_points_are_asked_and_everything_known_is_recorded():
    record = PointPredictor()(
        Shifting(),
        sample(
            category="cat",
            box1=torch.tensor([0.0, 1.0, 20.0, 10.0]),
            groups={"geometry_aware": torch.tensor([True, False, True])},
            facts={"truncation": "1"},
        ),
    )
    assert (record.name, record.category, dict(record.facts)) == ("a-b", "cat", {"truncation": "1"})
    assert record["size0"].tolist() == [10, 20]
    assert record["size1"].tolist() == [30, 25]
    assert record["predicted"].tolist() == [[4, 1], [6, 3], [8, 5]]
    assert record["confidence"].tolist() == [0, 0.5, 1]
    assert record["visible"].tolist() == [True] * 3
    assert record["geometry_aware"].tolist() == [True, False, True]
    assert record["box1"].tolist() == [0, 1, 20, 10]
    assert "box0" not in record
    assert record["xy1"].dtype == np.float32


def test_only_points_seen_in_both_images_are_asked_for_and_recorded():
    matcher = Shifting()
    hidden = sample(
        visible=torch.tensor([True, False, True]),
        groups={"geometry_aware": torch.tensor([False, True, True])},
    )
    record = PointPredictor()(matcher, hidden)
    assert [asked.tolist() for asked in matcher.asked] == [[[1, 2], [5, 6]]]
    assert record["xy1"].tolist() == [[4, 1], [8, 6]]
    assert record["predicted"].tolist() == [[4, 1], [8, 5]]
    assert record["geometry_aware"].tolist() == [False, True]
    scored = PckProtocol(
        name="t",
        alphas=[0.01],
        comparison="<=",
        side="image",
        average="per point",
        frame=Original(),
        precision="float64",
    ).score([record])
    assert scored.scores[0].value == 0.5


def test_a_pair_without_category_has_an_empty_one():
    assert PointPredictor()(Shifting(), sample()).category == ""


def test_double_precision_stays():
    exact = torch.tensor([[1 / 3, 2.0]], dtype=torch.float64)
    record = PointPredictor()(Shifting(), sample(xy0=exact, xy1=exact))
    assert record["xy0"].dtype == np.float64
    assert record["xy0"][0, 0] == 1 / 3


def test_sizes_are_those_of_the_files():
    small = resize(blank(100, 200), (50, 60))
    record = PointPredictor()(
        Shifting(),
        sample(
            image1=small,
            image0=Image(pixels=torch.zeros(3, 4, 6), to_original=resize_affine((40, 30), (4, 6))),
        ),
    )
    assert record["size1"].tolist() == [100, 200]
    assert record["size0"].tolist() == [40, 30]


def test_a_matcher_that_cannot_transfer_says_so():
    image = resize(as_image(data.astronaut()), (128, 128))
    pair = sample(image0=image, image1=image)
    with pytest.raises(CapabilityError, match="sparse matches only"):
        PointPredictor()(load_matcher("xfeat_lighterglue", device="cpu"), pair)


def test_an_answer_to_another_question_is_refused():
    with pytest.raises(ShapeError, match="expected 3 places"):
        PointPredictor()(Sloppy(), sample())


def test_samples_without_points_are_refused():
    with pytest.raises(ConfigError, match="choose a semantic task"):
        PointPredictor()(Shifting(), sample(xy0=None, xy1=None, camera0=Camera(K=torch.eye(3))))
    video = VideoSample(
        frames=[blank(4, 4)],
        tracks=Tracks(
            xy=torch.zeros(1, 1, 2),
            visible=torch.ones(1, 1, dtype=torch.bool),
            query_frame=torch.zeros(1, dtype=torch.long),
        ),
    )
    with pytest.raises(ConfigError, match="choose a semantic task"):
        PointPredictor()(Shifting(), video)


def test_every_image_is_extracted_once_however_many_pairs_share_it():
    """Twelve pairs of four images, read anew for every pair as data sets do."""
    photo = resize(as_image(data.astronaut()), (160, 160))
    xy = torch.tensor([[30.0, 40.0], [60.0, 70.0]])

    def image(index: int) -> Image:
        cut = crop(photo, x=8 * index, y=0, size=(128, 128))
        return Image(pixels=cut.pixels.clone(), name=f"{index}.jpg")

    names = [(first, second) for first in range(4) for second in range(4) if first != second]

    class Pairs:
        def __len__(self) -> int:
            return len(names)

        def __getitem__(self, index: int, /) -> PairSample:
            first, second = names[index]
            shift = torch.tensor([8.0 * (first - second), 0.0])
            return PairSample(
                image0=image(first), image1=image(second), xy0=xy, xy1=xy + shift, name=str(index)
            )

    matcher = load_matcher("mini", device="cpu")
    seen: list[int] = []
    assert isinstance(matcher, SparseMatcher)
    assert isinstance(matcher.backbone, nn.Module)
    matcher.backbone.register_forward_hook(
        lambda module, given, made: seen.append(len(given[0].flatten(0, 1)))
    )
    protocol = PckProtocol(
        name="t",
        alphas=[0.1],
        comparison="<=",
        side="image",
        average="per image",
        frame=Original(),
        precision="float64",
    )
    task = Benchmark(
        kind="semantic", data=Pairs(), predict=PointPredictor(), protocols={"t": protocol}, headline="t"
    )
    scored = task.score(task.run(matcher))["t"]
    assert sum(seen) == 4
    assert scored.scores[0].value > 0.9
    assert scored.scores[0].count == 12
