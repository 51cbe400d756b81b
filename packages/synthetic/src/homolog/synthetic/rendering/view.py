"""A scene seen by one camera: geometry only, for every pixel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from homolog.core.coords import Size
from homolog.synthetic.compiled import compiled
from homolog.synthetic.rendering.rasteriser import Raster, interpolate, resolved
from homolog.synthetic.rendering.scene import Scene, SurfacePoints
from homolog.synthetic.rendering.viewpoint import Viewpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What each pixel of an image shows.

    Attributes:
        scene: the bodies.
        viewpoint: the camera.
        raster: triangle (among all of the scene), barycentric coordinates and depth of each pixel's centre.
        seen: [V 3] the scene's vertices as `Viewpoint.homogeneous` projects them.
    """

    scene: Scene
    viewpoint: Viewpoint
    raster: Raster
    seen: Float64[np.ndarray, "V 3"]

    @classmethod
    def of(cls, scene: Scene, viewpoint: Viewpoint) -> "View":
        """Render the geometry of a scene."""
        seen = viewpoint.homogeneous(scene.vertices)
        raster = resolved(seen, scene.faces, viewpoint, one_sided=scene.closed)
        return cls(scene=scene, viewpoint=viewpoint, raster=raster, seen=seen)

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.viewpoint.size

    @property
    def depth(self) -> Float32[np.ndarray, "H W"]:
        """Z in the camera's frame, NaN where no surface is seen."""
        return self.raster.depth

    @property
    def object(self) -> Int32[np.ndarray, "H W"]:
        """Index of the body seen, -1 where none is."""
        return self.of_faces(self.scene.object)

    @property
    def part(self) -> Int32[np.ndarray, "H W"]:
        """Index of the part seen, among those of its body; -1 where none is."""
        return self.of_faces(self.scene.part)

    @property
    def canonical(self) -> Float32[np.ndarray, "H W 3"]:
        """Position of what is seen on the mean instance at rest; NaN where nothing is."""
        return interpolate(self.raster, self.scene.faces, self.scene.canonical)

    def of_faces(self, values: Int32[np.ndarray, " F"]) -> Int32[np.ndarray, "H W"]:
        """Look up a number of each triangle at every pixel; -1 where no surface is seen."""
        seen = np.empty_like(self.raster.face)
        _read(self.raster.face.reshape(-1), values, seen.reshape(-1))
        return seen

    def shows(self, body: int) -> Bool[np.ndarray, "H W"]:
        """Return which pixels show one body."""
        return self.object == body

    def points(self) -> SurfacePoints:
        """Return what every pixel shows, row by row."""
        face = self.raster.face.reshape(-1)
        body, local = np.empty_like(face), np.empty_like(face)
        _split(face, self.scene.object, self.scene.first_face, body, local)
        return SurfacePoints(object=body, face=local, bary=self.raster.bary.reshape(-1, 3))


@compiled
def _split(
    face: np.ndarray, body_of_face: np.ndarray, first_face: np.ndarray, body: np.ndarray, local: np.ndarray
) -> None:
    for n in range(len(face)):
        if face[n] < 0:
            body[n], local[n] = -1, -1
        else:
            body[n] = body_of_face[face[n]]
            local[n] = face[n] - first_face[body[n]]


@compiled
def _read(face: np.ndarray, values: np.ndarray, seen: np.ndarray) -> None:
    for n in range(len(face)):
        seen[n] = -1 if face[n] < 0 else values[face[n]]
