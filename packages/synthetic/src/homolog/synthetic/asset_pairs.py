"""Semantic pairs: two instances of one category, seen from two sides, with exact labels.

Instances come from an `AssetSource`, their appearance from a `Texturer`. `MeshPairs` takes a folder of meshes;
`homolog.synthetic.semantic_pairs` takes the procedural categories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from homolog.core.coords import Size
from homolog.core.samples import PairSample
from homolog.synthetic.assets import Asset, AssetSource
from homolog.synthetic.category import Numbers, chosen
from homolog.synthetic.correspondence import dense_truth, eroded
from homolog.synthetic.meshes.folder import MeshFolder
from homolog.synthetic.on_demand import KnownPair, PairsOnDemand, check_at_least, check_within
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import Look, draw_look
from homolog.synthetic.rendering.photometry import mask_box
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint, drawn_azimuth, drawn_camera, drawn_turn
from homolog.synthetic.scenes.objects import drawn_occluder
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.texturing.texturers import IdentityTexturer, Retexturing, Texturer
from homolog.synthetic.transfer import Landing, landmarks_in, turned_towards
from homolog.synthetic.warping import WarpedViewpoint

SUBJECT = "subject"
"""Key of the body that both images show."""

FEWEST = 4
"""Keypoints that both views should show; with fewer, the second camera moves closer to the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfacePair(KnownPair):
    """Everything that is known about two pictures of body 0 of two scenes; `sample` is the training sample.

    Attributes:
        category: what both images show.
        assets: the instances; the same one twice in an aligned pair.
        poses: the numbers of both poses.
        looks: colours and patterns of both instances, before any texturer.
        views: geometry of both images; body 0 is the instance.
        landmarks: keypoints of both images, in the order of the topology's names.
        prompts: what the texturer was asked for; empty without one.
    """

    category: str
    assets: tuple[Asset, Asset]
    poses: tuple[Numbers, Numbers]
    looks: tuple[Look, Look]
    views: tuple[View, View]
    landmarks: tuple[Landing, Landing]
    prompts: tuple[str, str]

    def sample(self) -> PairSample:
        """Return the pair with image 0 as the query: dense truth, keypoints visible in both, boxes, masks, depth.

        A warped view has no intrinsics, so its camera is None.
        """
        both = self.landmarks[0].visible & self.landmarks[1].visible
        xy0, xy1 = (torch.from_numpy(marks.xy[both]) for marks in self.landmarks)
        mask0, mask1 = (view.shows(0) for view in self.views)
        depth0, depth1 = (torch.from_numpy(view.depth) for view in self.views)
        camera0, camera1 = (
            None if isinstance(view.viewpoint, WarpedViewpoint) else view.viewpoint.camera()
            for view in self.views
        )
        names = self.assets[0].topology.landmark_names
        return self._sample(
            xy0=xy0,
            xy1=xy1,
            box0=mask_box(mask0),
            box1=mask_box(mask1),
            category=self.category,
            camera0=camera0,
            camera1=camera1,
            depth0=depth0,
            depth1=depth1,
            mask0=torch.from_numpy(mask0),
            mask1=torch.from_numpy(mask1),
            facts={
                "keypoints": ", ".join(name for name, seen in zip(names, both, strict=True) if seen),
                "licence": self.assets[0].licence,
                "prompt0": self.prompts[0],
                "prompt1": self.prompts[1],
            },
        )


