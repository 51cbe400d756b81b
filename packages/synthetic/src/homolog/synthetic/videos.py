"""Videos: articulated objects that walk and occlude one another in front of a moving camera, with point tracks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from homolog.core.errors import ConfigError, ShapeError, one_of
from homolog.core.samples import VideoSample
from homolog.core.tracks import Tracks
from homolog.synthetic.category import chosen
from homolog.synthetic.on_demand import OnDemand, check_at_least, check_within
from homolog.synthetic.rendering.lighting import Light, Sky
from homolog.synthetic.rendering.look import Look
from homolog.synthetic.rendering.paint import paint
from homolog.synthetic.rendering.photometry import Photometry, as_sample_image, taken
from homolog.synthetic.rendering.scene import Body, Scene, SurfacePoints
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.scenes.motion import Walk, drawn_camera_path, moving_poses
from homolog.synthetic.scenes.objects import Actor
from homolog.synthetic.scenes.room import Disc, FloorPlan, Prop, Room, furnished
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.transfer import transfer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenPoints:
    """N surface points on the bodies that all frames share, and the frame and pixel that each was picked on."""

    points: SurfacePoints
    frame: Int64[np.ndarray, " N"]
    xy: Float64[np.ndarray, "N 2"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointTracks:
    """N points on T frames: exact pixel coordinates, visible or not (NaN behind the camera), and visibility."""

    xy: Float32[np.ndarray, "N T 2"]
    visible: Bool[np.ndarray, "N T"]


def pick_points(
    views: Sequence[View],
    random: np.random.Generator,
    *,
    count: int,
    frames: Int64[np.ndarray, " K"],
    wanted: Bool[np.ndarray, " B"],
    fraction: float,
) -> SeenPoints:
    """Pick surface points that are visible on one of some frames, anywhere within their pixel.

    `frames` [K] are those on which to pick, `wanted` [B] the bodies to prefer, and `fraction` is that of the
    points on those bodies, if any of them is visible.

    Raises:
        ShapeError: none of the frames shows a surface.
    """
    bodies = np.stack([views[frame].object for frame in frames.tolist()])
    everything = np.flatnonzero(bodies >= 0)
    if not len(everything):
        raise ShapeError(f"expected frames that show something, got {len(frames)} that do not")
    special = np.flatnonzero((bodies >= 0) & wanted[bodies])
    if not len(special):
        special = everything
    # Drawn from both, so that what is visible does not decide how many random numbers are used.
    often, rare = (random.integers(len(pool), size=count) for pool in (special, everything))
    place = np.where(random.random(count) < fraction, special[often], everything[rare])
    frame, row, column = np.unravel_index(place, bodies.shape)
    offset = random.uniform(-0.5, 0.5, (count, 2))
    return _picked(views, frames[frame], row, column, offset)


def _picked(
    views: Sequence[View], frame: np.ndarray, row: np.ndarray, column: np.ndarray, offset: np.ndarray
) -> SeenPoints:
    scene = views[0].scene
    shown = [views[k] for k in frame.tolist()]
    pixels = list(zip(shown, row.tolist(), column.tolist(), strict=True))
    face = np.array([view.raster.face[y, x] for view, y, x in pixels], np.int32)
    corners = [view.seen[scene.faces[f]] for view, f in zip(shown, face.tolist(), strict=True)]
    centre = np.stack((column, row), axis=1).astype(np.float64)
    bary = _barycentric(np.array(corners).reshape(-1, 3, 3), centre + offset)
    # Beyond the edge of the triangle another surface is visible: there, use the centre of the pixel.
    outside = ~(bary.min(axis=1) >= 0)
    bary[outside] = [view.raster.bary[y, x] for (view, y, x), out in zip(pixels, outside, strict=True) if out]
    body = scene.object[face]
    return SeenPoints(
        points=SurfacePoints(object=body, face=face - scene.first_face[body], bary=bary.astype(np.float32)),
        frame=frame,
        xy=np.where(outside[:, None], centre, centre + offset),
    )


def follow(points: SurfacePoints, views: Sequence[View]) -> PointTracks:
    """Return where surface points are on every frame; all views have the same bodies in the same order."""
    xy = np.empty((len(points), len(views), 2), np.float32)
    visible = np.empty((len(points), len(views)), np.bool_)
    for frame, view in enumerate(views):
        landing = transfer(points, views[0], view)
        xy[:, frame], visible[:, frame] = landing.xy, landing.visible
    return PointTracks(xy=xy, visible=visible)


def _barycentric(
    corners: Float64[np.ndarray, "N 3 3"], xy: Float64[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "N 3"]:
    """Return where the rays of pixels meet the planes of triangles; see `homolog.synthetic.rendering.rasteriser`."""
    relative = corners[..., :2] - corners[..., 2:] * xy[:, None]
    x, y = relative[..., 0], relative[..., 1]
    edges = x[:, [1, 2, 0]] * y[:, [2, 0, 1]] - x[:, [2, 0, 1]] * y[:, [1, 2, 0]]
    return edges / edges.sum(axis=1, keepdims=True)


STEPS = {"first": 1, "strided": 5}
"""Every how many frames points are picked; 5 for `strided` queries as in TAP-Vid."""

_WALKS = 8
"""Walks to draw for each object; the one that stays farthest from those of the others is taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """Everything that is known about a video; `sample` is the training sample.

    Attributes:
        views: geometry of every frame; all have the same bodies in the same order.
        moving: [B] which of them move.
        looks: one for each of them.
        pictures: pixels of every frame.
        picked: the surface points, each with a frame on which it is visible.
        tracks: where they are on every frame.
        query_frame: the frame on which each is queried.
        name: unique within its data set.
    """

    views: tuple[View, ...]
    moving: Bool[np.ndarray, " B"]
    looks: tuple[Look, ...]
    pictures: tuple[UInt8[np.ndarray, "H W 3"], ...]
    picked: SeenPoints
    tracks: PointTracks
    query_frame: tuple[int, ...]
    name: str

    def sample(self) -> VideoSample:
        """Return frames and tracks; occluded points have exact positions too, NaN behind the camera."""
        return VideoSample(
            frames=[
                as_sample_image(picture, f"{self.name}/{frame:03d}")
                for frame, picture in enumerate(self.pictures)
            ],
            tracks=Tracks(
                xy=torch.from_numpy(self.tracks.xy),
                visible=torch.from_numpy(self.tracks.visible),
                query_frame=torch.tensor(self.query_frame, dtype=torch.int64),
            ),
            name=self.name,
        )


