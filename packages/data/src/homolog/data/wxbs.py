"""WxBS: hard pairs that differ in several ways at once, with hand-made correspondences (Mishkin et al. 2015).

The layout of the package `wxbs-benchmark`: `<root>/v1.1/<kind>/<pair>/{01,02}.{png,jpg}` and `corrs.txt`, a
line `x1 y1 x2 y2` for each point, beside `crossval_errors.txt`. Kinds name what differs, such as WGABS for
geometry and appearance. Two pairs are for validation, all others are the test. Nothing is documented about
where (0, 0) lies; points are taken as they are, with integers at pixel centres.
"""

from pathlib import Path
from typing import Literal

import torch

from homolog.core.errors import DataError, one_of
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import read_matrix, root_of
from homolog.data.inventory import Expected, Layout

LAYOUT = Layout(
    name="WxBS",
    folder="WxBS",
    home="https://ducha-aiki.github.io/wxbs-benchmark",
    licence="not stated for the photos",
    obtain="Unpack WxBS_v1.1.zip from cmp.felk.cvut.cz/wbs/datasets into WxBS/v1.1, as the package wxbs-benchmark does.",
    signature=("v1.1/*/*/corrs.txt",),
    expected=(
        Expected(what="correspondences, a file for each pair", pattern="v1.1/*/*/corrs.txt"),
        Expected(what="first photos", pattern="v1.1/*/*/01.*"),
        Expected(what="second photos", pattern="v1.1/*/*/02.*"),
        Expected(
            what="errors of the annotators",
            pattern="v1.1/*/*/crossval_errors.txt",
            optional=True,
            note="not read here",
        ),
    ),
    configs=("wxbs",),
)

VALIDATION = frozenset({"kyiv_dolltheater2", "petrzin"})
"""Pairs that `wxbs-benchmark` keeps out of the test."""


class WxBS(ListedPairs[Path]):
    """Samples have the annotated points, and as `category` the kind of difference."""

    def __init__(
        self, *, root: str | Path, split: Literal["test", "val"] = "test", version: str = "v1.1"
    ) -> None:
        """Find the pairs.

        Args:
            root: the folder that has a folder for each version.
            split: the test, or the two validation pairs.
            version: of the data set.

        Raises:
            ConfigError: no such split.
            DataError: no pairs there.
        """
        one_of("split", split, ("test", "val"))
        folder = root_of(root, LAYOUT) / version
        found = sorted(path.parent for path in folder.glob("*/*/corrs.txt"))
        self._pairs = [path for path in found if (path.name in VALIDATION) == (split == "val")]
        if not self._pairs:
            raise DataError(
                f"{folder}: expected pairs such as WGABS/kyiv/corrs.txt, got none; {LAYOUT.advice()}"
            )

    def _read(self, index: int, folder: Path, /) -> PairSample:
        # As the package does: both photos are png or both are jpg.
        ending = "png" if (folder / "01.png").is_file() else "jpg"
        points = read_matrix(folder / "corrs.txt", columns=4, advice=LAYOUT.advice())
        return PairSample(
            image0=read_image(folder / f"01.{ending}"),
            image1=read_image(folder / f"02.{ending}"),
            xy0=torch.from_numpy(points[:, :2].copy()).float(),
            xy1=torch.from_numpy(points[:, 2:].copy()).float(),
            category=folder.parent.name,
            name=f"{folder.parent.name}/{folder.name}",
        )