class AssetPairs(PairsOnDemand):
    """Pairs of instances from any `AssetSource`, made on demand; independent of order and worker."""

    def __init__(
        self,
        *,
        source: AssetSource,
        count: int,
        size: int | Sequence[int] = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        names: list[str] | None = None,
        texturer: Texturer | None = None,
        prompts: Sequence[str] | None = None,
        turn: float | int = 100.0,
        occluders: float | int = 0.3,
        recoloured: float | int = 0.5,
        erosion: float | int = 0.0,
        photos: str | Path | None = None,
        photometry: bool = True,
    ) -> None:
        """Choose the source and the settings.

        Args:
            source: where instances come from. Both of a pair have the same topology: two deformations of one mesh.
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of the data set.
            split: equal indices of different splits give unrelated pairs.
            names: categories of the source; all by default.
            texturer: gives each image its appearance; by default it has that of its asset.
            prompts: for a texturer that takes text; `{category}` is replaced.
            turn: largest difference in azimuth between the two views, degrees.
            occluders: probability that something stands in front, in [0, 1].
            recoloured: probability that an instance has random colours instead of those of its mesh, in [0, 1]:
                both instances of a pair would have the same ones.
            erosion: width in pixels around contours where labels are dropped; 2 to 4 for generators.
            photos: folder of photos for the backgrounds; procedural backgrounds by default.
            photometry: whether exposure, blur, noise and compression are simulated, for each image on its own.

        Raises:
            ConfigError: an unknown category or split, or a number out of range.
            DataError: no photos in the folder.
        """
        super().__init__(count=count, size=size, seed=seed, split=split)
        check_within(0, 180, turn=turn)
        check_within(0, 1, occluders=occluders, recoloured=recoloured)
        check_at_least(0, erosion=erosion)
        self._source, self._names = source, chosen(names, source.categories())
        self._turn, self._occluders, self._recoloured = turn, occluders, recoloured
        self._erosion = erosion
        self._retexturing = Retexturing(
            texturer=texturer or IdentityTexturer(), prompts=prompts, photos=photos, photometry=photometry
        )

    def pair(self, index: int) -> SurfacePair:
        """Make one pair; raises DataError if a mesh of the source cannot be used."""
        seeds = self._seeds(index)
        name = self._names[int(seeds.generator(Factor.choice).integers(len(self._names)))]
        assets = self._assets(name, seeds)
        pose0, pose1 = (
            asset.draw_pose(seeds.generator(Factor.pose, side)) for side, asset in enumerate(assets)
        )
        views, landmarks = self._views(assets, (pose0, pose1), seeds)
        recoloured = [seeds.generator(Factor.choice, 1 + side).random() < self._recoloured for side in (0, 1)]
        look0, look1 = (self._look(asset, seeds, side) for side, asset in enumerate(assets))
        (picture0, prompt0), (picture1, prompt1) = (
            self._retexturing.picture(
                views[side],
                name,
                seeds,
                side,
                look=look,
                light=Light.drawn(seeds.generator(Factor.light, side)),
                colours=None if recoloured[side] else assets[side].colours,
            )
            for side, look in enumerate((look0, look1))
        )
        return SurfacePair(
            category=name,
            assets=assets,
            poses=(pose0, pose1),
            looks=(look0, look1),
            views=views,
            pictures=(picture0, picture1),
            truths=eroded(dense_truth(*views), views, self._erosion),
            landmarks=landmarks,
            prompts=(prompt0, prompt1),
            name=self._name(name, index),
        )

    def _assets(self, name: str, seeds: Seeds) -> tuple[Asset, Asset]:
        seed0, seed1 = (int(seeds.generator(Factor.shape, side).integers(2**62)) for side in (0, 1))
        first = self._source.sample(name, seed0)
        return first, self._source.sample(name, seed1, topology=first.topology.name)

    def _look(self, asset: Asset, seeds: Seeds, side: int) -> Look:
        return draw_look(asset.topology, seeds.generator(Factor.texture, side))

    def _views(
        self, assets: tuple[Asset, Asset], poses: tuple[Numbers, Numbers], seeds: Seeds
    ) -> tuple[tuple[View, View], tuple[Landing, Landing]]:
        body0, body1 = (
            Body(topology=asset.topology, vertices=asset.vertices(pose), key=SUBJECT)
            for asset, pose in zip(assets, poses, strict=True)
        )
        usual = assets[0].azimuths
        azimuth = drawn_azimuth(seeds.generator(Factor.layout), usual)
        first = self._view(
            body0,
            photographed(assets[0], body0, seeds.generator(Factor.camera, 0), azimuth, self._size),
            seeds,
            0,
        )
        marks = landmarks_in(first)
        turn = drawn_turn(seeds.generator(Factor.layout, 1), azimuth, usual, self._turn)
        for nearer in (1.0, 0.6, 0.3, 0.0):
            camera = photographed(
                assets[1], body1, seeds.generator(Factor.camera, 1), azimuth + nearer * turn, self._size
            )
            # Most views that show too few keypoints are found without rendering, from which way surfaces face.
            if nearer > 0 and (marks.visible & turned_towards(camera, body1)).sum() < FEWEST:
                continue
            second = self._view(body1, camera, seeds, 1)
            other = landmarks_in(second)
            if (marks.visible & other.visible).sum() >= FEWEST:
                break
        return (first, second), (marks, other)

    def _view(self, body: Body, camera: Viewpoint, seeds: Seeds, side: int) -> View:
        random = seeds.generator(Factor.occluder, side)
        bodies = [body]
        if random.random() < self._occluders:
            bodies.append(drawn_occluder(camera, body.vertices, random))
        return View.of(Scene.of(bodies), camera)


def photographed(
    asset: Asset, body: Body, random: np.random.Generator, azimuth: float, size: Size
) -> Viewpoint:
    """Draw how an instance is photographed from a given azimuth, radians."""
    return drawn_camera(
        body.vertices, random, azimuth=azimuth, elevations=asset.elevations, roll=asset.turns, size=size
    )


class MeshPairs(AssetPairs):
    """Semantic pairs from a folder of meshes: two deformations of one mesh, retextured, from two sides."""

    def __init__(
        self,
        *,
        root: str | Path,
        licence: str = "unknown",
        up: Literal["y", "z"] = "y",
        stretch: float = 0.12,
        bend: float = 0.10,
        **settings: Any,
    ) -> None:
        """Choose the folder and the settings: `root` to `bend` as in `MeshFolder`, others as in `AssetPairs`.

        Raises:
            ConfigError: an unknown category, or a number out of range.
            DataError: no meshes or no photos in the folder.
        """
        folder = MeshFolder(root=root, licence=licence, up=up, stretch=stretch, bend=bend)
        super().__init__(source=folder, **settings)
