"""HPatches: sequences of six photos with the homographies from the first to each other one.

`hpatches-sequences-release/{i_*,v_*}/{1..6.ppm, H_1_2..H_1_6}`: 57 sequences of changing light, 59 of
changing viewpoint. Homographies map pixels with integer coordinates at pixel centres, as here.
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
    name="HPatches sequences",
    folder="hpatches-sequences-release",
    home="https://github.com/hpatches/hpatches-dataset",
    licence="not stated for the photos",
    obtain="Download hpatches-sequences-release.tar.gz from the data set's page and unpack it.",
    signature=("[iv]_*/1.ppm", "[iv]_*/H_1_2"),
    expected=(
        Expected(what="photos of the sequences", pattern="[iv]_*/[1-6].ppm", count=696),
        Expected(what="homographies", pattern="[iv]_*/H_1_[2-6]", count=580),
        Expected(what="sequences of changing light", pattern="i_*/1.ppm", count=57),
        Expected(what="sequences of changing viewpoint", pattern="v_*/1.ppm", count=59),
    ),
    configs=("hpatches",),
)

LARGE = frozenset(
    (
        *("i_contruction", "i_crownnight", "i_dc", "i_pencils", "i_whitebuilding"),
        *("v_artisans", "v_astronautis", "v_talent"),
    )
)
"""Sequences of photos so large that most papers leave them out, from D2-Net on (Dusmanu et al. 2019,
`hpatches_sequences`; the same list is in glue-factory's `datasets/hpatches.py`)."""

_CATEGORIES = {"i": "illumination", "v": "viewpoint"}


class HPatches(ListedPairs[tuple[str, int]]):
    """Photo 1 of each sequence with each of the photos 2 to 6.

    Samples have `homography`, and as `category` whether light or viewpoint changes.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        large: bool,
        subset: Literal["illumination", "viewpoint"] | None = None,
    ) -> None:
        """Find the sequences.

        Args:
            root: the folder of the sequences.
            large: whether the eight large sequences take part: 116 sequences with them, 108 without.
            subset: take only the sequences in which this changes; None takes all.

        Raises:
            ConfigError: no such subset.
            DataError: no sequences there.
        """
        if subset is not None:
            one_of("subset", subset, _CATEGORIES.values())
        self._root = root_of(root, LAYOUT)
        names = sorted(path.parent.name for path in self._root.glob("[iv]_*/1.ppm"))
        kept = [name for name in names if large or name not in LARGE]
        kept = [name for name in kept if subset is None or _CATEGORIES[name[0]] == subset]
        if not kept:
            raise DataError(
                f"{self._root}: expected sequences such as i_ajuntament/1.ppm, got none; {LAYOUT.advice()}"
            )
        self._pairs = [(name, number) for name in kept for number in range(2, 7)]

    def _read(self, index: int, pair: tuple[str, int], /) -> PairSample:
        sequence, number = pair
        folder = self._root / sequence
        homography = read_matrix(folder / f"H_1_{number}", columns=3, rows=3, advice=LAYOUT.advice())
        return PairSample(
            image0=read_image(folder / "1.ppm"),
            image1=read_image(folder / f"{number}.ppm"),
            homography=torch.from_numpy(homography),
            category=_CATEGORIES[sequence[0]],
            name=f"{sequence}/1-{number}",
            facts={"sequence": sequence},
        )
