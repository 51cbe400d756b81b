"""Two instances of one category, seen from two sides, with the whole truth about both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.samples import PairSample
from homolog.synthetic.backdrop import PhotoFolder, drawn_backdrop
from homolog.synthetic.category import Category, Numbers, category, chosen, topology
from homolog.synthetic.correspondence import DenseTruth, dense_truth
from homolog.synthetic.framing import drawn_azimuth, drawn_camera, drawn_turn
from homolog.synthetic.landmarks import Landmarks, landmarks_in, turned_towards
from homolog.synthetic.light import Light
from homolog.synthetic.look import Look, draw_look
from homolog.synthetic.occluder import drawn_occluder
from homolog.synthetic.on_demand import PairsOnDemand
from homolog.synthetic.paint import paint_over
from homolog.synthetic.photometry import Photometry
from homolog.synthetic.picture import as_sample_image, mask_box, taken
from homolog.synthetic.printed import printed
from homolog.synthetic.scene import Body, Scene
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.surface import Topology
from homolog.synthetic.view import View
from homolog.synthetic.viewpoint import Viewpoint

SUBJECT = "subject"
"""Key of the body that both images show."""

FEWEST = 4
"""Keypoints that both views should show; with fewer, the second camera moves closer to the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticPair:
    """Everything that is known of a pair; `sample` is what a matcher learns from.

    Attributes:
        category: what both images show.
        shapes: the numbers of both instances.
        poses: the numbers of both poses.
        looks: the colours of both instances.
        views: geometry of both images; body 0 is the instance.
        pictures: pixels of both images.
        truths: dense truth that lives on image 0, and that which lives on image 1.
        landmarks: keypoints of both images, in the order of the topology's names.
        name: unique within its data set.
    """

    category: str
    shapes: tuple[Numbers, Numbers]
    poses: tuple[Numbers, Numbers]
    looks: tuple[Look, Look]
    views: tuple[View, View]
    pictures: tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W 3"]]
    truths: tuple[DenseTruth, DenseTruth]
    landmarks: tuple[Landmarks, Landmarks]
    name: str

    def sample(self) -> PairSample:
        """Return the pair with image 0 as the query: dense truth, keypoints in sight in both, boxes and masks."""
        both = self.landmarks[0].visible & self.landmarks[1].visible
        xy0, xy1 = (torch.from_numpy(marks.xy[both]) for marks in self.landmarks)
        mask0, mask1 = (view.shows(0) for view in self.views)
        image0, image1 = (
            as_sample_image(picture, f"{self.name}/{side}") for side, picture in enumerate(self.pictures)
        )
        names = [
            name for name, seen in zip(topology(self.category).landmark_names, both, strict=True) if seen
        ]
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=xy0,
            xy1=xy1,
            box0=mask_box(mask0),
            box1=mask_box(mask1),
            category=self.category,
            camera0=self.views[0].viewpoint.camera(),
            camera1=self.views[1].viewpoint.camera(),
            dense0=self.truths[0].field(),
            dense1=self.truths[1].field(),
            mask0=torch.from_numpy(mask0),
            mask1=torch.from_numpy(mask1),
            name=self.name,
            facts={"keypoints": ", ".join(names)},
        )


