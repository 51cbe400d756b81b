"""View-aligned pairs: one view of one instance, moved by a map of the image plane, in two appearances.

After the data of the VGGT-prior matcher: its pairs start from one set of conditioning maps (depth, edges), which
are warped and then textured twice. Here the view itself is rendered again through a lens, so nothing is
resampled. Image 1 is the plain view, image 0 the warped one, and the map T leads from pixels of image 1 to pixels
of image 0. In the paper's terms, image 0 is the source and image 1 the target: T, evaluated on the target's
lattice, is G_{s->t}. The other grid is its inverse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64

from homolog.core.coords import Size, inside
from homolog.core.errors import ConfigError
from homolog.synthetic.asset_pairs import SUBJECT, SurfacePair, photographed
from homolog.synthetic.assets import AssetSource, ProceduralAssets
from homolog.synthetic.category import chosen
from homolog.synthetic.correspondence import DenseTruth, OneWay, both_ways, eroded, shared_parts
from homolog.synthetic.on_demand import PairsOnDemand, check_at_least, check_within
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import draw_look
from homolog.synthetic.rendering.scene import Body, Scene
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import drawn_azimuth
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.texturing.texturers import ProceduralTexturer, Retexturing, Texturer
from homolog.synthetic.transfer import Landing, landmarks_in
from homolog.synthetic.warping import MapRanges, PlaneMap, WarpedView

TRIES = 12
"""Maps to draw before taking the one that keeps most of the object in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedPair(SurfacePair):
    """Everything that is known about a pair.

    Attributes:
        map: from pixels of image 1 to pixels of image 0.
    """

    map: PlaneMap


