"""Pairs of photos drawn from a COLMAP model, with intrinsics and relative poses: Aachen, or a model of your own.

MATCHA's 1,500 pairs of Aachen are not published. These are drawn with a seed, so that anybody with the model gets the same list.
"""

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from homolog.core.calibration import camera_of, relative_pose
from homolog.core.camera import Camera
from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import path_inside
from homolog.data.colmap_model import View, import_pycolmap, read_model, undistorted
from homolog.data.inventory import Expected, Layout

AACHEN = Layout(
    name="Aachen Day-Night v1.1",
    folder="aachen_v1.1",
    home="https://www.visuallocalization.net",
    licence="CC BY-NC-SA 4.0",
    obtain="Download and unpack database_and_query_images.zip and aachen_v1_1.zip of Aachen Day-Night into one folder.",
    signature=("3D-models/aachen_v_1_1/images.*", "images_upright/db"),
    expected=(
        Expected(what="cameras of the model", pattern="3D-models/aachen_v_1_1/cameras.*", count=1),
        Expected(what="images of the model", pattern="3D-models/aachen_v_1_1/images.*", count=1),
        Expected(what="database photos", pattern="images_upright/db/*.jpg", count=4328, note="unverified"),
    ),
    configs=("aachen_pairs",),
)

MAXIMUM_ASPECT_ERROR = 1.0  # pixels; a photo that was resized on disk has rounded sides


class _Pair(NamedTuple):
    first: int
    second: int
    shared: int
    overlap: float


class ColmapPairs(ListedPairs[_Pair]):
    """Pairs of photos of a COLMAP model. Samples have cameras and `pose`; `facts` has the overlap.

    The overlap of two images is the fraction of the 3D points of the one with more points that the other sees too. Few
    features are found again in every photo that shows them, so it is lower than the overlap of the surfaces.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        images: str,
        model: str | None = None,
        names: str = "*",
        count: int | None = None,
        overlap: Sequence[float],
        min_shared: int,
        undistort: bool,
        seed: int = 0,
    ) -> None:
        """Read the model and draw the pairs.

        Args:
            root: the folder that the others are in.
            images: the folder of the photos, relative to the root.
            model: the folder of the model, relative to the root; None looks for `sparse/0`, `sparse` and the root itself.
            names: the images to use, as a pattern (`db/*`).
            count: how many pairs to draw; None for all. All are taken if there are fewer.
            overlap: least and greatest, both included.
            min_shared: least number of 3D points that both images see.
            undistort: resample photos of a camera with distortion, so that they are those of a pinhole camera with the same
                focal lengths and principal point. Matches, intrinsics and pose refer to the new pixels. False makes such a
                camera an error.
            seed: of the drawing. It is a permutation of all pairs in the order of their names, so that a larger `count`
                adds pairs to those of a smaller one.

        Raises:
            ConfigError: an empty range of overlaps, or no pairs wanted.
            DataError: the model is missing or damaged, or has no such pairs.
            MissingDependencyError: a camera has distortion, and pycolmap is not installed.
        """
        low, high = overlap
        if not 0 <= low <= high <= 1 or min_shared < 1 or (count is not None and count < 1):
            raise ConfigError(
                "COLMAP pairs: expected overlaps 0 <= low <= high <= 1, min_shared and count of at least 1, got "
                f"{low}, {high}, {min_shared} and {count}"
            )
        self._model = _model_folder(Path(root).expanduser(), model)
        self._images = Path(root).expanduser() / images
        views = (view for view in read_model(self._model) if fnmatchcase(view.name, names))
        self._views = sorted(views, key=lambda view: view.name)
        self._check_lenses(undistort)
        pairs = [pair for pair in covisible_pairs(self._views, min_shared) if low <= pair.overlap <= high]
        if not pairs:
            raise DataError(
                f"{self._model}: expected pairs with an overlap of {low:g} to {high:g} and {min_shared} common points "
                f"among {len(self._views)} images named {names!r}, got none; widen overlap, or lower min_shared"
            )
        random.Random(seed).shuffle(pairs)
        self._pairs = pairs[:count]

    def _check_lenses(self, undistort: bool) -> None:
        view = next((view for view in self._views if view.lens.distorted()), None)
        if view is not None and not undistort:
            raise DataError(
                f"{self._model}: expected pinhole cameras, got {view.lens.model} {list(view.lens.parameters)} of {view.name}; "
                "run colmap image_undistorter, or set undistort to true"
            )
        if view is not None:
            import_pycolmap()  # rather than at the first pair of hours of evaluation

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        view0, view1 = self._views[pair.first], self._views[pair.second]
        image0, camera0 = self._photo(view0)
        image1, camera1 = self._photo(view1)
        label = f"{self._model}, {view0.name} and {view1.name}"
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=camera0,
            camera1=camera1,
            pose=relative_pose(view0.world_to_camera, view1.world_to_camera, name=label),
            name=f"{index:05d}/{Path(view0.name).stem}-{Path(view1.name).stem}",
            facts={"overlap": f"{pair.overlap:.4f}", "shared points": str(pair.shared)},
        )

    def _photo(self, view: View) -> tuple[Image, Camera]:
        image = read_image(path_inside(self._images, view.name, self._model))
        (height, width), stored = image.size, view.lens.size
        if abs(height * stored[1] - width * stored[0]) > MAXIMUM_ASPECT_ERROR * max(stored):
            raise DataError(
                f"{image.name}: expected a photo of the shape of its camera, {stored[1]} x {stored[0]}, got {width} x {height}; "
                "use the photos that the model was made of (COLMAP ignores EXIF rotations: remove them)"
            )
        camera = camera_of(
            view.lens.matrix(), origin="corner", size=image.size, stored=stored, name=view.name
        )
        return (undistorted(image, camera, view.lens) if view.lens.distorted() else image), camera


def _model_folder(root: Path, model: str | None) -> Path:
    places = [root / name for name in (("sparse/0", "sparse", ".") if model is None else (model,))]
    for place in places:
        if any((place / f"images.{kind}").is_file() for kind in ("bin", "txt")):
            return place
    looked = ", ".join(str(place) for place in places)
    raise DataError(
        f"{root}: expected a COLMAP model (images.bin or images.txt), found none in {looked}; name its folder with model "
        "(homolog data check FOLDER says how to get Aachen)"
    )


def covisible_pairs(views: Sequence[View], min_shared: int) -> list[_Pair]:
    """Return the pairs of views with at least `min_shared` common points, in the order of the views."""
    counts = np.array([len(view.points) for view in views], dtype=np.int64)
    numbers = np.concatenate([np.empty(0, dtype=np.int64), *(view.points for view in views)])
    _, point = np.unique(numbers, return_inverse=True)
    viewer = np.repeat(np.arange(len(views)), counts)[np.argsort(point, kind="stable")]
    starts = np.concatenate(([0], np.cumsum(np.bincount(point))))
    pairs: list[_Pair] = []
    for first, own in enumerate(np.split(point, np.cumsum(counts)[:-1]) if len(views) else ()):
        # The viewers of all points of this view, one after the other.
        lengths = starts[own + 1] - starts[own]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        shared = np.bincount(viewer[within + np.repeat(starts[own], lengths)], minlength=len(views))
        for second in (np.nonzero(shared[first + 1 :] >= min_shared)[0] + first + 1).tolist():
            common = int(shared[second])
            pairs.append(_Pair(first, second, common, common / int(max(counts[first], counts[second]))))
    return pairs
