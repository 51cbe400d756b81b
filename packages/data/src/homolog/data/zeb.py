"""ZEB, the zero-shot evaluation benchmark of GIM: twelve data sets of rooms, streets, drone flights and games.

One folder per set, `zeb/<set>/`, with photos `<scene>-<name>.png` and one text file for each pair. Its first line has 38 words:
two names, two overlaps, K0 (9), K1 (9) and T_0to1 (16), matrices by rows. Some sets write names with the ending of the
original photo, which the files do not have, and some have an underscore for the hyphen. (github.com/xuelunshen/gim, README and
`datasets/`, the commit that published ZEB.)

GIM takes the intrinsics as they are, with integer coordinates at pixel centres. Which convention each of the twelve sources had is
not documented.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from homolog.core.calibration import Origin, camera_of, pose_of
from homolog.core.errors import ConfigError, DataError, one_of
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import matrix, path_inside, read_lines, root_of
from homolog.data.inventory import Expected, Layout

SEPARATORS = {
    "gl3d": "_",
    "blendedmvs": "_",
    "eth3di": "-",
    "eth3do": "-",
    "kitti": "-",
    "robotcarweather": "_",
    "robotcarseason": "_",
    "robotcarnight": "_",
    "multifov": "-",
    "scenenet": "-",
    "iclnuim": "-",
    "gtasfm": "-",
}
"""The sets in the order of GIM's table, and what separates a scene from a name in their file names."""

LAYOUT = Layout(
    name="ZEB (GIM)",
    folder="zeb",
    home="https://github.com/xuelunshen/gim",
    licence="not stated; twelve data sets under their own terms",
    obtain="Download the archives that GIM's README links to, and unpack all of them in one folder `zeb`.",
    signature=("gl3d/*.txt", "kitti/*.txt"),
    expected=(
        *(Expected(what=f"pairs of {name}", pattern=f"{name}/*.txt") for name in SEPARATORS),
        Expected(what="photos", pattern="*/*.png"),
    ),
    configs=("zeb",),
)


class _Pair(NamedTuple):
    subset: str
    path: Path


class Zeb(ListedPairs[_Pair]):
    """Pairs of photos with relative poses. Samples have cameras, `pose`, and the set as `category`."""

    def __init__(self, *, root: str | Path, subsets: Sequence[str], origin: Origin) -> None:
        """List the pairs; a pair's file is read with its photos.

        Args:
            root: the folder of the sets.
            subsets: names of sets, keys of `SEPARATORS`.
            origin: what lies at (0, 0) of the intrinsics: `centre`, as GIM takes them, or `corner`.

        Raises:
            ConfigError: an unknown set, or none.
            DataError: a set is missing.
        """
        if not subsets:
            raise ConfigError("ZEB: expected at least one set in subsets, got none")
        self._root = root_of(root, LAYOUT)
        self._origin: Origin = origin
        pairs: list[_Pair] = []
        for subset in subsets:
            one_of("subsets", subset, SEPARATORS)
            paths = sorted((self._root / subset).glob("*.txt"))
            if not paths:
                raise DataError(
                    f"{self._root / subset}: expected a text file for each pair, found none; {LAYOUT.advice()}"
                )
            pairs += [_Pair(subset, path) for path in paths]
        self._pairs = pairs

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        first, *_ = read_lines(pair.path, LAYOUT.advice()) or [""]
        words = first.split()
        if len(words) != 38:
            raise DataError(
                f"{pair.path}: expected 38 words (two names, two overlaps, K0, K1, T_0to1), got {len(words)}; "
                f"{LAYOUT.advice()}"
            )
        name = str(pair.path)
        overlaps = matrix(words[2:4], columns=1, name=name)
        K0, K1 = (matrix(words[start : start + 9], columns=3, rows=3, name=name) for start in (4, 13))
        separator = SEPARATORS[pair.subset]
        scene = pair.path.stem.split(separator)[0]
        folder = self._root / pair.subset
        image0, image1 = (
            read_image(path_inside(folder, f"{scene}{separator}{Path(word).stem}.png", pair.path))
            for word in words[:2]
        )
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=camera_of(K0, origin=self._origin, size=image0.size, name=name),
            camera1=camera_of(K1, origin=self._origin, size=image1.size, name=name),
            pose=pose_of(matrix(words[22:], columns=4, rows=4, name=name), name=name),
            category=pair.subset,
            name=f"{pair.subset}/{pair.path.stem}",
            facts={"overlap": f"{overlaps.min():.4f}"},
        )
