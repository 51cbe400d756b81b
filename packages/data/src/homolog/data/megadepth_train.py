"""MegaDepth for training: pairs of photos of a landmark with depth, cameras and pose.

Photos are those that D2-Net undistorted (`Undistorted_SfM`), depth maps those of MegaDepth itself (`phoenix`).
Intrinsics come from COLMAP, for which (0, 0) is the outer corner of the first pixel; half a pixel is taken
off their principal points.

Scene files are of two kinds, both npz by name. D2-Net's preprocessing writes `NNNN.npz` (earlier `NNNN.0.npz`) with an
`overlap_matrix` [N N] of all photos, -1 where one has no depth. LoFTR's index has several files per scene, such as
`0000_0.1_0.3.npz`, plain pickles of a dictionary with `pair_infos`: tuples of two image numbers, an overlap and
central matches. Both have, for each image, `image_paths`, `depth_paths`, `intrinsics` [3 3] and `poses` [4 4] from
world to camera; None where an image is not to be used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.calibration import camera_of, relative_pose, rigid
from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, identity_grid, inside, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.core.sampling import sample_points
from homolog.data.annotation import path_inside, read_depth, read_lines, root_of
from homolog.data.converted import read_any
from homolog.data.inventory import Expected, Layout
from homolog.data.safe_npz import load_npz

_OF_IMAGES = ("image_paths", "depth_paths", "intrinsics", "poses")
_OF_PAIRS = ("pair_infos", "overlap_matrix")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Photos of one place.

    Attributes:
        image_paths: of each image, relative to a folder that the file does not name; None for one without photo.
        depth_paths: likewise.
        intrinsics: [3 3] of each image, in pixels of its photo, with COLMAP's origin.
        poses: [4 4] of each image, from world to camera.
        pairs: [P 2] numbers of images, the lower first.
        overlaps: [P] fraction of common points.
    """

    image_paths: Sequence[Any]
    depth_paths: Sequence[Any]
    intrinsics: Sequence[Any]
    poses: Sequence[Any]
    pairs: np.ndarray
    overlaps: np.ndarray


def read_scene(path: Path, *, overlap: tuple[float, float]) -> Scene:
    """Read a scene file and keep the pairs that have photos, depth and a certain overlap.

    Args:
        path: of either kind; its content decides which.
        overlap: least and greatest, both included.

    Raises:
        DataError: the file is missing or damaged, asks for anything but arrays and containers, or is no scene.
    """
    content = _content(path)
    missing = [key for key in _OF_IMAGES if key not in content]
    kinds = [key for key in _OF_PAIRS if key in content]
    if missing or not kinds:
        lacking = ", ".join([*missing, *(() if kinds else (" or ".join(_OF_PAIRS),))])
        raise DataError(
            f"{path}: expected a scene of MegaDepth, got one without {lacking}; take D2-Net's or LoFTR's files"
        )
    count = len(content["image_paths"])
    if any(len(content[key]) != count for key in _OF_IMAGES):
        lengths = ", ".join(f"{len(content[key])} {key}" for key in _OF_IMAGES)
        raise DataError(f"{path}: expected as many of each as images, got {lengths}; obtain it again")
    usable = np.array([all(content[key][image] is not None for key in _OF_IMAGES) for image in range(count)])
    if kinds[0] == "pair_infos":
        pairs, overlaps = listed_pairs(content["pair_infos"], count, path)
        pairs = np.sort(pairs, axis=1)
    else:
        pairs, overlaps = _in_matrix(content["overlap_matrix"], count, overlap, path)
    kept = (overlaps >= overlap[0]) & (overlaps <= overlap[1]) & usable[pairs].all(axis=1)
    return Scene(
        **{key: list(content[key]) for key in _OF_IMAGES}, pairs=pairs[kept], overlaps=overlaps[kept]
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            archive = file.read(2) == b"PK"
    except OSError as error:
        raise DataError(
            f"{path}: expected a scene of MegaDepth, but cannot read it ({error.strerror})"
        ) from error
    # D2-Net's archives have members that are many times as large, which nothing here needs.
    wanted = {*_OF_IMAGES, *_OF_PAIRS}
    content: Any = (load_npz(path, only=wanted) or read_any(path)) if archive else read_any(path)
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: expected a scene of MegaDepth, got a {type(content).__name__}; obtain it again"
        )
    return cast("dict[str, Any]", content)


