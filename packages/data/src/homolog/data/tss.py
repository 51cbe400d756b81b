"""TSS: pairs with a dense correspondence of their foreground (Taniai et al. 2016)."""

from pathlib import Path
from typing import NamedTuple

import torch

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import DataError
from homolog.core.samples import PairSample
from homolog.data import annotation
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import read_flow
from homolog.data.inventory import Expected, Layout

LAYOUT = Layout(
    name="TSS",
    folder="TSS_CVPR2016",
    home="https://taniai.space/projects/cvpr16_dccs",
    licence="none known to us; images from FG3DCar, JODS and PASCAL, research use",
    obtain="Download TSS_CVPR2016.zip from its home page and unpack it.",
    signature=("FG3DCar", "JODS", "PASCAL"),
    expected=(
        Expected(what="pairs of FG3DCar", pattern="FG3DCar/*/flow1.flo", count=195),
        Expected(what="pairs of JODS", pattern="JODS/*/flow1.flo", count=81),
        Expected(what="pairs of PASCAL", pattern="PASCAL/*/flow1.flo", count=124),
        Expected(what="correspondences", pattern="*/*/flow[12].flo", count=800),
        Expected(what="foregrounds", pattern="*/*/mask[12].png", count=800),
        Expected(what="images", pattern="*/*/image[12].png", count=800),
    ),
    configs=("tss",),
)

SUBSETS = ("FG3DCar", "JODS", "PASCAL")

_RENAMED = {"busd": "bus", "bike": "bicycle", "plane": "aeroplane", "suv": "car"}


class _Direction(NamedTuple):
    folder: str
    query: int
    reference: int


class TssPairs(ListedPairs[_Direction]):
    """Pairs of TSS, each in both directions, as sd-dino's `utils/utils_tss.py` takes them.

    `dense` lives on image 0 and gives the positions of its pixels in image 1; its confidence is 1 where that is
    known and on the foreground, else 0. `mask0` and `mask1` are the foregrounds (white in the files).
    Facts name the `subset`; the category is that of the folder's name.

    sd-dino calls our image 0 the target and image 1 the source: its thresholds are shares of the longer
    side of our image 1. It pads both images to one shape at the right and at the bottom, which moves no
    pixel, so that it is not done here. Pixels are counted from their centres: integer = pixel centre.
    """

    def __init__(self, root: str | Path) -> None:
        """List the pairs: subset by subset, sorted, each from its second image to its first, then back.

        Args:
            root: the folder `TSS_CVPR2016`.

        Raises:
            DataError: the folder is missing or has no pairs.
        """
        self.root = annotation.root_of(root, LAYOUT)
        folders = sorted(
            path.parent.relative_to(self.root).as_posix()
            for subset in SUBSETS
            for path in self.root.glob(f"{subset}/*/flow1.flo")
        )
        if not folders:
            raise DataError(
                f"{self.root}: expected {SUBSETS[0]}/<pair>/flow1.flo and others, found none; "
                f"{LAYOUT.advice()}"
            )
        self._pairs = [
            _Direction(folder, query, reference)
            for folder in folders
            for query, reference in ((2, 1), (1, 2))
        ]

    def _read(self, index: int, direction: _Direction, /) -> PairSample:
        folder = self.root / direction.folder
        image0, image1 = (
            annotation.read_sized_image(folder / f"image{number}.png", None, folder, LAYOUT.advice())
            for number in direction[1:]
        )
        mask0, mask1 = (
            _foreground(folder / f"mask{number}.png", image.size)
            for number, image in zip(direction[1:], (image0, image1), strict=True)
        )
        return PairSample(
            image0=image0,
            image1=image1,
            dense0=_field(folder / f"flow{direction.query}.flo", image0.size, image1.size, mask0),
            mask0=mask0,
            mask1=mask1,
            category=_category(direction.folder),
            name=f"{direction.folder}/{direction.query}to{direction.reference}",
            facts={"subset": direction.folder.split("/")[0]},
        )


def _foreground(path: Path, size: Size) -> torch.Tensor:
    mask = annotation.read_sized_image(path, size[::-1], path.parent, LAYOUT.advice())
    # sd-dino divides by 255 and cuts to whole numbers: only white is foreground.
    return mask.pixels.amin(dim=0) >= 1


def _field(path: Path, size0: Size, size1: Size, foreground: torch.Tensor) -> DenseField:
    flow = torch.from_numpy(read_flow(path))
    if tuple(flow.shape[:2]) != size0:
        raise DataError(
            f"{path}: expected {size0[1]} x {size0[0]} displacements as its image has pixels, "
            f"got {flow.shape[1]} x {flow.shape[0]}; copy it again"
        )
    known = flow.isfinite().all(dim=-1) & foreground
    place = pixel_grid(size0) + flow.reshape(-1, 2).nan_to_num()
    grid = pixel_to_normalised(place, size1).reshape(*size0, 2).permute(2, 0, 1)
    return DenseField(grid=grid[None], confidence=known[None].float())


def _category(folder: str) -> str:
    subset, _, pair = folder.partition("/")
    kind = "car" if "Car" in subset else pair.split("_")[0].lower()
    return _RENAMED.get(kind, kind)
