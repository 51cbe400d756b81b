"""MegaDepth-1500 as LoFTR, XFeat and glue-factory publish it."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from homolog.core.calibration import Origin, camera_of, numbers, pinhole, pose_of, relative_pose
from homolog.core.coords import Size
from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import entry, matrix, path_inside, read_lines, read_records, root_of
from homolog.data.converted import read_any
from homolog.data.inventory import Expected, Layout
from homolog.data.megadepth_train import listed_pairs

LOFTR_LAYOUT = Layout(
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


class MegaDepth1500LoFTR(ListedPairs[_Pair]):
    """Pairs of photos of two landmarks with relative poses.

    Samples have cameras, `pose`, the scene as `category`, and their overlap among the facts.

    MegaDepth-1500 as LoFTR ships it: a list of pairs for each scene and overlap.

    `scene_info` holds five files such as `0015_0.1_0.3.npz` with 300 pairs each (pickles of a dictionary,
    whatever their name says): `image_paths`, `intrinsics` [3 3] of the original photos, `poses` [4 4] from
    world to camera, and `pair_infos`, tuples of two image numbers, an overlap and central matches.

    Intrinsics come from COLMAP, for which (0, 0) is the outer corner of the first pixel; half a pixel is
    taken off the principal points, unless `origin` is `centre`. LoFTR's evaluator uses them as they
    are, beside keypoints whose integers are pixel centres.
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
        self._root = root_of(root, LOFTR_LAYOUT)
        self._origin: Origin = origin
        folder = Path(scene_info).expanduser()
        self._files = [folder] if folder.is_file() else sorted(folder.glob("*.npz"))
        if not self._files:
            raise DataError(
                f"{folder}: expected lists such as 0015_0.1_0.3.npz, got none; {LOFTR_LAYOUT.advice()}"
            )
        self._scenes = [_read_scene(path) for path in self._files]
        self._pairs = [
            pair
            for number, scene in enumerate(self._scenes)
            for pair in _pairs(number, scene, self._files[number])
        ]

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        scene, source = self._scenes[pair.scene], self._files[pair.scene]
        names = [scene["image_paths"][number] for number in (pair.first, pair.second)]
        image0, image1 = (read_image(path_inside(self._root, name, source)) for name in names)
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
    count = min(len(scene[key]) for key in ("image_paths", "intrinsics", "poses"))
    pairs, overlaps = listed_pairs(scene["pair_infos"], count, path)
    return [
        _Pair(number, first, second, overlap)
        for (first, second), overlap in zip(pairs.tolist(), overlaps.tolist(), strict=True)
    ]


