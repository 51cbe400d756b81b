"""Semantic pairs of the procedural categories: `AssetPairs` whose instances and looks need no file and no network."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from homolog.core.samples import PairSample
from homolog.synthetic.asset_pairs import AssetPairs, SurfacePair
from homolog.synthetic.assets import Asset, ProceduralAssets, procedural_asset
from homolog.synthetic.on_demand import check_within
from homolog.synthetic.rendering.look import Look, draw_look
from homolog.synthetic.rendering.photos import PhotoFolder, printed
from homolog.synthetic.seeds import Factor, Seeds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticPair(SurfacePair):
    """Everything that is known about a pair; `sample` is the training sample."""

    def sample(self) -> PairSample:
        """Return the pair with image 0 as the query: dense truth, keypoints visible in both, boxes and masks."""
        # A class with slots is made anew by its decorator, and `super` would look for the old one.
        sample = SurfacePair.sample(self)
        return replace(sample, depth0=None, depth1=None, facts={"keypoints": sample.facts["keypoints"]})


class SemanticPairs(AssetPairs):
    """Pairs of instances of one procedural category, made on demand; independent of order and worker."""

    def __init__(
        self,
        *,
        count: int,
        size: int | Sequence[int] = 256,
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
        """Choose the settings.

        Args:
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of the data set.
            split: equal indices of different splits give unrelated pairs.
            names: categories; all by default.
            turn: largest difference in azimuth between the two views, degrees.
            occluders: probability that something stands in front, in [0, 1].
            shared_look: probability that both instances have the same colours and patterns, in [0, 1].
            photos: folder of photos for the backgrounds; procedural backgrounds by default.
            textures: folder of photos to paint instances with; only colours and patterns by default.
            photometry: whether exposure, blur, noise and compression are simulated, for each image on its own.

        Raises:
            ConfigError: an unknown category or split, or a number out of range.
            DataError: no photos in a folder.
        """
        super().__init__(
            source=ProceduralAssets(names=names),
            count=count,
            size=size,
            seed=seed,
            split=split,
            turn=turn,
            occluders=occluders,
            photos=photos,
            photometry=photometry,
        )
        check_within(0, 1, shared_look=shared_look)
        self._shared_look = shared_look
        self._textures = None if textures is None else PhotoFolder(textures)
        # Without a texturer, colours are rounded once: by the camera.
        self._retexturing.texturer = None

    def pair(self, index: int) -> SemanticPair:
        """Make one pair with everything that is known about it."""
        pair = super().pair(index)
        return SemanticPair(**{field.name: getattr(pair, field.name) for field in fields(pair)})

    def _assets(self, name: str, seeds: Seeds) -> tuple[Asset, Asset]:
        first, second = (procedural_asset(name, seeds.generator(Factor.shape, side)) for side in (0, 1))
        return first, second

    def _look(self, asset: Asset, seeds: Seeds, side: int) -> Look:
        shared = seeds.generator(Factor.choice, 1).random() < self._shared_look
        random = seeds.generator(Factor.texture, 0 if shared else side)
        look = draw_look(asset.topology, random)
        return look if self._textures is None else printed(look, asset.topology, self._textures, random)