class AlignedPairs(PairsOnDemand):
    """Pairs whose truth is a map of the image plane, made on demand; independent of order and worker."""

    def __init__(
        self,
        *,
        count: int,
        size: int | Sequence[int] = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        source: AssetSource | None = None,
        names: list[str] | None = None,
        texturer: Texturer | None = None,
        prompts: Sequence[str] | None = None,
        rotation: float | int = 30.0,
        scale: Sequence[float | int] = (0.75, 1.35),
        stretch: float | int = 0.2,
        shift: float | int = 0.06,
        bend: float | int = 0.03,
        kept: float | int = 0.6,
        erosion: float | int = 0.0,
        photos: str | Path | None = None,
        photometry: bool = True,
    ) -> None:
        """Choose the source and the settings.

        Args:
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of the data set.
            split: equal indices of different splits give unrelated pairs.
            source: where instances come from; the procedural categories by default.
            names: categories of the source; all by default.
            texturer: gives each image its appearance; by default random colours on the same surface.
            prompts: for a texturer that takes text; `{category}` is replaced.
            rotation: largest angle of the map, degrees.
            scale: its smallest and largest factor.
            stretch: largest logarithm of its factor along some axis.
            shift: largest shift, as a fraction of the longer side.
            bend: strength of its bend (`homolog.synthetic.warping.MapRanges`); 0 makes it affine.
            kept: fraction of the object in image 1 that should be inside image 0 too.
            erosion: width in pixels around contours where labels are dropped; 2 to 4 for generators.
            photos: folder of photos for the backgrounds; procedural backgrounds by default.
            photometry: whether exposure, blur, noise and compression are simulated, for each image on its own.

        Raises:
            ConfigError: an unknown category or split, or a number out of range.
            DataError: no photos in the folder.
        """
        super().__init__(count=count, size=size, seed=seed, split=split)
        check_within(0, 1, kept=kept)
        check_at_least(0, erosion=erosion)
        if len(scale) != 2:
            raise ConfigError(f"expected scale as [lowest, highest], got {list(scale)}")
        self._source: AssetSource = source or ProceduralAssets()
        self._names = chosen(names, self._source.categories())
        self._ranges = MapRanges(
            rotation=rotation, scale=(scale[0], scale[1]), stretch=stretch, shift=shift, bend=bend
        )
        self._kept, self._erosion = kept, erosion
        self._retexturing = Retexturing(
            texturer=texturer or ProceduralTexturer(), prompts=prompts, photos=photos, photometry=photometry
        )

    def pair(self, index: int) -> AlignedPair:
        """Make one pair with everything that is known about it."""
        seeds = self._seeds(index)
        name = self._names[int(seeds.generator(Factor.choice).integers(len(self._names)))]
        asset = self._source.sample(name, int(seeds.generator(Factor.shape).integers(2**62)))
        pose = asset.draw_pose(seeds.generator(Factor.pose))
        body = Body(topology=asset.topology, vertices=asset.vertices(pose), key=SUBJECT)
        azimuth = drawn_azimuth(seeds.generator(Factor.layout), asset.azimuths)
        camera = photographed(asset, body, seeds.generator(Factor.camera), azimuth, self._size)
        plain = View.of(Scene.of([body]), camera)
        lens = self._map(plain, seeds)
        warped = WarpedView.of(plain, lens)
        views = (warped.view, plain)
        colours, cut = asset.colours, warped.cuts[0]
        moved_colours = colours if colours is None or cut is None else colours.cut(cut)
        # Before the texturer, both images have the same appearance.
        look = draw_look(asset.topology, seeds.generator(Factor.texture))
        light = Light.drawn(seeds.generator(Factor.light))
        (picture0, prompt0), (picture1, prompt1) = (
            self._retexturing.picture(view, name, seeds, side, look=look, light=light, colours=own)
            for side, (view, own) in enumerate(zip(views, (moved_colours, colours), strict=True))
        )
        marks = landmarks_in(plain)
        return AlignedPair(
            category=name,
            assets=(asset, asset),
            poses=(pose, pose),
            looks=(look, look),
            views=views,
            pictures=(picture0, picture1),
            truths=eroded(aligned_truth(warped.view, plain, lens), views, self._erosion),
            landmarks=(_moved(marks, lens, plain), marks),
            prompts=(prompt0, prompt1),
            name=self._name(f"aligned-{name}", index),
            map=lens,
        )

    def _map(self, view: View, seeds: Seeds) -> PlaneMap:
        """Draw maps until one keeps enough of the object in the picture; otherwise return the best one."""
        shown = lattice_of(view.shows(0))[:: max(1, int(view.shows(0).sum()) // 2000)]
        drawn: list[tuple[float, PlaneMap]] = []
        for member in range(TRIES):
            lens = self._ranges.drawn(seeds.generator(Factor.layout, 1 + member))
            fraction = float(_within(lens.moved(shown, view.size), view).mean()) if len(shown) else 1.0
            drawn.append((fraction, lens))
            if fraction >= self._kept:
                break
        return max(drawn, key=lambda one: one[0])[1]


def aligned_truth(view0: View, view1: View, lens: PlaneMap) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth from the warped view 0 to the plain view 1, and the one from 1 to 0.

    `lens` leads from pixels of view 1 to pixels of view 0. Nothing is occluded: what view 1 shows, view 0
    shows too unless it is outside the image.
    """
    return both_ways(_labels(view0, view1, lens.undone), _labels(view1, view0, lens.moved))


def lattice_of(mask: np.ndarray) -> Float64[np.ndarray, "N 2"]:
    """Return (x, y) of the pixels of a mask, row by row."""
    rows, columns = np.nonzero(mask)
    return np.stack((columns, rows), axis=1).astype(np.float64)


def _labels(here: View, there: View, move: Callable[[np.ndarray, Size], np.ndarray]) -> OneWay:
    shown = here.shows(0)
    xy = np.full((*here.size, 2), np.nan, np.float32)
    covisible = np.zeros(here.size, np.bool_)
    places = move(lattice_of(shown), here.size)
    xy[shown] = places
    covisible[shown] = _within(places, there)
    return OneWay(xy=xy, covisible=covisible, part=shared_parts(here, np.zeros(1, np.int32)))


def _moved(marks: Landing, lens: PlaneMap, view: View) -> Landing:
    xy = lens.moved(marks.xy.astype(np.float64), view.size)
    return Landing(xy=xy.astype(np.float32), visible=marks.visible & _within(xy, view))


def _within(xy: np.ndarray, view: View) -> Bool[np.ndarray, " N"]:
    # NaN is outside.
    return inside(torch.from_numpy(np.nan_to_num(xy, nan=-np.inf)), view.size).numpy()
