"""Sources that are quick to make and depend on their index only, and a way to write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.image import Image
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks
from homolog.synthetic.shards.writing import Written, write_shards


def _image(random: np.random.Generator, size: tuple[int, int], name: str) -> Image:
    blocks = random.integers(0, 256, (3, -(-size[0] // 8), -(-size[1] // 8)))
    pixels = np.kron(blocks, np.ones((8, 8), np.int64))[:, : size[0], : size[1]]
    return Image(pixels=torch.from_numpy(pixels).float() / 255, name=name)


def _field(random: np.random.Generator, size: tuple[int, int], reference: tuple[int, int]) -> DenseField:
    xy = random.uniform(-0.5, (reference[1] - 0.5, reference[0] - 0.5), (*size, 2))
    known = torch.from_numpy(random.random(size) < 0.6)
    grid = pixel_to_normalised(torch.from_numpy(xy).float(), reference).masked_fill(
        ~known[..., None], torch.nan
    )
    return DenseField(grid=grid.permute(2, 0, 1)[None], confidence=known.float()[None])


class Pairs:
    """Pairs that have everything a pair can have; image 0 is 40 x 32 and image 1 is 24 x 48."""

    def __init__(self, count: int = 7, seed: int = 5) -> None:
        self.count, self.seed = count, seed
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PairSample:
        self.asked.append(index)
        random = np.random.default_rng([self.seed, index])
        size0, size1, name = (40, 32), (24, 48), f"made/{index}"
        points = torch.from_numpy(random.uniform(0, 24, (2, 5, 2)).astype(np.float32))
        turn, _ = np.linalg.qr(random.standard_normal((3, 3)))
        K = torch.tensor([[30.1, 0, 15.5], [0, 30.1, 19.5], [0, 0, 1]])
        depth = torch.from_numpy(random.uniform(1, 9, size0).astype(np.float32))
        depth[:3] = torch.nan
        return PairSample(
            image0=_image(random, size0, f"{name}/0"),
            image1=_image(random, size1, f"{name}/1"),
            xy0=points[0],
            xy1=points[1],
            visible=torch.from_numpy(random.random(5) < 0.5),
            groups={"hard": torch.from_numpy(random.random(5) < 0.5)},
            box0=torch.from_numpy(random.uniform(0, 9, 4).astype(np.float32)),
            box1=torch.from_numpy(random.uniform(0, 9, 4).astype(np.float32)),
            category="thing",
            camera0=Camera(K=K),
            camera1=Camera(K=K * 0.7),
            pose=RelativePose(
                R=torch.from_numpy(turn.astype(np.float32)),
                t=torch.from_numpy(random.standard_normal(3).astype(np.float32)),
            ),
            homography=torch.from_numpy(random.standard_normal((3, 3))),
            dense0=_field(random, size0, size1),
            dense1=_field(random, size1, size0),
            depth0=depth,
            depth1=torch.full(size1, torch.inf),
            mask0=torch.from_numpy(random.random(size0) < 0.5),
            mask1=torch.from_numpy(random.random(size1) < 0.5),
            name=name,
            facts={"overlap": "0.5", "note": "a “quoted” word"},
        )


class Videos:
    """Videos of 4 frames of 24 x 32 with 6 tracks, one of which has a place that nobody knows."""

    def __init__(self, count: int = 3, seed: int = 5) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> VideoSample:
        random = np.random.default_rng([self.seed, index])
        xy = torch.from_numpy(random.uniform(0, 24, (6, 4, 2)).astype(np.float32))
        visible = torch.from_numpy(random.random((6, 4)) < 0.7)
        xy[0, 1], visible[0, 1] = torch.nan, False
        tracks = Tracks(xy=xy, visible=visible, query_frame=torch.from_numpy(random.integers(0, 4, 6)))
        frames = [_image(random, (24, 32), f"{index}/{number}") for number in range(4)]
        return VideoSample(frames=frames, tracks=tracks, name=f"video/{index}")


@pytest.fixture
def pairs() -> type[Pairs]:
    return Pairs


@pytest.fixture
def videos() -> type[Videos]:
    return Videos


Write = Callable[..., Written]


@pytest.fixture
def write() -> Write:
    """Write a source of this file in shards of three, described by its class, count and seed."""

    def call(source: Any, folder: Path, **options: Any) -> Written:
        config = {"_target_": type(source).__name__, "count": source.count, "seed": source.seed}
        chosen: dict[str, Any] = {"per_shard": 3, **options}
        return write_shards(lambda: source, folder=folder, config=config, **chosen)

    return call


@pytest.fixture
def folder(pairs: type[Pairs], write: Write, tmp_path: Path) -> Path:
    """A folder with three shards of seven pairs."""
    write(pairs(), tmp_path)
    return tmp_path


@pytest.fixture
def content() -> Callable[[Path], dict[str, bytes]]:
    """Everything in a folder: names and bytes."""
    return lambda folder: {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