XFEAT_LAYOUT = Layout(
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


class MegaDepth1500XFeat(ListedPairs[dict[str, Any]]):
    """Pairs of photos of two landmarks with relative poses.

    Samples have cameras, `pose`, and the scene as `category`.

    MegaDepth-1500 as XFeat ships it: one JSON list of 1,500 pairs.

    Each entry has `pair_names`, `size0_hw` (what XFeat resizes image 0 to), `scale0` (original over
    resized, width first), `K0` of the ORIGINAL photo, the same for image 1, and `T_0to1` [4 4]. Samples are
    the original photos, so intrinsics are used for them as they are, up to the half pixel that COLMAP's
    convention differs by (see `MegaDepth1500LoFTR`). Photos that someone has resized on
    disk are noticed by the stored sizes, and their intrinsics scaled along.
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
        self._root = root_of(root, XFEAT_LAYOUT)
        self._origin: Origin = origin
        self._list = self._root / pairs
        self._pairs = read_records(self._list, XFEAT_LAYOUT.advice())
        for pair in self._pairs:
            names = entry(pair, "pair_names", self._list)
            if len(names) != 2:
                raise DataError(f"{self._list}: expected two pair_names, got {names!r}; obtain it again")

    def _read(self, index: int, pair: dict[str, Any], /) -> PairSample:
        names = pair["pair_names"]
        image0, image1 = (read_image(path_inside(self._root, name, self._list)) for name in names)
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


GLUEFACTORY_LAYOUT = Layout(
    name="MegaDepth-1500 (glue-factory)",
    folder="megadepth1500",
    home="https://github.com/cvg/glue-factory",
    licence="MegaDepth: CC BY 4.0 as far as known; photos from Flickr under their own terms",
    obtain="Run `python -m gluefactory.eval.megadepth1500` once, or download the megadepth1500.zip that it names.",
    signature=("views.txt", "pairs.txt", "images"),
    expected=(
        Expected(what="pairs", pattern="pairs.txt", count=1500, unit="lines"),
        Expected(what="views", pattern="views.txt", unit="lines"),
        Expected(what="photos", pattern="images/**/*.*"),
        Expected(
            what="depth maps", pattern="depths/**/*.h5", optional=True, note="no protocol here reads them"
        ),
    ),
    configs=("megadepth1500_gluefactory",),
)


class _View(NamedTuple):
    world_to_camera: np.ndarray
    K: np.ndarray
    size: Size


class MegaDepth1500GlueFactory(ListedPairs[list[str]]):
    """Pairs of photos of two landmarks with relative poses.

    Samples have cameras, `pose`, and the scene as `category` where names begin with it.

    MegaDepth-1500 as glue-factory ships it: photos, `views.txt` and `pairs.txt`.

    A line of `views.txt` is a photo's name, its rotation (9 numbers, by rows) and translation (3) from
    world to camera, and its COLMAP camera: model, width, height, parameters. A line of `pairs.txt` is two
    names. COLMAP has the outer corner of the first pixel at (0, 0); half a pixel is taken off the principal
    points, as glue-factory does too.
    """

    def __init__(self, *, root: str | Path) -> None:
        """Read the lists.

        Args:
            root: the folder with `views.txt`.

        Raises:
            DataError: a list is missing or damaged, or names a view that is not there.
        """
        self._root = root_of(root, GLUEFACTORY_LAYOUT)
        advice = GLUEFACTORY_LAYOUT.advice()
        self._list = self._root / "views.txt"
        self._views = {line.split()[0]: _view(line, self._list) for line in read_lines(self._list, advice)}
        pairs = self._root / "pairs.txt"
        self._pairs = [line.split() for line in read_lines(pairs, advice)]
        for names in self._pairs:
            if len(names) != 2 or any(name not in self._views for name in names):
                raise DataError(
                    f"{pairs}: expected two views of views.txt, got {' '.join(names)[:120]!r}; {advice}"
                )

    def _read(self, index: int, names: list[str], /) -> PairSample:
        image0, image1 = (read_image(path_inside(self._root / "images", name, self._list)) for name in names)
        view0, view1 = (self._views[name] for name in names)
        camera0, camera1 = (
            camera_of(view.K, origin="corner", size=image.size, stored=view.size, name=name)
            for view, image, name in zip((view0, view1), (image0, image1), names, strict=True)
        )
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=camera0,
            camera1=camera1,
            pose=relative_pose(view0.world_to_camera, view1.world_to_camera, name=f"{self._list}, {names}"),
            category=names[0].split("/")[0] if "/" in names[0] else None,
            name=f"{index:04d}/{Path(names[0]).stem}-{Path(names[1]).stem}",
        )


def _view(line: str, source: Path) -> _View:
    words = line.split()
    if len(words) < 19:
        raise DataError(
            f"{source}: expected name, R, t and a COLMAP camera, got {line[:80]!r}; obtain it again"
        )
    name = f"{source}, {words[0]}"
    R, t = (
        matrix(words[1:10], columns=3, rows=3, name=name),
        matrix(words[10:13], columns=1, rows=3, name=name),
    )
    width, height, *parameters = matrix(words[14:], columns=1, name=name)[:, 0].tolist()
    return _View(np.hstack((R, t)), _pinhole_of(words[13], parameters, name), (int(height), int(width)))


def _pinhole_of(model: str, parameters: list[float], name: str) -> np.ndarray:
    # The photos are undistorted, so any distortion that is left means another file.
    if model == "PINHOLE" and len(parameters) == 4:
        return pinhole(*parameters)
    if (
        model in {"SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"}
        and len(parameters) >= 3
        and not any(parameters[3:])
    ):
        focal, x, y = parameters[:3]
        return pinhole(focal, focal, x, y)
    raise DataError(
        f"{name}: expected a PINHOLE camera without distortion, got {model} {parameters}; undistort the photos first"
    )
