"""MegaDepth-1500 as LoFTR ships it: a list of pairs for each scene and overlap.

`scene_info` holds five files such as `0015_0.1_0.3.npz` with 300 pairs each (pickles of a dictionary,
whatever their name says): `image_paths`, `intrinsics` [3 3] of the original photos, `poses` [4 4] from
world to camera, and `pair_infos`, tuples of two image numbers, an overlap and central matches.

Intrinsics come from COLMAP, for which (0, 0) is the outer corner of the first pixel; half a pixel is
taken off the principal points, unless `origin` says otherwise. LoFTR's evaluator uses them as they
are, beside keypoints whose integers are pixel centres.
"""

from pathlib import Path
from typing import Any, NamedTuple, cast

from homolog.core.calibration import Origin, camera_of, relative_pose
from homolog.core.errors import DataError
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data.annotation import inside, root_of
from homolog.data.converted import read_any
from homolog.data.layout import Expected, Layout

LAYOUT = Layout(
    name="MegaDepth-1500 (LoFTR)",
    folder="megadepth_test_1500",
    home="https://github.com/zju3dv/LoFTR",
    licence="MegaDepth: CC BY 4.0 as far as known; photos from Flickr under their own terms",
    obtain=(
        "Download megadepth_test_1500 from the drive that LoFTR's README names, unpack it, and put the folder "
        "assets/megadepth_test_1500_scene_info of LoFTR's repository into it."
    ),
    signature=("megadepth_test_1500_scene_info/*.npz",),
    expected=(
        Expected(what="lists of 300 pairs", pattern="megadepth_test_1500_scene_info/*_*_*.npz", count=5),
        Expected(what="photos of scene 0015", pattern="Undistorted_SfM/0015/images/*.jpg"),
        Expected(what="photos of scene 0022", pattern="Undistorted_SfM/0022/images/*.jpg"),
    ),
    configs=("megadepth1500_loftr",),
)


class _Pair(NamedTuple):
    scene: int
    first: int
    second: int
    overlap: float


class MegaDepth1500LoFTR:
    """Pairs of photos of two landmarks with relative poses.

    Samples have cameras, `pose`, the scene as `category`, and their overlap among the facts.
    """

    def __init__(self, *, root: str | Path, scene_info: str | Path, origin: Origin) -> None:
        """Read the lists of pairs.

        Args:
            root: the folder that the lists' `image_paths` are relative to.
            scene_info: the folder of the lists, or one of them.
            origin: what lies at (0, 0) of the stored intrinsics: `corner` (COLMAP, true), or `centre` to take
                them as they are, as LoFTR's evaluator does.

        Raises:
            DataError: no lists, or damaged ones.
        """
        self._root = root_of(root, LAYOUT)
        self._origin: Origin = origin
        folder = Path(scene_info).expanduser()
        self._files = [folder] if folder.is_file() else sorted(folder.glob("*.npz"))
        if not self._files:
            raise DataError(f"{folder}: expected lists such as 0015_0.1_0.3.npz, got none; {LAYOUT.advice()}")
        self._scenes = [_read_scene(path) for path in self._files]
        self._pairs = [
            pair
            for number, scene in enumerate(self._scenes)
            for pair in _pairs(number, scene, self._files[number])
        ]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            DataError: a photo is missing or damaged, or its camera is none.
        """
        pair = self._pairs[index]
        scene, source = self._scenes[pair.scene], self._files[pair.scene]
        names = [scene["image_paths"][number] for number in (pair.first, pair.second)]
        image0, image1 = (read_image(inside(self._root, name, source)) for name in names)
        label = f"{source.name}, {names[0]} and {names[1]}"
        camera0, camera1 = (
            camera_of(scene["intrinsics"][number], origin=self._origin, size=image.size, name=label)
            for number, image in ((pair.first, image0), (pair.second, image1))
        )
        poses = scene["poses"]
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=camera0,
            camera1=camera1,
            pose=relative_pose(poses[pair.first], poses[pair.second], name=label),
            category=source.stem.split("_")[0],
            name=f"{source.stem}/{pair.first}-{pair.second}",
            facts={"list": source.stem, "overlap": f"{pair.overlap:.4f}"},
        )


def _read_scene(path: Path) -> dict[str, Any]:
    scene = read_any(path)
    wanted = ("image_paths", "intrinsics", "poses", "pair_infos")
    missing = [key for key in wanted if not isinstance(scene, dict) or key not in scene]
    if missing:
        raise DataError(
            f"{path}: expected a scene with {', '.join(wanted)}, got one without {', '.join(missing)}"
        )
    return cast("dict[str, Any]", scene)


def _pairs(number: int, scene: dict[str, Any], path: Path) -> list[_Pair]:
    known = min(len(scene[key]) for key in ("image_paths", "intrinsics", "poses"))
    pairs: list[_Pair] = []
    for info in scene["pair_infos"]:
        try:
            (first, second), overlap = info[0], info[1]
            pair = _Pair(number, int(first), int(second), float(overlap))
        except (TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"{path}: expected pairs as ((i, j), overlap, matches), got {str(info)[:80]}; obtain it again"
            ) from error
        if not (0 <= pair.first < known and 0 <= pair.second < known):
            raise DataError(
                f"{path}: expected image numbers below {known}, got {pair.first} and {pair.second}"
            )
        pairs.append(pair)
    return pairs
