"""MegaDepth-1500 as glue-factory ships it: photos, `views.txt` and `pairs.txt`.

A line of `views.txt` is a photo's name, its rotation (9 numbers, by rows) and translation (3) from
world to camera, and its COLMAP camera: model, width, height, parameters. A line of `pairs.txt` is two
names. COLMAP has the outer corner of the first pixel at (0, 0); half a pixel is taken off the principal
points, as glue-factory does too.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from homolog.core.calibration import camera_of, pinhole, relative_pose
from homolog.core.coords import Size
from homolog.core.errors import DataError
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data.annotation import inside, read_lines, root_of
from homolog.data.layout import Expected, Layout
from homolog.data.matrix_text import matrix

LAYOUT = Layout(
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


class MegaDepth1500GlueFactory:
    """Pairs of photos of two landmarks with relative poses.

    Samples have cameras, `pose`, and the scene as `category` where names begin with it.
    """

    def __init__(self, *, root: str | Path) -> None:
        """Read the lists.

        Args:
            root: the folder with `views.txt`.

        Raises:
            DataError: a list is missing or damaged, or names a view that is not there.
        """
        self._root = root_of(root, LAYOUT)
        advice = LAYOUT.advice()
        self._list = self._root / "views.txt"
        self._views = {line.split()[0]: _view(line, self._list) for line in read_lines(self._list, advice)}
        pairs = self._root / "pairs.txt"
        self._pairs = [line.split() for line in read_lines(pairs, advice)]
        for names in self._pairs:
            if len(names) != 2 or any(name not in self._views for name in names):
                raise DataError(
                    f"{pairs}: expected two views of views.txt, got {' '.join(names)[:120]!r}; {advice}"
                )

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            DataError: a photo is missing or damaged.
        """
        names = self._pairs[index]
        image0, image1 = (read_image(inside(self._root / "images", name, self._list)) for name in names)
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