class SemanticPairs(PairsOnDemand):
    """Pairs of made-up instances, made when asked for; no disk, and the same whatever the order or the worker."""

    def __init__(
        self,
        *,
        count: int,
        size: int = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        names: list[str] | None = None,
        turn: float | int = 100.0,
        occluders: float | int = 0.3,
        shared_look: float | int = 0.0,
        photos: str | Path | None = None,
        textures: str | Path | None = None,
        photometry: bool = True,
    ) -> None:
        """Choose what to make.

        Args:
            count: number of pairs.
            size: height and width of the images in pixels.
            seed: of everything.
            split: equal indices of different splits have nothing in common.
            names: categories; all by default.
            turn: how far apart in azimuth the two views may be, degrees.
            occluders: how often something stands in front, in [0, 1].
            shared_look: how often both instances have the same colours and patterns, in [0, 1].
            photos: folder of photos for the backgrounds; made-up scenery by default.
            textures: folder of photos that instances are painted with; colours and patterns only by default.
            photometry: whether images are exposed, blurred, noisy and compressed, each in its own way.

        Raises:
            ConfigError: a category that does not exist, or a number out of its range.
            DataError: no photos in a folder.
        """
        if count < 0 or size < 8 or not (0 <= occluders <= 1 and 0 <= shared_look <= 1 and 0 <= turn <= 180):
            raise ConfigError(
                "expected count >= 0, size >= 8, turn in [0, 180], occluders and shared_look in [0, 1], got "
                f"{count}, {size}, {turn}, {occluders}, {shared_look}"
            )
        super().__init__(count=count, size=(size, size), seed=seed, split=split)
        self._names = chosen(names)
        self._turn, self._occluders, self._shared_look = turn, occluders, shared_look
        self._photos = None if photos is None else PhotoFolder(photos)
        self._textures = None if textures is None else PhotoFolder(textures)
        self._photometry = photometry

    def pair(self, index: int) -> SemanticPair:
        """Make one pair with everything that is known of it.

        Raises:
            IndexError: there is no such pair.
        """
        seeds = self._seeds(index)
        kind = category(self._names[int(seeds.generator(Factor.choice).integers(len(self._names)))])
        shapes = tuple(kind.draw_shape(seeds.generator(Factor.shape, side)) for side in (0, 1))
        poses = tuple(kind.draw_pose(seeds.generator(Factor.pose, side)) for side in (0, 1))
        bodies = [
            Body(topology=topology(kind.name), vertices=kind.vertices(shape, pose), key=SUBJECT)
            for shape, pose in zip(shapes, poses, strict=True)
        ]
        views, landmarks = self._views(kind, bodies, seeds)
        looks = self._looks(seeds, kind)
        return SemanticPair(
            category=kind.name,
            shapes=(shapes[0], shapes[1]),
            poses=(poses[0], poses[1]),
            looks=looks,
            views=views,
            pictures=(
                self._picture(views[0], looks[0], seeds, 0),
                self._picture(views[1], looks[1], seeds, 1),
            ),
            truths=dense_truth(*views),
            landmarks=landmarks,
            name=self._name(kind.name, index),
        )

    def _views(
        self, kind: Category, bodies: list[Body], seeds: Seeds
    ) -> tuple[tuple[View, View], tuple[Landmarks, Landmarks]]:
        azimuth = drawn_azimuth(seeds.generator(Factor.layout), kind.azimuths)
        first = self._view(bodies[0], self._camera(kind, bodies[0], azimuth, seeds, 0), seeds, 0)
        marks = landmarks_in(first)
        turn = drawn_turn(seeds.generator(Factor.layout, 1), azimuth, kind.azimuths, self._turn)
        for nearer in (1.0, 0.6, 0.3, 0.0):
            camera = self._camera(kind, bodies[1], azimuth + nearer * turn, seeds, 1)
            # Two of three views that show too little are told from where the keypoints look, without drawing.
            if nearer > 0 and (marks.visible & turned_towards(camera, bodies[1])).sum() < FEWEST:
                continue
            second = self._view(bodies[1], camera, seeds, 1)
            other = landmarks_in(second)
            if (marks.visible & other.visible).sum() >= FEWEST:
                break
        return (first, second), (marks, other)

    def _camera(self, kind: Category, body: Body, azimuth: float, seeds: Seeds, side: int) -> Viewpoint:
        return drawn_camera(
            body.vertices,
            seeds.generator(Factor.camera, side),
            azimuth=azimuth,
            elevations=kind.elevations,
            roll=kind.turns,
            size=self._size,
        )

    def _view(self, body: Body, camera: Viewpoint, seeds: Seeds, side: int) -> View:
        random = seeds.generator(Factor.occluder, side)
        bodies = [body]
        if random.random() < self._occluders:
            bodies.append(drawn_occluder(camera, body.vertices, random))
        return View.of(Scene.of(bodies), camera)

    def _looks(self, seeds: Seeds, kind: Category) -> tuple[Look, Look]:
        shared = seeds.generator(Factor.choice, 1).random() < self._shared_look
        first, second = (
            self._look(topology(kind.name), seeds.generator(Factor.texture, 0 if shared else side))
            for side in (0, 1)
        )
        return first, second

    def _look(self, shape: Topology, random: np.random.Generator) -> Look:
        look = draw_look(shape, random)
        return look if self._textures is None else printed(look, shape, self._textures, random)

    def _picture(self, view: View, look: Look, seeds: Seeds, side: int) -> UInt8[np.ndarray, "H W 3"]:
        others = [
            draw_look(body.topology, seeds.generator(Factor.texture, 2 + side))
            for body in view.scene.bodies[1:]
        ]
        light = Light.drawn(seeds.generator(Factor.light, side))
        picture = self._background(seeds.generator(Factor.background, side), view.size)
        paint_over(picture, view, [look, *others], light)
        settings = Photometry.drawn(seeds.generator(Factor.photometry, side)) if self._photometry else None
        return taken(picture, settings)

    def _background(self, random: np.random.Generator, size: Size) -> Float32[np.ndarray, "H W 3"]:
        return drawn_backdrop(random, size) if self._photos is None else self._photos.crop(random, size)
