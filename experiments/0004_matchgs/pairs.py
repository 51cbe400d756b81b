"""Pairs of views of Gaussian rooms, rendered once: one pair of images, labels of three kinds."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from homolog.core.atomic import atomic
from homolog.core.coords import normalised_to_pixel
from homolog.core.dense import DenseField
from homolog.core.image import Image
from homolog.core.samples import PairSample, ShownGaussians
from homolog.synthetic.correspondence import DenseTruth, dense_truth, truth_from_depth
from homolog.synthetic.rendering.view import View
from homolog.synthetic.splats.pairs import SplatPair, SplatPairs
from homolog.synthetic.splats.views import without_edges

Kind = Literal["plane", "expected", "exact"]
"""Depth of the blended plane; mean depth of the blended centres; the surfaces that the Gaussians lie on."""

KINDS: tuple[Kind, ...] = get_args(Kind)
EDGE = 2
"""Pixels around steps of the depth without labels; the source's default."""


def render(folder: Path, *, count: int, size: int, gaussians: int, seed: int) -> None:
    """Write what is missing of so many pairs."""
    source = SplatPairs(count=count, size=size, seed=seed, gaussians=gaussians)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = _path(folder, index)
        if path.exists():
            continue
        tensors = _tensors(source.pair(index))
        with atomic(path) as temporary:
            save_file(tensors, temporary)


class Stored:
    """The pairs of a folder with labels of one kind."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Count what is there."""
        self._folder = folder
        self._kind: Kind = kind
        self._count = len(list(folder.glob("*.safetensors")))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count

    def __getitem__(self, index: int) -> PairSample:
        """Read one."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        found = load_file(_path(self._folder, index))
        image0, image1 = (Image(pixels=found[f"image{side}"].float() / 255) for side in (0, 1))
        return PairSample(
            image0=image0,
            image1=image1,
            dense0=_field(found, self._kind, 0),
            dense1=_field(found, self._kind, 1),
            gaussians=ShownGaussians(id0=found["id0"], id1=found["id1"], attributes=found["attributes"]),
            name=f"{self._kind}-{index}",
        )


def label_errors(folder: Path, kind: Kind) -> np.ndarray:
    """Return how many pixels the labels of a kind are from the exact ones, wherever both exist."""
    errors: list[np.ndarray] = []
    for index in range(len(Stored(folder, kind))):
        found = load_file(_path(folder, index))
        for side in (0, 1):
            given, exact = (_places(found, name, side) for name in (kind, "exact"))
            away = (given - exact).square().sum(0).sqrt()
            errors.append(away[away.isfinite()].numpy())
    return np.concatenate(errors)


def label_share(folder: Path, kind: Kind) -> float:
    """Return the mean share of pixels with a label."""
    source = Stored(folder, kind)
    shares = [
        float((field.confidence > 0).float().mean())
        for sample in (source[index] for index in range(len(source)))
        for field in (sample.dense0, sample.dense1)
        if field is not None
    ]
    return float(np.mean(shares))


def _tensors(pair: SplatPair) -> dict[str, Tensor]:
    sample = pair.sample()
    shown, mesh = sample.gaussians, pair.mesh
    if shown is None or mesh is None:
        raise RuntimeError("expected a synthetic room")
    view0, view1 = pair.viewpoints
    far0, far1 = (without_edges(each.expected_depth, radius=EDGE) for each in pair.renderings)
    labels: dict[Kind, tuple[DenseTruth, DenseTruth]] = {
        "plane": pair.truths,
        "expected": truth_from_depth(far0, view0, far1, view1, two_way=1.0),
        "exact": dense_truth(View.of(mesh, view0), View.of(mesh, view1), two_way=1.0),
    }
    tensors = {"id0": shown.id0, "id1": shown.id1, "attributes": shown.attributes}
    for side, image in enumerate((sample.image0, sample.image1)):
        tensors[f"image{side}"] = (image.pixels * 255 + 0.5).to(torch.uint8)
        for kind, truths in labels.items():
            tensors[f"{kind}{side}"] = truths[side].field().grid[0].contiguous()
    return tensors


def _field(found: dict[str, Tensor], kind: Kind, side: int) -> DenseField:
    grid = found[f"{kind}{side}"][None]
    return DenseField(grid=grid, confidence=grid.isfinite().all(dim=1).float())


def _places(found: dict[str, Tensor], kind: str, side: int) -> Tensor:
    grid = found[f"{kind}{side}"]
    size = (int(grid.shape[1]), int(grid.shape[2]))
    return normalised_to_pixel(grid.permute(1, 2, 0), size).permute(2, 0, 1)


def _path(folder: Path, index: int) -> Path:
    return folder / f"pair-{index:04d}.safetensors"
