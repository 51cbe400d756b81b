"""Geometric pairs: a rigid, textured scene seen by two cameras that are far apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from homolog.core.errors import ConfigError
from homolog.core.samples import PairSample
from homolog.synthetic.category import chosen
from homolog.synthetic.correspondence import DenseTruth, dense_truth, overlap, overlap_facts
from homolog.synthetic.on_demand import KnownPair, PairsOnDemand, check_at_least, check_within
from homolog.synthetic.rendering.lighting import Light, Sky
from homolog.synthetic.rendering.look import Look
from homolog.synthetic.rendering.paint import paint
from homolog.synthetic.rendering.photometry import Photometry, taken
from homolog.synthetic.rendering.scene import Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint, axis_angle
from homolog.synthetic.scenes.objects import Actor
from homolog.synthetic.scenes.room import FloorPlan, Prop, Room, furnished, pedestal
from homolog.synthetic.seeds import Factor, Seeds

TRIES = 20
"""Second cameras to try before taking the one whose overlap comes closest."""

_ROUGH = 64
"""Longer side, in pixels, of the small views that cameras are first tested on."""

_ROUGHLY = 0.03
"""How much the overlap of small views may be off."""

_MARGIN = 0.4
"""Smallest distance of a camera to a wall or an object, in units of the world."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScenePair(KnownPair):
    """Everything that is known about a pair; `sample` is the training sample.

    Attributes:
        views: geometry of both images; their scene is the same.
        looks: one for each body.
        fits: whether the overlap is in the requested range.
    """

    views: tuple[View, View]
    looks: tuple[Look, ...]
    fits: bool

    def sample(self) -> PairSample:
        """Return the pair with dense truth, depth, cameras, pose, and facts such as the overlap."""
        depth0, depth1 = (torch.from_numpy(view.depth) for view in self.views)
        camera0, camera1 = (view.viewpoint for view in self.views)
        return self._sample(
            camera0=camera0.camera(),
            camera1=camera1.camera(),
            pose=camera0.pose_to(camera1),
            depth0=depth0,
            depth1=depth1,
            facts={
                **overlap_facts(self.truths),
                "overlap_fits": "yes" if self.fits else "no",
                "angle": f"{axis_angle(camera0, camera1):.1f}",
                "baseline": f"{np.linalg.norm(camera0.centre - camera1.centre):.3f}",
            },
        )


