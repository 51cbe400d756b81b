"""Invertible maps of the image plane (rotation, scale, stretch, shift, thin-plate bend), and views through them.

A map works in picture units, so that it is the same for any number of pixels: the origin is the middle of
the picture, and its longer side reaches from -1 to 1. There T(u) = L (u + d(u)) + o with the thin-plate
spline d (Bookstein 1989, "Principal Warps"): d(u) = sum_k w_k U(|u - c_k|) + a + A u, U(r) = r^2 log r^2.

A warped view is rendered, not resampled: the map moves projected vertices, and everything made of them
(triangles, barycentric coordinates, depth, colours, their edges) is as sharp as in any other view.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64

from homolog.core.camera import Camera
from homolog.core.coords import Size, normalised_to_pixel, pixel_to_normalised, resize_pixel
from homolog.core.errors import CapabilityError, ConfigError
from homolog.synthetic.compiled import Real, compiled, inlined
from homolog.synthetic.meshes.subdivision import Subdivision, subdivided
from homolog.synthetic.rendering.rasteriser import NEAR
from homolog.synthetic.rendering.scene import Body, Scene, Topology
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint

REACH = 1.3
"""Up to here, in picture units, a map is checked for folds; beyond, the bend stays what it is at the border."""

STEEPEST = 0.25
"""Smallest factor of a bend on areas; less counts as a fold."""

CLOSE = 1e-9
"""Tolerance of the inverse, in picture units."""

_GRID = 4
_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneMap:
    """An invertible map of the image plane; see the module.

    Attributes:
        linear: [2 2] L.
        offset: [2] o, in picture units.
        centres: [K 2] of the bend, in picture units; none for an affine map.
        bend: [K+3 2] weights of the bend at its centres, then of 1, x and y.
    """

    linear: Float64[np.ndarray, "2 2"]
    offset: Float64[np.ndarray, "2"]
    centres: Float64[np.ndarray, "K 2"]
    bend: Float64[np.ndarray, "K3 2"]

    @classmethod
    def affine(cls, linear: Float64[np.ndarray, "2 2"], offset: Float64[np.ndarray, "2"]) -> "PlaneMap":
        """Return a map without a bend."""
        return cls(linear=linear, offset=offset, centres=np.zeros((0, 2)), bend=np.zeros((3, 2)))

    def moved(self, xy: Float64[np.ndarray, "N 2"], size: Size) -> Float64[np.ndarray, "N 2"]:
        """Map pixel coordinates of a picture of `size` to pixel coordinates of another one of that size."""
        places = np.empty_like(xy)
        _forward(_units(xy, size), self.linear, self.offset, self.centres, self.bend, places)
        return _pixels(places, size)

    def undone(self, xy: Float64[np.ndarray, "N 2"], size: Size) -> Float64[np.ndarray, "N 2"]:
        """Map pixel coordinates back, by Newton's method to within 1e-9 of the picture; NaN where it fails.

        Order points so that neighbours follow each other: each starts from the result of the one before.
        """
        places = np.empty_like(xy)
        _backward(_units(xy, size), self.linear, self.offset, self.centres, self.bend, places)
        return _pixels(places, size)

    def area_factor(self, lattice: int = 41) -> Float64[np.ndarray, "N"]:
        """Return the factor of the bend on areas, on a square lattice that covers `REACH`; negative at folds."""
        line = np.linspace(-REACH, REACH, lattice) * (1 - 1e-9)
        points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        slopes = np.empty((len(points), 4))
        _slopes_at(points, self.centres, self.bend, slopes)
        return slopes[:, 0] * slopes[:, 3] - slopes[:, 1] * slopes[:, 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRanges:
    """The range of maps between two pictures of an aligned pair.

    Attributes:
        rotation: largest angle, degrees.
        scale: smallest and largest factor.
        stretch: largest logarithm of the factor along some axis, and of its inverse across it; with the
            rotation this is every affine map.
        shift: largest shift, as a fraction of the picture's longer side.
        bend: standard deviation of the shifts of 4 x 4 points of the picture, as a fraction of its longer side.
    """

    rotation: float | int = 30.0
    scale: tuple[float | int, float | int] = (0.75, 1.35)
    stretch: float | int = 0.2
    shift: float | int = 0.06
    bend: float | int = 0.03

    def __post_init__(self) -> None:
        """Raise ConfigError for a range that no map can have."""
        low, high = self.scale
        if not (
            0 <= self.rotation <= 180
            and 0.1 <= low <= high <= 10
            and 0 <= self.stretch <= 1
            and 0 <= self.shift <= 0.5
            and 0 <= self.bend <= 0.15
        ):
            raise ConfigError(
                "expected rotation in [0, 180], scale as [lowest, highest] in [0.1, 10], stretch in [0, 1], shift in "
                f"[0, 0.5] and bend in [0, 0.15], got {self.rotation}, {list(self.scale)}, {self.stretch}, "
                f"{self.shift}, {self.bend}"
            )

    def drawn(self, random: np.random.Generator) -> PlaneMap:
        """Draw a map; a bend that folds the plane is rejected, and the next one is a little weaker."""
        turn = _rotation(float(np.radians(random.uniform(-self.rotation, self.rotation))))
        axis = _rotation(float(random.uniform(0, np.pi)))
        stretch = float(np.exp(random.uniform(0, self.stretch)))
        scale = float(np.exp(random.uniform(*np.log(self.scale))))
        linear = scale * turn @ axis @ np.diag((stretch, 1 / stretch)) @ axis.T
        # A fraction of the longer side is twice as many picture units.
        offset = 2 * random.uniform(-self.shift, self.shift, 2)
        if self.bend == 0:
            return PlaneMap.affine(linear, offset)
        deviation = 2 * self.bend
        while True:
            centres, bend = _bend(deviation * random.standard_normal((_GRID * _GRID, 2)))
            drawn = PlaneMap(linear=linear, offset=offset, centres=centres, bend=bend)
            if float(drawn.area_factor().min()) > STEEPEST:
                return drawn
            deviation *= 0.9


def _rotation(angle: float) -> Float64[np.ndarray, "2 2"]:
    return np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))


def _bend(
    shifts: Float64[np.ndarray, "K 2"],
) -> tuple[Float64[np.ndarray, "K 2"], Float64[np.ndarray, "K3 2"]]:
    """Return the spline that moves a regular grid of points by `shifts`."""
    line = np.linspace(-1, 1, _GRID)
    centres = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    squared = ((centres[:, None] - centres[None]) ** 2).sum(axis=-1)
    kernel = squared * np.log(np.where(squared > 0, squared, 1))
    linear = np.concatenate((np.ones((len(centres), 1)), centres), axis=1)
    system = np.block([[kernel, linear], [linear.T, np.zeros((3, 3))]])
    return centres, np.linalg.solve(system, np.concatenate((shifts, np.zeros((3, 2)))))


def _units(xy: Float64[np.ndarray, "N 2"], size: Size) -> Float64[np.ndarray, "N 2"]:
    # Normalised coordinates reach 1 along both sides: on a picture that is not square, give x and y one scale.
    sides = size[1] / max(size), size[0] / max(size)
    return pixel_to_normalised(torch.from_numpy(xy), size).numpy() * sides


def _pixels(places: Float64[np.ndarray, "N 2"], size: Size) -> Float64[np.ndarray, "N 2"]:
    normalised = places / (size[1] / max(size), size[0] / max(size))
    return normalised_to_pixel(torch.from_numpy(normalised), size).numpy()


@inlined
def _bent(
    x: Real, y: Real, centres: np.ndarray, bend: np.ndarray
) -> tuple[Real, Real, Real, Real, Real, Real]:
    """Return u + d(u), and its derivatives: of x by x, of x by y, of y by x, of y by y."""
    u, v = min(max(x, -REACH), REACH), min(max(y, -REACH), REACH)
    n = len(centres)
    dx = bend[n, 0] + bend[n + 1, 0] * u + bend[n + 2, 0] * v
    dy = bend[n, 1] + bend[n + 1, 1] * u + bend[n + 2, 1] * v
    xx, xy, yx, yy = bend[n + 1, 0], bend[n + 2, 0], bend[n + 1, 1], bend[n + 2, 1]
    for k in range(n):
        p, q = u - centres[k, 0], v - centres[k, 1]
        squared = p * p + q * q
        if squared > 0:
            log = np.log(squared)
            kernel, slope = squared * log, 2 * (log + 1)
            dx += bend[k, 0] * kernel
            dy += bend[k, 1] * kernel
            xx += bend[k, 0] * slope * p
            xy += bend[k, 0] * slope * q
            yx += bend[k, 1] * slope * p
            yy += bend[k, 1] * slope * q
    # Beyond the border the bend does not change any more in that direction.
    if u != x:
        xx, yx = 0.0, 0.0
    if v != y:
        xy, yy = 0.0, 0.0
    return x + dx, y + dy, 1 + xx, xy, yx, 1 + yy


@compiled
def _forward(
    points: np.ndarray,
    linear: np.ndarray,
    offset: np.ndarray,
    centres: np.ndarray,
    bend: np.ndarray,
    places: np.ndarray,
) -> None:
    for n in range(len(points)):
        x, y, _, _, _, _ = _bent(points[n, 0], points[n, 1], centres, bend)
        places[n, 0] = linear[0, 0] * x + linear[0, 1] * y + offset[0]
        places[n, 1] = linear[1, 0] * x + linear[1, 1] * y + offset[1]


@compiled
def _slopes_at(points: np.ndarray, centres: np.ndarray, bend: np.ndarray, slopes: np.ndarray) -> None:
    for n in range(len(points)):
        _, _, xx, xy, yx, yy = _bent(points[n, 0], points[n, 1], centres, bend)
        slopes[n, 0], slopes[n, 1], slopes[n, 2], slopes[n, 3] = xx, xy, yx, yy


@compiled
def _backward(
    points: np.ndarray,
    linear: np.ndarray,
    offset: np.ndarray,
    centres: np.ndarray,
    bend: np.ndarray,
    places: np.ndarray,
) -> None:
    det = linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0]
    last_x, last_y, last_u, last_v = 0.0, 0.0, 0.0, 0.0
    for n in range(len(points)):
        p, q = points[n, 0] - offset[0], points[n, 1] - offset[1]
        # Undo the affine part; what is left is the bend.
        u = (linear[1, 1] * p - linear[0, 1] * q) / det
        v = (linear[0, 0] * q - linear[1, 0] * p) / det
        x, y = last_x + u - last_u, last_y + v - last_v
        found = False
        for _ in range(_STEPS):
            bx, by, xx, xy, yx, yy = _bent(x, y, centres, bend)
            ex, ey = bx - u, by - v
            if abs(ex) < CLOSE and abs(ey) < CLOSE:
                found = True
                break
            area = xx * yy - xy * yx
            sx, sy = (yy * ex - xy * ey) / area, (xx * ey - yx * ex) / area
            # A step of half a picture or more means that the start was far off.
            length = max(abs(sx), abs(sy))
            short = 0.5 / length if length > 0.5 else 1.0
            x, y = x - short * sx, y - short * sy
        if found:
            places[n, 0], places[n, 1] = x, y
            last_x, last_y, last_u, last_v = x, y, u, v
        else:
            places[n, 0], places[n, 1] = np.nan, np.nan


ERROR = 0.03
"""Pixels by which a straight edge of a triangle may miss the curve it should be."""

SHORT = 1.5
"""Edges shorter than this, in pixels, stay straight."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpedViewpoint(Viewpoint):
    """A camera whose picture is moved by a map of the image plane.

    Attributes:
        lens: the map.
        frame: (height, width) of the picture that the map was made for; at another aspect ratio, as some
            generators need, it is stretched like everything else.
    """

    lens: PlaneMap
    frame: Size

    def homogeneous(self, points: Float[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """Return (x z, y z, z) of points of the world, with the pixel (x, y) of this picture and the depth z."""
        # A class with slots is made anew by its decorator, and `super` would look for the old one.
        seen = Viewpoint.homogeneous(self, points)
        ahead = seen[:, 2] > NEAR
        z = seen[ahead, 2:]
        framed = _resized(seen[ahead, :2] / z, self.size, self.frame)
        seen[ahead, :2] = _resized(self.lens.moved(framed, self.frame), self.frame, self.size) * z
        return seen

    def resized(self, size: Size) -> "WarpedViewpoint":
        """Return the same camera and lens with another number of pixels over the same field of view."""
        plain = Viewpoint.resized(self, size)
        return WarpedViewpoint(
            K=plain.K, R=plain.R, t=plain.t, size=plain.size, lens=self.lens, frame=self.frame
        )

    def camera(self) -> Camera:
        """Raise: no intrinsics matrix describes a lens.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError("a warped view has no pinhole intrinsics; use those of the view it was made of")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpedView:
    """A view through a map of the image plane, and how its triangles were cut.

    Attributes:
        view: surface points, depth and parts are those of the original view. Triangles that are long for the
            curvature of the map are cut, so the scene has triangles of its own; bodies and parts keep their
            numbers, and positions their place in the world.
        cuts: for each body how its triangles were cut, None where they were not.
    """

    view: View
    cuts: tuple[Subdivision | None, ...]

    @classmethod
    def of(cls, view: View, lens: PlaneMap) -> "WarpedView":
        """Move what a view shows by a map of the image plane."""
        camera = view.viewpoint
        warped = WarpedViewpoint(
            K=camera.K, R=camera.R, t=camera.t, size=camera.size, lens=lens, frame=camera.size
        )
        if not len(lens.centres):  # an affine map: straight lines stay straight
            return cls(view=View.of(view.scene, warped), cuts=(None,) * len(view.scene.bodies))
        bodies, cuts = zip(*(_cut(body, camera, lens) for body in view.scene.bodies), strict=True)
        return cls(view=View.of(Scene.of(bodies), warped), cuts=cuts)


def _resized(xy: np.ndarray, source: Size, target: Size) -> np.ndarray:
    return xy if source == target else resize_pixel(torch.from_numpy(xy), source, target).numpy()


def _cut(body: Body, camera: Viewpoint, lens: PlaneMap) -> tuple[Body, Subdivision | None]:
    """Cut a body's edges until they are short enough to look bent; return how it was cut."""
    topology = body.topology
    parts = subdivided(
        topology.faces,
        np.concatenate((camera.homogeneous(body.vertices), body.vertices, topology.canonical), axis=1),
        too_long=partial(_misses, lens=lens, size=camera.size),
    )
    if len(parts.faces) == len(topology.faces):
        return body, None
    # Without keypoints, whose triangles no longer exist: the caller moves them by the map instead.
    finer = Topology(
        name=topology.name,
        faces=parts.faces,
        canonical=parts.values[:, 6:],
        part=topology.part[parts.parent],
        sheet=topology.sheet[parts.parent],
        part_names=topology.part_names,
        finishes=topology.finishes,
        closed=topology.closed,
    )
    return Body(topology=finer, vertices=parts.values[:, 3:6], key=body.key), parts


def _misses(start: np.ndarray, end: np.ndarray, *, lens: PlaneMap, size: Size) -> np.ndarray:
    """Find the edges whose bent middle is visibly off the middle of their bent ends."""
    missed = np.zeros(len(start), np.bool_)
    ahead = np.flatnonzero((start[:, 2] > NEAR) & (end[:, 2] > NEAR))
    seen0, seen1 = start[ahead, :3], end[ahead, :3]
    offset = seen0[:, :2] / seen0[:, 2:] - seen1[:, :2] / seen1[:, 2:]
    long = np.einsum("nc,nc->n", offset, offset) > SHORT**2
    ahead, seen0, seen1 = ahead[long], seen0[long], seen1[long]
    middle = (seen0 + seen1) / 2
    bent0, bent1, bent = (lens.moved(seen[:, :2] / seen[:, 2:], size) for seen in (seen0, seen1, middle))
    # Where the straight edge is drawn: projection is linear before the division.
    drawn = (bent0 * seen0[:, 2:] + bent1 * seen1[:, 2:]) / (2 * middle[:, 2:])
    low, high = np.minimum(bent0, bent1), np.maximum(bent0, bent1)
    shown = (high > -1).all(axis=1) & (low < (size[1], size[0])).all(axis=1)
    missed[ahead] = shown & (np.linalg.norm(bent - drawn, axis=1) > ERROR)
    return missed