def listed_pairs(infos: Any, count: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the image numbers [P 2] and overlaps [P] of LoFTR's `pair_infos`.

    Raises:
        DataError: they are something else, or name an image that is not among the `count` of the scene.
    """
    try:
        pairs = np.array([[int(number) for number in info[0]] for info in infos], np.int64).reshape(-1, 2)
        overlaps = np.array([float(info[1]) for info in infos])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(
            f"{path}: expected pair_infos as ((i, j), overlap, matches), got others ({error}); obtain it again"
        ) from error
    if len(pairs) and not 0 <= pairs.min() <= pairs.max() < count:
        raise DataError(f"{path}: expected image numbers below {count}, got {pairs.min()} to {pairs.max()}")
    return pairs, overlaps


def _in_matrix(
    matrix: Any, count: int, overlap: tuple[float, float], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(matrix, np.ndarray) or matrix.shape != (count, count) or matrix.dtype.kind != "f":
        raise DataError(f"{path}: expected overlap_matrix [{count} {count}], got another; obtain it again")
    # It is symmetric: each pair once.
    pairs = np.argwhere(np.triu((matrix >= overlap[0]) & (matrix <= overlap[1]), k=1))
    return pairs, matrix[pairs[:, 0], pairs[:, 1]]


def field_from_depth(
    depth0: Float[Tensor, "H W"],
    depth1: Float[Tensor, "h w"],
    *,
    camera0: Camera,
    camera1: Camera,
    pose: RelativePose,
    size: Size,
    tolerance: float,
) -> DenseField:
    """Return where the pixels of image 0 are in image 1.

    A pixel is known if both depths are, and that of image 1 is, within the tolerance, the one that the pixel's
    point has in camera 1: otherwise something stands before it. Depth of multi-view stereo is off by
    percents, so that this is a looser rule than that for rendered depth
    (`homolog.synthetic.correspondence`); depth is read at the nearest pixel, never between an object and
    what is behind it.

    Args:
        depth0: z in camera 0's frame, NaN where unknown.
        depth1: z in camera 1's frame.
        camera0: of image 0, for the pixels of its depth map.
        camera1: of image 1.
        pose: from camera 0 to camera 1, in the unit of the depths.
        size: (height, width) of the field; it covers image 0 whatever its size.
        tolerance: relative difference of depths from which on a point is hidden.

    Returns:
        A field with a batch of 1, NaN with confidence 0 where nothing is known.
    """
    at = identity_grid(size).flatten(1).T[None]
    xy = normalised_to_pixel(at.double(), _size(depth0))[0]
    z = _nearest(depth0, at)
    points = pose.apply(camera0.rays(xy.to(camera0.K)).to(pose.R) * z[:, None].to(pose.R))
    # A point at or behind the camera is nowhere on its image.
    ahead = points[:, 2] > 0
    there = camera1.project(torch.where(ahead[:, None], points, torch.nan).to(camera1.K))
    grid = pixel_to_normalised(there, _size(depth1)).float()
    found = _nearest(depth1, grid.nan_to_num(nan=2.0)[None])
    off = (found - points[:, 2].float()).abs() / points[:, 2].float()
    known = inside(there, _size(depth1)) & (off < tolerance)
    return DenseField(
        grid=torch.where(known[:, None], grid, torch.nan).T.reshape(1, 2, *size),
        confidence=known.float().reshape(1, *size),
    )


def _nearest(depth: Tensor, at: Tensor) -> Tensor:
    return sample_points(depth[None, None].float(), at.float(), mode="nearest", padding="border")[0, :, 0]


def _size(depth: Tensor) -> Size:
    return int(depth.shape[0]), int(depth.shape[1])


LAYOUT = Layout(
    name="MegaDepth (training)",
    folder="megadepth",
    home="https://www.cs.cornell.edu/projects/megadepth",
    licence="CC BY 4.0 as far as known; photos from Flickr under their own terms",
    obtain=(
        "Download MegaDepth v1 from its home page (its folder phoenix has the depth maps), Undistorted_SfM from the "
        "drive that D2-Net's README names, and megadepth_indices from the drive that LoFTR's docs/TRAINING.md names; "
        "put the first two into megadepth/train and the content of the last into megadepth/index."
    ),
    signature=("train/Undistorted_SfM", "index/scene_info_0.1_0.7"),
    expected=(
        Expected(what="lists of pairs", pattern="index/scene_info_0.1_0.7/*.npz", count=368, note="by LoFTR"),
        Expected(
            what="names of lists to train on",
            pattern="index/trainvaltest_list/train_list.txt",
            count=368,
            unit="lines",
        ),
        Expected(what="photos of scene 0000", pattern="train/Undistorted_SfM/0000/images/*"),
        Expected(
            what="depth maps of scene 0000",
            pattern="train/phoenix/S6/zl548/MegaDepth_v1/0000/dense*/depths/*.h5",
        ),
    ),
    configs=("megadepth_train",),
)

TEST_SCENES = ("0015", "0022")
"""Of MegaDepth-1500."""


class _Side(NamedTuple):
    image: Image
    depth: Tensor
    camera: Camera


class MegaDepthTrain:
    """Pairs of overlapping photos, the same number of each scene file in each epoch.

    Which pair an index stands for is a function of the index and the seed alone. In every epoch a scene file
    gives other pairs of its own, until all have been seen; then they come in a new order.

    Samples have cameras, `pose`, `depth0` and `depth1` in the scale of the scene, the scene as `category`, and
    the overlap among the facts; `dense0` and `dense1` if a size is given for them.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        photos: str | Path,
        scene_info: str | Path,
        scenes: str | Path | None,
        overlap: Sequence[float | int],
        pairs_per_scene: int,
        epochs: int = 1,
        exclude: Sequence[str] = TEST_SCENES,
        dense: Sequence[int] | None = None,
        tolerance: float | int = 0.05,
        seed: int = 0,
    ) -> None:
        """Find the scene files; each is read when the first pair of it is asked for.

        Args:
            root: the folder `megadepth`; the paths below may be relative to it.
            photos: the folder that the paths in the scene files are relative to.
            scene_info: the folder of the scene files.
            scenes: text file with the names of the scene files to take, one a line (`0000` or `0000_0.1_0.3`);
                None takes all that are there.
            overlap: least and greatest of the pairs to take.
            pairs_per_scene: of each scene file in each epoch; LoFTR takes 100.
            epochs: how many this has; a training that asks for more sees the same ones again.
            exclude: scenes that are never taken, by number. D2-Net's list of training scenes has both that
                MegaDepth-1500 tests on.
            dense: (height, width) of the dense truth; None makes none.
            tolerance: of the dense truth: relative difference of depths from which on a point is hidden.
            seed: of the order of the pairs.

        Raises:
            ConfigError: numbers out of range.
            DataError: no scene files, or one of the list is missing.
        """
        low, high = (float(each) for each in overlap)
        if not 0 <= low <= high <= 1 or pairs_per_scene < 1 or epochs < 1 or seed < 0 or tolerance <= 0:
            raise ConfigError(
                "MegaDepth: expected an overlap within [0, 1], at least 1 pair and 1 epoch, a seed of 0 or more and a "
                f"tolerance above 0, got {list(overlap)}, {pairs_per_scene}, {epochs}, {seed} and {tolerance}"
            )
        folder = root_of(root, LAYOUT)
        self._photos = folder / photos
        listed = None if scenes is None else folder / scenes
        self._files = _scene_files(folder / scene_info, listed, exclude)
        self._overlap = (low, high)
        self._dense = None if dense is None else (dense[0], dense[1])
        self._per_scene, self._epochs = pairs_per_scene, epochs
        self._tolerance, self._seed = float(tolerance), seed
        self._scenes: dict[int, Scene] = {}

    def __len__(self) -> int:
        return self._epochs * len(self._files) * self._per_scene

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            IndexError: there is none.
            DataError: a scene file, a photo or a depth map is missing or damaged, or a scene has no pair of
                the overlap.
            MissingDependencyError: h5py is not installed.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"expected a pair in [0, {len(self)}), got {index}")
        number, place = self._place(index)
        scene, source = self._scene(number), self._files[number]
        first, second = (int(image) for image in scene.pairs[place])
        label = f"{source.name}, images {first} and {second}"
        one, two = (self._side(scene, image, source) for image in (first, second))
        poses = [rigid(_square(scene.poses[image], 4), name=label) for image in (first, second)]
        pose = relative_pose(*poses, name=label)
        return PairSample(
            image0=one.image,
            image1=two.image,
            camera0=one.camera,
            camera1=two.camera,
            pose=pose,
            depth0=one.depth,
            depth1=two.depth,
            dense0=self._truth(one, two, pose),
            dense1=self._truth(two, one, pose.inverse()),
            category=_scene_of(source),
            name=f"{source.stem}/{first}-{second}",
            facts={"list": source.stem, "overlap": f"{scene.overlaps[place]:.4f}"},
        )

    def _place(self, index: int) -> tuple[int, int]:
        """Return the scene file of an index, and which of its pairs."""
        epoch, rest = divmod(index, len(self._files) * self._per_scene)
        number, member = divmod(rest, self._per_scene)
        count = len(self._scene(number).pairs)
        turn, step = divmod(epoch * self._per_scene + member, count)
        drawn = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(number, turn)))
        return number, int(drawn.permutation(count)[step])

    def _scene(self, number: int) -> Scene:
        if number not in self._scenes:
            scene = read_scene(self._files[number], overlap=self._overlap)
            if not len(scene.pairs):
                raise DataError(
                    f"{self._files[number]}: expected pairs with an overlap from {self._overlap[0]:g} to "
                    f"{self._overlap[1]:g}, got none; widen overlap, or leave the file out of the list of scenes"
                )
            self._scenes[number] = scene
        return self._scenes[number]

    def _side(self, scene: Scene, number: int, source: Path) -> _Side:
        path = path_inside(self._photos, scene.image_paths[number], source)
        if not path.is_file():
            raise DataError(f"{path}: expected the photo that {source} names, found none; {LAYOUT.advice()}")
        image, depth = (
            read_image(path),
            read_depth(path_inside(self._photos, scene.depth_paths[number], source)),
        )
        if tuple(depth.shape) != image.size:
            raise DataError(
                f"{path}: expected a photo of the size of its depth map, {list(depth.shape)}, got "
                f"{list(image.size)}; take the photos of Undistorted_SfM as they are"
            )
        name = f"{source.name}, image {number}"
        camera = camera_of(_square(scene.intrinsics[number], 3), origin="corner", size=image.size, name=name)
        return _Side(image, depth, camera)

    def _truth(self, side: _Side, other: _Side, pose: RelativePose) -> DenseField | None:
        if self._dense is None:
            return None
        return field_from_depth(
            side.depth,
            other.depth,
            camera0=side.camera,
            camera1=other.camera,
            pose=pose,
            size=self._dense,
            tolerance=self._tolerance,
        )


def _square(values: object, side: int) -> object:
    # Earlier files of D2-Net have poses as 16 numbers in a row.
    if isinstance(values, np.ndarray) and values.shape == (side * side,):
        return values.reshape(side, side)
    return values


def _scene_files(folder: Path, names: Path | None, exclude: Sequence[str]) -> list[Path]:
    if names is None:
        files = sorted(folder.glob("*.npz"))
    else:
        listed = [line.removesuffix(".npz") for line in read_lines(names, LAYOUT.advice())]
        files = [path_inside(folder, f"{line}.npz", names) for line in listed]
    files = [file for file in files if _scene_of(file) not in exclude]
    absent = [file for file in files if not file.is_file()]
    if absent or not files:
        what = f"{absent[0].name} and {len(absent) - 1} more" if absent else "scene files such as 0000.npz"
        raise DataError(f"{folder}: expected {what}, found none; {LAYOUT.advice()}")
    return files


def _scene_of(file: Path) -> str:
    return re.split(r"[._]", file.name)[0]
