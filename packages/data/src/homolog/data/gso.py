"""Google Scanned Objects: rendered views of objects with camera poses, paired by how far apart they look.

OmniGlue's renderings (50 pairs for each of about 1,400 objects; 60 to 90 degrees apart, or 15 to 45) are
not published. This reads the public renderings of the same objects that come with IBRNet,
`google_scanned_objects/<object>/{rgb/*.png, pose/*.txt, intrinsics/*.txt}`: 250 views of 512 x 512 each,
poses 4 x 4 from camera to world with z forward and y down, intrinsics 4 x 4. Pairs are drawn with a seed.
Numbers measured here are therefore ours, and comparable with OmniGlue's to a few points at best.

Assumed, since it is not documented: the principal point counts from the outer corner of the image (it is
256 of 512), so half a pixel is taken off; and "apart" is the angle of the relative rotation.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from homolog.core.calibration import camera_of, relative_pose, rigid
from homolog.core.camera import Camera
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, DataError
from homolog.core.io import read_image
from homolog.core.samples import PairSample
from homolog.data._pairs import ListedPairs
from homolog.data.annotation import read_matrix, root_of
from homolog.data.inventory import Expected, Layout

LAYOUT = Layout(
    name="Google Scanned Objects (IBRNet's renderings)",
    folder="google_scanned_objects",
    home="https://github.com/googleinterns/IBRNet",
    licence="Google Scanned Objects: CC BY 4.0",
    obtain="Download google_scanned_objects_renderings.zip, whose address IBRNet's README has, and unpack it.",
    signature=("*/rgb/*.png", "*/pose/*.txt", "*/intrinsics/*.txt"),
    expected=(
        Expected(what="views", pattern="*/rgb/*.png", note="250 an object"),
        Expected(what="poses", pattern="*/pose/*.txt"),
        Expected(what="intrinsics", pattern="*/intrinsics/*.txt"),
    ),
    configs=("gso",),
)


class _Pair(NamedTuple):
    thing: str
    view0: str
    view1: str
    angle: float


class GoogleScannedObjects(ListedPairs[_Pair]):
    """Samples have cameras, `pose`, and the object as `category`."""

    def __init__(
        self, *, root: str | Path, angle: Sequence[float], pairs_per_object: int = 50, seed: int = 0
    ) -> None:
        """Draw the pairs.

        Args:
            root: the folder of the objects.
            angle: least and greatest angle of the relative rotation, in degrees.
            pairs_per_object: how many to draw; all, if there are fewer.
            seed: of the drawing; an object's pairs do not depend on which others are there.

        Raises:
            ConfigError: an empty range of angles, or no pairs wanted.
            DataError: no objects, or poses that are none.
        """
        low, high = angle
        if not 0 <= low < high <= 180 or pairs_per_object < 1:
            raise ConfigError(
                f"GSO: expected angles 0 <= low < high <= 180 and at least one pair, got {low}, {high}, {pairs_per_object}"
            )
        self._root = root_of(root, LAYOUT)
        pairs: list[_Pair] = []
        for folder in sorted(path.parent for path in self._root.glob("*/rgb")):
            found = _pairs_of(folder, low, high)
            chosen = random.Random(f"{seed}/{folder.name}").sample(found, min(pairs_per_object, len(found)))
            pairs += sorted(chosen)
        if not pairs:
            raise DataError(
                f"{self._root}: expected views {low} to {high} degrees apart, got none; {LAYOUT.advice()}"
            )
        self._pairs = pairs

    def _read(self, index: int, pair: _Pair, /) -> PairSample:
        folder = self._root / pair.thing
        image0, image1 = (read_image(folder / "rgb" / f"{view}.png") for view in (pair.view0, pair.view1))
        poses = [np.linalg.inv(_camera_to_world(folder, view)) for view in (pair.view0, pair.view1)]
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=_camera(folder, pair.view0, image0.size),
            camera1=_camera(folder, pair.view1, image1.size),
            pose=relative_pose(*poses, name=str(folder)),
            category=pair.thing,
            name=f"{pair.thing}/{pair.view0}-{pair.view1}",
            facts={"angle": f"{pair.angle:.2f}"},
        )


def _pairs_of(folder: Path, low: float, high: float) -> list[_Pair]:
    views = sorted(path.stem for path in (folder / "rgb").glob("*.png"))
    if len(views) < 2:
        return []
    R = np.stack([_camera_to_world(folder, view)[:3, :3] for view in views])
    traces = np.einsum("aij,bij->ab", R, R)
    angles = np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1)))
    first, second = np.nonzero(np.triu((angles >= low) & (angles <= high), k=1))
    return [
        _Pair(folder.name, views[i], views[j], float(angles[i, j]))
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]


def _camera_to_world(folder: Path, view: str) -> np.ndarray:
    path = folder / "pose" / f"{view}.txt"
    return rigid(read_matrix(path, columns=4, rows=4, advice=LAYOUT.advice()), name=str(path))


def _camera(folder: Path, view: str, size: Size) -> Camera:
    path = folder / "intrinsics" / f"{view}.txt"
    K = read_matrix(path, columns=4, rows=4, advice=LAYOUT.advice())[:3, :3]
    return camera_of(K, origin="corner", size=size, name=str(path))