class ScenePairs(PairsOnDemand):
    """Pairs of views of synthetic scenes, made on demand; independent of order and worker."""

    def __init__(
        self,
        *,
        count: int,
        size: int | Sequence[int] = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        names: list[str] | None = None,
        objects: int = 4,
        clutter: int = 8,
        turn: float | int = 120.0,
        overlap: Sequence[float] = (0.1, 0.7),
        photometry: bool = True,
    ) -> None:
        """Choose the settings.

        Args:
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of the data set.
            split: equal indices of different splits give unrelated pairs.
            names: categories of the objects; all by default.
            objects: number of instances of them.
            clutter: number of crates, pillars and balls in the room.
            turn: largest difference in azimuth between the two cameras, degrees.
            overlap: lowest and highest fraction of an image's pixels that the other image shows too; the smaller
                of the two images counts. Second cameras are drawn until one fits, `TRIES` at most; if none
                does, the pair has the one that came closest, and its facts say `overlap_fits: no`.
            photometry: whether exposure, blur, noise and compression are simulated, for each image on its own.

        Raises:
            ConfigError: an unknown category or split, or a number out of range.
        """
        super().__init__(count=count, size=size, seed=seed, split=split)
        check_at_least(0, objects=objects, clutter=clutter)
        check_within(0, 180, turn=turn)
        low, high = overlap if len(overlap) == 2 else (1.0, 0.0)
        if not 0 <= low < high <= 1:
            raise ConfigError(f"expected an overlap [lowest, highest] in [0, 1], got {list(overlap)}")
        self._names = chosen(names)
        self._objects, self._clutter = objects, clutter
        self._turn, self._overlap, self._photometry = turn, (float(low), float(high)), photometry

    def pair(self, index: int) -> ScenePair:
        """Make one pair with everything that is known about it."""
        seeds = self._seeds(index)
        room = Room.drawn(seeds.generator(Factor.layout))
        plan = FloorPlan()
        props = self._props(room, plan, seeds)
        scene, looks = Scene.of([prop.body for prop in props]), tuple(prop.look for prop in props)
        views, truths, fits = self._views(scene, room, plan, seeds)
        light, sky = Light.drawn(seeds.generator(Factor.light)), Sky.drawn(seeds.generator(Factor.background))
        picture0, picture1 = (
            taken(
                paint(view, looks, light, sky.behind(view)),
                Photometry.drawn(seeds.generator(Factor.photometry, side)) if self._photometry else None,
            )
            for side, view in enumerate(views)
        )
        return ScenePair(
            views=views,
            looks=looks,
            pictures=(picture0, picture1),
            truths=truths,
            fits=fits,
            name=self._name("scene", index),
        )

    def _props(self, room: Room, plan: FloorPlan, seeds: Seeds) -> list[Prop]:
        """Return the contents of the scene: instances in the middle of a furnished room."""
        shapes, colours = seeds.generator(Factor.layout, 1), seeds.generator(Factor.texture)
        props: list[Prop] = []
        for number in range(self._objects):
            actor = Actor.drawn(seeds, number, self._names)
            floor = float(shapes.uniform(0.3, 0.9)) if shapes.random() < 0.3 and actor.lift == 0 else 0.0
            reach = (0.45 * room.half[0], 0.45 * room.half[1])
            place = plan.place(shapes, actor.radius, reach=reach, top=floor + 2 * actor.radius)
            if floor > 0:
                props.append(pedestal(place, 0.8 * actor.radius, floor, colours, f"pedestal {number}"))
            body = actor.body(place=place, floor=floor, heading=float(shapes.uniform(0, 2 * np.pi)))
            props.append(Prop(body=body, look=actor.look))
        return furnished(room, plan, shapes, colours, clutter=self._clutter) + props

    def _views(
        self, scene: Scene, room: Room, plan: FloorPlan, seeds: Seeds
    ) -> tuple[tuple[View, View], tuple[DenseTruth, DenseTruth], bool]:
        random = seeds.generator(Factor.camera)
        azimuth = float(random.uniform(0, 2 * np.pi))
        # In a crowded corner the first free one of a few places must do.
        cameras = [self._camera(random, azimuth, room) for _ in range(6)]
        first = next((camera for camera in cameras if _free(camera, plan)), cameras[0])
        view, rough = View.of(scene, first), View.of(scene, _rough(first))
        closest: tuple[float, Viewpoint] | None = None
        for number in range(TRIES):
            random = seeds.generator(Factor.camera, 1 + number)
            turn = float(np.radians(random.uniform(-self._turn, self._turn)))
            camera = self._camera(random, azimuth + turn, room)
            if not _free(camera, plan):
                continue
            fraction = min(overlap(dense_truth(rough, View.of(scene, _rough(camera)))))
            missed = max(self._overlap[0] - fraction, fraction - self._overlap[1], 0.0)
            if closest is None or missed < closest[0]:
                closest = missed, camera
            if missed <= _ROUGHLY:
                pair = view, View.of(scene, camera)
                truths = dense_truth(*pair)
                if self._overlap[0] <= min(overlap(truths)) <= self._overlap[1]:
                    return pair, truths, True
        # Seen from camera 0 itself if every other place is taken.
        pair = view, View.of(scene, first if closest is None else closest[1])
        truths = dense_truth(*pair)
        return pair, truths, self._overlap[0] <= min(overlap(truths)) <= self._overlap[1]

    def _camera(self, random: np.random.Generator, azimuth: float, room: Room) -> Viewpoint:
        reach = 0.3 * np.array(room.half)
        x, z = (random.uniform(-1, 1, 2) * reach).tolist()
        target = np.array((x, random.uniform(0.3, 1.1), z))
        elevation = float(np.radians(random.uniform(4, 38)))
        away = np.array(
            (np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth))
        )
        farthest = room.way_to_wall(target, away, margin=_MARGIN)
        return Viewpoint.towards(
            target,
            azimuth=azimuth,
            elevation=elevation,
            distance=farthest * float(random.uniform(0.6, 1.0)),
            focal=float(np.exp(random.uniform(np.log(0.6), np.log(1.2)))),
            size=self._size,
            roll=float(np.radians(5 * random.standard_normal())),
        )


def _rough(camera: Viewpoint) -> Viewpoint:
    scale = min(1.0, _ROUGH / max(camera.size))
    return camera.resized((max(1, round(camera.size[0] * scale)), max(1, round(camera.size[1] * scale))))


def _free(camera: Viewpoint, plan: FloorPlan) -> bool:
    x, y, z = camera.centre.tolist()
    return float(plan.clearance(np.array(((x, z),)), above=y - _MARGIN)[0]) > _MARGIN
