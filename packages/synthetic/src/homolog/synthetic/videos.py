"""Videos: articulated objects that walk about and hide one another, before a camera that moves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.samples import VideoSample
from homolog.core.tracks import Tracks
from homolog.synthetic.actors import Actor
from homolog.synthetic.camera_path import drawn_camera_path
from homolog.synthetic.category import chosen
from homolog.synthetic.floor_plan import Disc, FloorPlan
from homolog.synthetic.light import Light
from homolog.synthetic.look import Look
from homolog.synthetic.motion import Walk, moving_poses
from homolog.synthetic.on_demand import OnDemand
from homolog.synthetic.paint import paint
from homolog.synthetic.photometry import Photometry
from homolog.synthetic.picture import as_sample_image, taken
from homolog.synthetic.point_tracks import PointTracks, SeenPoints, follow, pick_points
from homolog.synthetic.props import Prop, furnished
from homolog.synthetic.room import Room
from homolog.synthetic.scene import Body, Scene
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.sizes import image_size
from homolog.synthetic.sky import Sky
from homolog.synthetic.view import View
from homolog.synthetic.viewpoint import Viewpoint

STEPS = {"first": 1, "strided": 5}
"""Frames from one on which points are picked to the next; that of `strided` queries is TAP-Vid's."""

_WALKS = 8
"""Walks that are drawn for each object; the one that keeps farthest from those of the others is taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """Everything that is known of a video; `sample` is what a tracker learns from.

    Attributes:
        views: geometry of every frame; all have the same bodies in the same order.
        moving: [B] which of them move.
        looks: one for each of them.
        pictures: pixels of every frame.
        picked: the surface points, each with a frame on which it is in sight.
        tracks: where they are on every frame.
        query_frame: the frame on which each is asked for.
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
        """Return frames and tracks; hidden points have their exact positions too, NaN behind the camera."""
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
    """Made-up videos, made when asked for; the same whatever the order or the worker."""

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
        """Choose what to make.

        Args:
            count: number of videos.
            size: of the frames in pixels, one number or [height, width].
            seed: of everything.
            split: equal indices of different splits have nothing in common.
            names: categories of the objects; all by default.
            frames: length of each video.
            rate: frames per second; the more, the less moves from one to the next.
            objects: how many of them move.
            clutter: how many crates, pillars and balls stand about.
            tracks: points of each video, picked at random from what is in sight on random frames.
            queries: `first` asks for each where it is first in sight; `strided` picks them on every fifth
                frame, and asks there.
            on_objects: share of the points that are on what moves, in [0, 1].
            photometry: whether the camera exposes, blurs, adds noise and compresses; the same way on all
                frames of a video.

        Raises:
            ConfigError: a category that does not exist, or a number out of its range.
        """
        if (
            min(count, clutter, tracks) < 0
            or min(objects, frames) < 1
            or not (0 <= on_objects <= 1 and rate > 0)
        ):
            raise ConfigError(
                "expected count, clutter and tracks >= 0, objects and frames >= 1, rate > 0 and on_objects in "
                f"[0, 1], got {count}, {clutter}, {tracks}, {objects}, {frames}, {rate}, {on_objects}"
            )
        if queries not in STEPS:
            raise ConfigError(f"no queries named {queries}{did_you_mean(queries, STEPS)}")
        super().__init__(count=count, size=image_size(size), seed=seed, split=split)
        self._names = chosen(names)
        self._seconds = np.arange(frames) / float(rate)
        self._objects, self._clutter, self._tracks = objects, clutter, tracks
        self._queries, self._on_objects, self._photometry = queries, float(on_objects), photometry

    def __getitem__(self, index: int) -> VideoSample:
        """Make one video; raises what `video` raises."""
        return self.video(index).sample()

    def video(self, index: int) -> Video:
        """Make one video with everything that is known of it.

        Raises:
            IndexError: there is no such video.
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
            share=self._on_objects,
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
    """Return how far something keeps from all that walk already, at the narrowest; negative where it touches."""
    gaps = [
        float(np.linalg.norm(walk.place - other.place, axis=1).min())
        - actors[number].radius
        - actors[index].radius
        for index, other in enumerate(others)
    ]
    # Nearer than that to each other is welcome: they are to hide one another.
    return min(min(gaps, default=0.0), 0.3)


def _moved(scene: Scene, bodies: list[Body]) -> Scene:
    """Return a scene whose bodies are elsewhere; all else stays, which saves most of the work."""
    return replace(scene, bodies=tuple(bodies), vertices=np.concatenate([body.vertices for body in bodies]))