class Videos(OnDemand):
    """Synthetic videos, made on demand; independent of order and worker."""

    _what = "video"

    def __init__(
        self,
        *,
        count: int,
        size: int | Sequence[int] = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        names: list[str] | None = None,
        frames: int = 24,
        rate: float | int = 12.0,
        objects: int = 3,
        clutter: int = 8,
        tracks: int = 256,
        queries: Literal["first", "strided"] = "first",
        on_objects: float | int = 0.7,
        photometry: bool = True,
    ) -> None:
        """Choose the settings.

        Args:
            count: number of videos.
            size: of the frames in pixels, one number or [height, width].
            seed: of the data set.
            split: equal indices of different splits give unrelated videos.
            names: categories of the objects; all by default.
            frames: length of each video.
            rate: frames per second.
            objects: number of moving objects.
            clutter: number of crates, pillars and balls in the room.
            tracks: number of points per video, picked at random from what is visible on random frames.
            queries: `first` queries each point on the first frame that shows it; `strided` picks points on every
                fifth frame, and queries them there.
            on_objects: fraction of the points that are on moving objects, in [0, 1].
            photometry: whether exposure, blur, noise and compression are simulated, the same on all frames of a
                video.

        Raises:
            ConfigError: an unknown category, split or kind of queries, or a number out of range.
        """
        super().__init__(count=count, size=size, seed=seed, split=split)
        check_at_least(0, clutter=clutter, tracks=tracks)
        check_at_least(1, objects=objects, frames=frames)
        check_within(0, 1, on_objects=on_objects)
        if rate <= 0:
            raise ConfigError(f"expected rate > 0, got {rate}")
        one_of("queries", queries, STEPS)
        self._names = chosen(names)
        self._seconds = np.arange(frames) / float(rate)
        self._objects, self._clutter, self._tracks = objects, clutter, tracks
        self._queries, self._on_objects, self._photometry = queries, float(on_objects), photometry

    def __getitem__(self, index: int) -> VideoSample:
        """Make one video; raises what `video` raises."""
        return self.video(index).sample()

    def video(self, index: int) -> Video:
        """Make one video with everything that is known about it.

        Raises:
            IndexError: the index is out of range.
        """
        seeds = self._seeds(index)
        actors = [Actor.drawn(seeds, number, self._names) for number in range(self._objects)]
        walks = self._walks(actors, seeds)
        room = Room.drawn(seeds.generator(Factor.layout))
        centre = np.mean([walk.place for walk in walks], axis=0)
        cameras = drawn_camera_path(
            seeds.generator(Factor.camera), self._seconds, centre=centre, room=room, size=self._size
        )
        props = self._props(room, actors, walks, cameras, seeds)
        views = self._views(props, actors, walks, cameras, seeds)
        looks = (*(prop.look for prop in props), *(actor.look for actor in actors))
        moving = np.arange(len(looks)) >= len(props)
        picked, tracks, query_frame = self._follow(views, moving, seeds)
        return Video(
            views=views,
            moving=moving,
            looks=looks,
            pictures=self._pictures(views, looks, seeds),
            picked=picked,
            tracks=tracks,
            query_frame=query_frame,
            name=self._name("video", index),
        )

    def _walks(self, actors: list[Actor], seeds: Seeds) -> list[Walk]:
        walks: list[Walk] = []
        for number in range(len(actors)):
            random = seeds.generator(Factor.motion, 2 * number)
            speed = float(random.uniform(0.2, 1.1))
            drawn = [Walk.drawn(random, self._seconds, speed=speed, reach=1.3) for _ in range(_WALKS)]
            walks.append(max(drawn, key=lambda walk: _gap(number, walk, actors, walks)))
        return walks

    def _props(
        self, room: Room, actors: list[Actor], walks: list[Walk], cameras: list[Viewpoint], seeds: Seeds
    ) -> list[Prop]:
        plan = FloorPlan()
        for actor, walk in zip(actors, walks, strict=True):
            plan.discs += [Disc(x, z, actor.radius) for x, z in walk.place.tolist()]
        plan.discs += [Disc(float(camera.centre[0]), float(camera.centre[2]), 0.5) for camera in cameras]
        shapes, colours = seeds.generator(Factor.layout, 1), seeds.generator(Factor.texture)
        return furnished(room, plan, shapes, colours, clutter=self._clutter)

    def _views(
        self,
        props: list[Prop],
        actors: list[Actor],
        walks: list[Walk],
        cameras: list[Viewpoint],
        seeds: Seeds,
    ) -> tuple[View, ...]:
        poses = [
            moving_poses(actor.kind, seeds.generator(Factor.motion, 2 * number + 1), self._seconds)
            for number, actor in enumerate(actors)
        ]
        views: list[View] = []
        scene: Scene | None = None
        for frame, camera in enumerate(cameras):
            bodies = [prop.body for prop in props] + [
                actor.body(
                    place=(float(walk.place[frame, 0]), float(walk.place[frame, 1])),
                    floor=0.0,
                    heading=float(walk.heading[frame]),
                    pose=pose[frame],
                )
                for actor, walk, pose in zip(actors, walks, poses, strict=True)
            ]
            scene = Scene.of(bodies) if scene is None else _moved(scene, bodies)
            views.append(View.of(scene, camera))
        return tuple(views)

    def _follow(
        self, views: tuple[View, ...], moving: np.ndarray, seeds: Seeds
    ) -> tuple[SeenPoints, PointTracks, tuple[int, ...]]:
        picked = pick_points(
            views,
            seeds.generator(Factor.queries),
            count=self._tracks,
            frames=np.arange(0, len(views), STEPS[self._queries]),
            wanted=moving,
            fraction=self._on_objects,
        )
        tracks = follow(picked.points, views)
        asked = picked.frame if self._queries == "strided" else tracks.visible.argmax(axis=1)
        return picked, tracks, tuple(asked.tolist())

    def _pictures(
        self, views: tuple[View, ...], looks: Sequence[Look], seeds: Seeds
    ) -> tuple[UInt8[np.ndarray, "H W 3"], ...]:
        light, sky = Light.drawn(seeds.generator(Factor.light)), Sky.drawn(seeds.generator(Factor.background))
        settings = Photometry.drawn(seeds.generator(Factor.photometry)) if self._photometry else None
        return tuple(
            taken(paint(view, looks, light, sky.behind(view)), settings, frame=frame)
            for frame, view in enumerate(views)
        )


def _gap(number: int, walk: Walk, actors: list[Actor], others: list[Walk]) -> float:
    """Return the smallest distance of an object's walk to those of the others; negative where they touch."""
    gaps = [
        float(np.linalg.norm(walk.place - other.place, axis=1).min())
        - actors[number].radius
        - actors[index].radius
        for index, other in enumerate(others)
    ]
    # Beyond this, farther is no better: objects should occlude one another.
    return min(min(gaps, default=0.0), 0.3)


def _moved(scene: Scene, bodies: list[Body]) -> Scene:
    """Return a scene whose bodies have moved; everything else is reused, which saves most of the work."""
    return replace(scene, bodies=tuple(bodies), vertices=np.concatenate([body.vertices for body in bodies]))
