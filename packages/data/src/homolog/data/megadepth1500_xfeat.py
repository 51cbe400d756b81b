"""MegaDepth-1500 as XFeat ships it: one JSON list of 1,500 pairs.

Each entry has `pair_names`, `size0_hw` (what XFeat resizes image 0 to), `scale0` (original over
resized, width first), `K0` of the ORIGINAL photo, the same for image 1, and `T_0to1` [4 4]. Samples are
the original photos, so intrinsics are used for them as they are, up to the half pixel that COLMAP's
convention differs by (see `homolog.data.megadepth1500_loftr`). Photos that someone has resized on
disk are noticed by the stored sizes, and their intrinsics scaled along.
"""

from pathlib import Path
from typing import Any

from homolog.core.calibration import Origin, camera_of, numbers, pose_of
from homolog.core.coords import Size
from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data.annotation import entry, inside, root_of
from homolog.data.layout import Expected, Layout
from homolog.data.matrix_text import read_records

LAYOUT = Layout(
    name="MegaDepth-1500 (XFeat)",
    folder="megadepth_test_1500",
    home="https://github.com/verlab/accelerated_features",
    licence="MegaDepth: CC BY 4.0 as far as known; photos from Flickr under their own terms",
    obtain=(
        "Run `python3 -m modules.dataset.download --megadepth-1500` of XFeat's repository, and put its "
        "assets/megadepth_1500.json beside the photos."
    ),
    signature=("megadepth_1500.json",),
    expected=(
        Expected(what="list of pairs", pattern="megadepth_1500.json", count=1),
        Expected(what="photos", pattern="Undistorted_SfM/*/images/*.jpg"),
    ),
    configs=("megadepth1500_xfeat",),
)


class MegaDepth1500XFeat:
    """Pairs of photos of two landmarks with relative poses.

    Samples have cameras, `pose`, and the scene as `category`.
    """

    def __init__(self, *, root: str | Path, pairs: str | Path, origin: Origin) -> None:
        """Read the list of pairs.

        Args:
            root: the folder that `pair_names` are relative to.
            pairs: `megadepth_1500.json`, relative to the root or absolute.
            origin: what lies at (0, 0) of the stored intrinsics: `corner` (COLMAP, true), or `centre` to take
                them as they are, as XFeat's evaluator does.

        Raises:
            DataError: the list is missing or damaged.
        """
        self._root = root_of(root, LAYOUT)
        self._origin: Origin = origin
        self._list = self._root / pairs
        self._entries = read_records(self._list, LAYOUT.advice())
        for pair in self._entries:
            names = entry(pair, "pair_names", self._list)
            if len(names) != 2:
                raise DataError(f"{self._list}: expected two pair_names, got {names!r}; obtain it again")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._entries)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            DataError: a photo is missing or damaged, or the entry is incomplete.
        """
        pair = self._entries[index]
        names = pair["pair_names"]
        image0, image1 = (read_image(inside(self._root, name, self._list)) for name in names)
        label = f"{self._list}, {names[0]} and {names[1]}"
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=self._camera(pair, 0, image0, label),
            camera1=self._camera(pair, 1, image1, label),
            pose=pose_of(entry(pair, "T_0to1", self._list), name=label),
            category=str(pair.get("scene_id", "")) or None,
            name=f"{index:04d}/{Path(names[0]).stem}-{Path(names[1]).stem}",
        )

    def _camera(self, pair: dict[str, Any], side: int, image: Image, label: str) -> Any:
        stored: Size | None = None
        if f"size{side}_hw" in pair and f"scale{side}" in pair:
            height, width = numbers(pair[f"size{side}_hw"], (2,), name=label)
            scale_x, scale_y = numbers(pair[f"scale{side}"], (2,), name=label)
            stored = round(height * scale_y), round(width * scale_x)
        K = entry(pair, f"K{side}", self._list)
        return camera_of(K, origin=self._origin, size=image.size, stored=stored, name=label)
