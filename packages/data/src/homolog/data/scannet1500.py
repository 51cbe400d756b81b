"""ScanNet-1500 as LoFTR and SuperGlue publish it."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from homolog.core.calibration import camera_of, pose_of, relative_pose, rigid
from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size
from homolog.core.errors import DataError, one_of
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import read_matrix, root_of
from homolog.data.converted import read_any
from homolog.data.inventory import Expected, Layout
from homolog.data.pose_pairs import PosePairs

LOFTR_LAYOUT = Layout(
    name="ScanNet-1500 (LoFTR)",
    folder="scannet_test_1500",
    home="https://github.com/zju3dv/LoFTR",
    licence="ScanNet Terms of Use: signed, for research only",
    obtain=(
        "Sign ScanNet's terms, download scannet_test_1500 from the drive that LoFTR's README names, and put "
        "test.npz and intrinsics.npz of assets/scannet_test_1500 of LoFTR's repository into it."
    ),
    signature=("test.npz", "scene*_*/color"),
    expected=(
        Expected(what="list of pairs", pattern="test.npz", count=1),
        Expected(what="intrinsics of 640 x 480", pattern="intrinsics.npz", count=1, optional=True),
        Expected(what="scans", pattern="scene*_*/color", count=100),
        Expected(what="colour frames", pattern="scene*_*/color/*.jpg"),
        Expected(what="poses of the frames", pattern="scene*_*/pose/*.txt", optional=True),
        Expected(
            what="intrinsics of the colour frames",
            pattern="scene*_*/intrinsic/intrinsic_color.txt",
            count=100,
            optional=True,
        ),
    ),
    configs=("scannet1500_loftr",),
)

DEPTH_SIZE: Size = (480, 640)


class _Pair(NamedTuple):
    scan: str
    frame0: int
    frame1: int


class ScanNet1500LoFTR(ListedPairs[_Pair]):
    """Pairs of frames of 100 scans of rooms with relative poses.

    Samples have cameras, `pose`, and the scan as `category`.

    ScanNet-1500 as LoFTR ships it: `test.npz`, `intrinsics.npz`, colour frames and camera poses.

    `test.npz` has `name` [1500 4] (scene, scan of it, two frame numbers) and `rel_pose` [1500 12], from
    frame 0 to frame 1. `intrinsics.npz` has for each scan the intrinsics [3 3] of the DEPTH frame of
    640 x 480, to which LoFTR resizes colour frames; samples are the colour files themselves, so the
    intrinsics are scaled to their size. Pose files are camera to world. XFeat reads the same frames with
    `<scan>/intrinsic/intrinsic_color.txt`, which belongs to the colour file as it is. Both calibrations
    have integer coordinates at pixel centres, as here.
    """

    def __init__(
        self, *, root: str | Path, lists: str | Path, intrinsics: Literal["depth_640x480", "colour"]
    ) -> None:
        """Read the lists.

        Args:
            root: the folder of the scans.
            lists: the folder with `test.npz` and `intrinsics.npz`.
            intrinsics: `depth_640x480`: from `intrinsics.npz`, as LoFTR does; `colour`: from
                `intrinsic_color.txt` of each scan, as XFeat does.

        Raises:
            ConfigError: other intrinsics.
            DataError: a list is missing or damaged.
        """
        one_of("intrinsics", intrinsics, ("depth_640x480", "colour"))
        self._root = root_of(root, LOFTR_LAYOUT)
        folder = Path(lists).expanduser()
        self._list = folder / "test.npz"
        self._pairs, self._poses = _read_pairs(self._list)
        self._depth_K = _read_arrays(folder / "intrinsics.npz") if intrinsics == "depth_640x480" else None

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        color = self._root / pair.scan / "color"
        image0, image1 = (read_image(color / f"{frame}.jpg") for frame in (pair.frame0, pair.frame1))
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=self._camera(pair.scan, image0.size),
            camera1=self._camera(pair.scan, image1.size),
            pose=self._pose(index, pair),
            category=pair.scan,
            name=f"{pair.scan}/{pair.frame0}-{pair.frame1}",
        )

    def _camera(self, scan: str, size: Size) -> Camera:
        if self._depth_K is None:
            path = self._root / scan / "intrinsic" / "intrinsic_color.txt"
            values = read_matrix(path, columns=4, rows=4, advice=LOFTR_LAYOUT.advice())
            return camera_of(values[:3, :3], origin="centre", size=size, name=str(path))
        if scan not in self._depth_K:
            raise DataError(
                f"{self._list.parent / 'intrinsics.npz'}: expected intrinsics of {scan}; {LOFTR_LAYOUT.advice()}"
            )
        K = self._depth_K[scan].reshape(3, 3)
        return camera_of(K, origin="centre", size=size, stored=DEPTH_SIZE, name=f"intrinsics.npz, {scan}")

    def _pose(self, index: int, pair: _Pair) -> RelativePose:
        # LoFTR reads the pose files; who has the frames without them takes the list's float32 copy.
        folder = self._root / pair.scan / "pose"
        if self._poses is not None and not folder.is_dir():
            return pose_of(self._poses[index].reshape(3, 4), name=f"{self._list}, pair {index}")
        worlds = [
            np.linalg.inv(
                rigid(read_matrix(path, columns=4, rows=4, advice=LOFTR_LAYOUT.advice()), name=str(path))
            )
            for path in (folder / f"{frame}.txt" for frame in (pair.frame0, pair.frame1))
        ]
        return relative_pose(*worlds, name=str(folder))


def _read_pairs(path: Path) -> tuple[list[_Pair], np.ndarray | None]:
    arrays = _read_arrays(path)
    names, poses = arrays.get("name"), arrays.get("rel_pose")
    if names is None or names.ndim != 2 or names.shape[1] != 4 or not np.issubdtype(names.dtype, np.integer):
        raise DataError(f"{path}: expected `name` [N 4] of whole numbers; {LOFTR_LAYOUT.advice()}")
    if poses is not None and poses.shape != (len(names), 12):
        raise DataError(
            f"{path}: expected `rel_pose` [{len(names)} 12], got {list(poses.shape)}; {LOFTR_LAYOUT.advice()}"
        )
    pairs = [
        _Pair(f"scene{scene:04d}_{scan:02d}", frame0, frame1)
        for scene, scan, frame0, frame1 in names.tolist()
    ]
    return pairs, poses


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path}: expected this file, found none; {LOFTR_LAYOUT.advice()}")
    arrays = read_any(path)
    if not isinstance(arrays, dict):
        raise DataError(f"{path}: expected named arrays, got one; {LOFTR_LAYOUT.advice()}")
    return {str(key): np.asarray(value) for key, value in arrays.items()}  # pyright: ignore[reportUnknownArgumentType]


SUPERGLUE_LAYOUT = Layout(
    name="ScanNet-1500 (SuperGlue)",
    folder="scannet_test_images",
    home="https://github.com/magicleap/SuperGluePretrainedNetwork",
    licence="ScanNet Terms of Use: signed, for research only",
    obtain=(
        "Sign ScanNet's terms, extract the frames that assets/scannet_test_images.txt of SuperGlue's repository "
        "lists, and put its assets/scannet_test_pairs_with_gt.txt beside them."
    ),
    signature=("scannet_test_pairs_with_gt.txt",),
    expected=(
        Expected(what="pairs", pattern="scannet_test_pairs_with_gt.txt", count=1500, unit="lines"),
        Expected(what="colour frames", pattern="scene*_*/*.jpg"),
    ),
    configs=("scannet1500_superglue",),
)

COLOUR_SIZE = (968, 1296)


class ScanNet1500SuperGlue(PosePairs):
    """Pairs of frames of rooms with relative poses; see `PosePairs`.

    ScanNet-1500 as SuperGlue ships it: `scannet_test_pairs_with_gt.txt`, 1,500 lines of 38 fields.

    Intrinsics are those of the colour camera at 1296 x 968 with integer coordinates at pixel centres, as
    here. Frames that were exported at another size get intrinsics that are scaled to it.
    """

    def __init__(self, *, root: str | Path, pairs: str | Path = "scannet_test_pairs_with_gt.txt") -> None:
        """Read the list.

        Args:
            root: the folder of the frames.
            pairs: the text file, relative to the root or absolute.

        Raises:
            DataError: the list is missing or damaged.
        """
        super().__init__(
            root=root_of(root, SUPERGLUE_LAYOUT),
            pairs=pairs,
            origin="centre",
            size=COLOUR_SIZE,
            advice=SUPERGLUE_LAYOUT.advice(),
        )
