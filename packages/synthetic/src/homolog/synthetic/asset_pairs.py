"""Two instances of one asset's topology, seen from two sides: semantic pairs from any source of assets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from homolog.core.errors import ConfigError
from homolog.synthetic.aligned_pairs import chosen_categories
from homolog.synthetic.assets import Asset, AssetSource
from homolog.synthetic.category import Numbers
from homolog.synthetic.correspondence import dense_truth
from homolog.synthetic.erosion import eroded
from homolog.synthetic.framing import drawn_azimuth, drawn_camera, drawn_turn
from homolog.synthetic.identity_texturer import IdentityTexturer
from homolog.synthetic.landmarks import Landmarks, landmarks_in
from homolog.synthetic.mesh_folder import MeshFolder
from homolog.synthetic.occluder import drawn_occluder
from homolog.synthetic.on_demand import PairsOnDemand
from homolog.synthetic.retexturing import Retexturing
from homolog.synthetic.scene import Body, Scene
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.semantic_pairs import FEWEST, SUBJECT
from homolog.synthetic.sizes import image_size
from homolog.synthetic.surface_pair import SurfacePair
from homolog.synthetic.texturer import Texturer
from homolog.synthetic.view import View


class AssetPairs(PairsOnDemand):
    """What `SemanticPairs` is to the made-up categories, for any `AssetSource` and `Texturer`."""

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
        """Choose what to make.

        Args:
            source: where instances come from. Both of a pair have one topology: two deformations of one mesh.
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of everything.
            split: equal indices of different splits have nothing in common.
            names: categories of the source; all by default.
            texturer: gives each image its appearance; by default it has that of its asset.
            prompts: for a texturer that reads; `{category}` is replaced.
            turn: how far apart in azimuth the two views may be, degrees.
            occluders: how often something stands in front, in [0, 1].
            recoloured: how often an instance has a made-up look in place of the colours that came with its
                mesh, in [0, 1]: both instances of a pair come with the same ones.
            erosion: labels so close to a contour are given up, pixels; 2 to 4 for generators.
            photos: folder of photos for the backgrounds; made-up scenery by default.
            photometry: whether images are exposed, blurred, noisy and compressed, each in its own way.

        Raises:
            ConfigError: a category or a split that does not exist, or a number out of its range.
            DataError: no photos in the folder.
        """
        shares = (occluders, recoloured)
        if count < 0 or erosion < 0 or not (0 <= turn <= 180 and all(0 <= share <= 1 for share in shares)):
            raise ConfigError(
                "expected count and erosion >= 0, turn in [0, 180], occluders and recoloured in [0, 1], "
                f"got {count}, {erosion}, {turn}, {occluders}, {recoloured}"
            )
        self._source, self._names = source, chosen_categories(source, names)
        super().__init__(count=count, size=image_size(size), seed=seed, split=split)
        self._turn, self._occluders, self._recoloured = turn, occluders, recoloured
        self._erosion = erosion
        self._retexturing = Retexturing.chosen(
            texturer=texturer or IdentityTexturer(), prompts=prompts, photos=photos, photometry=photometry
        )

    def pair(self, index: int) -> SurfacePair:
        """Make one pair with everything that is known of it.

        Raises:
            IndexError: there is no such pair.
            DataError: a mesh of the source cannot be used.
        """
        seeds = self._seeds(index)
        name = self._names[int(seeds.generator(Factor.choice).integers(len(self._names)))]
        assets = self._assets(name, seeds)
        pose0, pose1 = (
            asset.draw_pose(seeds.generator(Factor.pose, side)) for side, asset in enumerate(assets)
        )
        views, landmarks = self._views(assets, (pose0, pose1), seeds)
        (picture0, prompt0), (picture1, prompt1) = (
            self._retexturing.picture(
                view,
                name,
                seeds,
                side,
                shared=False,
                colours=None if self._is_recoloured(seeds, side) else asset.colours,
            )
            for side, (view, asset) in enumerate(zip(views, assets, strict=True))
        )
        return SurfacePair(
            category=name,
            assets=assets,
            poses=(pose0, pose1),
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

    def _views(
        self, assets: tuple[Asset, Asset], poses: tuple[Numbers, Numbers], seeds: Seeds
    ) -> tuple[tuple[View, View], tuple[Landmarks, Landmarks]]:
        sides = assets[0].azimuths
        azimuth = drawn_azimuth(seeds.generator(Factor.layout), sides)
        first = self._view(assets[0], poses[0], azimuth, seeds, 0)
        marks = landmarks_in(first)
        turn = drawn_turn(seeds.generator(Factor.layout, 1), azimuth, sides, self._turn)
        for nearer in (1.0, 0.6, 0.3, 0.0):
            second = self._view(assets[1], poses[1], azimuth + nearer * turn, seeds, 1)
            other = landmarks_in(second)
            if (marks.visible & other.visible).sum() >= FEWEST:
                break
        return (first, second), (marks, other)

    def _view(self, asset: Asset, pose: Numbers, azimuth: float, seeds: Seeds, side: int) -> View:
        body = Body(topology=asset.topology, vertices=asset.vertices(pose), key=SUBJECT)
        camera = drawn_camera(
            body.vertices,
            seeds.generator(Factor.camera, side),
            azimuth=azimuth,
            elevations=asset.elevations,
            roll=asset.turns,
            size=self._size,
        )
        random = seeds.generator(Factor.occluder, side)
        bodies = [body]
        if random.random() < self._occluders:
            bodies.append(drawn_occluder(camera, body.vertices, random))
        return View.of(Scene.of(bodies), camera)

    def _is_recoloured(self, seeds: Seeds, side: int) -> bool:
        return float(seeds.generator(Factor.choice, 1 + side).random()) < self._recoloured


class MeshPairs(AssetPairs):
    """Semantic pairs from a folder of meshes: two deformations of one mesh, retextured, from two sides."""

    def __init__(
        self,
        *,
        root: str | Path,
        count: int,
        size: int | Sequence[int] = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        names: list[str] | None = None,
        licence: str = "unknown",
        up: Literal["y", "z"] = "y",
        stretch: float = 0.12,
        bend: float = 0.10,
        texturer: Texturer | None = None,
        prompts: Sequence[str] | None = None,
        turn: float | int = 100.0,
        occluders: float | int = 0.3,
        recoloured: float | int = 0.5,
        erosion: float | int = 0.0,
        photos: str | Path | None = None,
        photometry: bool = True,
    ) -> None:
        """Choose what to make: `root` to `bend` as `MeshFolder` has them, the rest as `AssetPairs`.

        Raises:
            ConfigError: a category that does not exist, or a number out of its range.
            DataError: no meshes or no photos in the folder.
        """
        super().__init__(
            source=MeshFolder(root=root, licence=licence, up=up, stretch=stretch, bend=bend),
            count=count,
            size=size,
            seed=seed,
            split=split,
            names=names,
            texturer=texturer,
            prompts=prompts,
            turn=turn,
            occluders=occluders,
            recoloured=recoloured,
            erosion=erosion,
            photos=photos,
            photometry=photometry,
        )
