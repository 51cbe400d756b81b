"""View-aligned pairs: one view of one instance, moved by a map of the plane, in two appearances.

After the data of the VGGT-prior matcher: its pairs begin with one set of conditioning maps (depth, edges), which
are warped and then textured twice. Here the view itself is drawn again behind a lens, so that nothing is
resampled; image 1 is the plain view, image 0 the warped one, and the map T leads from pixels of image 1 to pixels
of image 0. In the paper's words, image 0 is the source and image 1 the target: T, evaluated on the target's
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
from homolog.core.errors import ConfigError, did_you_mean
from homolog.synthetic.assets import Asset, AssetSource
from homolog.synthetic.correspondence import DenseTruth, OneWay, both_ways, shared_parts
from homolog.synthetic.erosion import eroded
from homolog.synthetic.framing import drawn_azimuth, drawn_camera
from homolog.synthetic.landmarks import Landmarks, landmarks_in
from homolog.synthetic.on_demand import PairsOnDemand
from homolog.synthetic.plane_map import MapRanges, PlaneMap
from homolog.synthetic.procedural_assets import ProceduralAssets
from homolog.synthetic.procedural_texturer import ProceduralTexturer
from homolog.synthetic.retexturing import Retexturing
from homolog.synthetic.scene import Body, Scene
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.semantic_pairs import SUBJECT
from homolog.synthetic.sizes import image_size
from homolog.synthetic.surface_pair import SurfacePair
from homolog.synthetic.texturer import Texturer
from homolog.synthetic.view import View
from homolog.synthetic.warped_view import WarpedView

TRIES = 12
"""Maps that are drawn before the one that keeps most of the object in the picture is taken."""


Move = Callable[[Float64[np.ndarray, "N 2"], Size], Float64[np.ndarray, "N 2"]]
"""From pixels of one picture to pixels of another of the same size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedPair(SurfacePair):
    """Everything that is known of a pair.

    Attributes:
        map: from pixels of image 1 to pixels of image 0.
    """

    map: PlaneMap


class AlignedPairs(PairsOnDemand):
    """Pairs whose truth is a map of the plane, made when asked for; the same whatever the order or the worker."""

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
        """Choose what to make.

        Args:
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of everything.
            split: equal indices of different splits have nothing in common.
            source: where instances come from; the made-up categories by default.
            names: categories of the source; all by default.
            texturer: gives each image its appearance; other colours on the same surface by default.
            prompts: for a texturer that reads; `{category}` is replaced.
            rotation: largest angle of the map, degrees.
            scale: its smallest and largest factor.
            stretch: largest logarithm of its factor along some axis.
            shift: largest shift, as a share of the longer side.
            bend: how strongly it bends (`homolog.synthetic.plane_map.MapRanges`); 0 makes it affine.
            kept: share of the object in image 1 that should be within image 0 too.
            erosion: labels so close to a contour are given up, pixels; 2 to 4 for generators.
            photos: folder of photos for the backgrounds; made-up scenery by default.
            photometry: whether images are exposed, blurred, noisy and compressed, each in its own way.

        Raises:
            ConfigError: a category or a split that does not exist, or a number out of its range.
            DataError: no photos in the folder.
        """
        if count < 0 or not 0 <= kept <= 1 or erosion < 0 or len(scale) != 2:
            raise ConfigError(
                "expected count >= 0, kept in [0, 1], erosion >= 0 and scale as [lowest, highest], "
                f"got {count}, {kept}, {erosion}, {list(scale)}"
            )
        self._source: AssetSource = source or ProceduralAssets()
        self._names = chosen_categories(self._source, names)
        super().__init__(count=count, size=image_size(size), seed=seed, split=split)
        self._ranges = MapRanges(
            rotation=rotation, scale=(scale[0], scale[1]), stretch=stretch, shift=shift, bend=bend
        )
        self._kept, self._erosion = kept, erosion
        self._retexturing = Retexturing.chosen(
            texturer=texturer or ProceduralTexturer(), prompts=prompts, photos=photos, photometry=photometry
        )

    def pair(self, index: int) -> AlignedPair:
        """Make one pair with everything that is known of it.

        Raises:
            IndexError: there is no such pair.
        """
        seeds = self._seeds(index)
        name = self._names[int(seeds.generator(Factor.choice).integers(len(self._names)))]
        asset = self._source.sample(name, int(seeds.generator(Factor.shape).integers(2**62)))
        pose = asset.draw_pose(seeds.generator(Factor.pose))
        plain = self._view(
            asset, Body(topology=asset.topology, vertices=asset.vertices(pose), key=SUBJECT), seeds
        )
        lens = self._map(plain, seeds)
        warped = WarpedView.of(plain, lens)
        views = (warped.view, plain)
        colours, cut = asset.colours, warped.cuts[0]
        moved_colours = colours if colours is None or cut is None else colours.cut(cut)
        (picture0, prompt0), (picture1, prompt1) = (
            self._retexturing.picture(view, name, seeds, side, shared=True, colours=own)
            for side, (view, own) in enumerate(zip(views, (moved_colours, colours), strict=True))
        )
        marks = landmarks_in(plain)
        return AlignedPair(
            category=name,
            assets=(asset, asset),
            poses=(pose, pose),
            views=views,
            pictures=(picture0, picture1),
            truths=eroded(aligned_truth(warped.view, plain, lens), views, self._erosion),
            landmarks=(_moved(marks, lens, plain), marks),
            prompts=(prompt0, prompt1),
            name=self._name(f"aligned-{name}", index),
            map=lens,
        )

    def _view(self, asset: Asset, body: Body, seeds: Seeds) -> View:
        camera = drawn_camera(
            body.vertices,
            seeds.generator(Factor.camera),
            azimuth=drawn_azimuth(seeds.generator(Factor.layout), asset.azimuths),
            elevations=asset.elevations,
            roll=asset.turns,
            size=self._size,
        )
        return View.of(Scene.of([body]), camera)

    def _map(self, view: View, seeds: Seeds) -> PlaneMap:
        """Draw maps until one keeps enough of the object in the picture; else return the one that keeps most."""
        shown = lattice_of(view.shows(0))[:: max(1, int(view.shows(0).sum()) // 2000)]
        drawn: list[tuple[float, PlaneMap]] = []
        for member in range(TRIES):
            lens = self._ranges.drawn(seeds.generator(Factor.layout, 1 + member))
            share = float(_within(lens.moved(shown, view.size), view).mean()) if len(shown) else 1.0
            drawn.append((share, lens))
            if share >= self._kept:
                break
        return max(drawn, key=lambda one: one[0])[1]


def aligned_truth(view0: View, view1: View, lens: PlaneMap) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth that lives on view 0 and points to view 1, and the one from 1 to 0.

    Nothing hides anything: what view 1 shows, view 0 shows too unless it is beyond its border.

    Args:
        view0: the warped view.
        view1: the plain one.
        lens: from pixels of view 1 to pixels of view 0.
    """
    return both_ways(_labels(view0, view1, lens.undone), _labels(view1, view0, lens.moved))


def lattice_of(mask: np.ndarray) -> Float64[np.ndarray, "N 2"]:
    """Return (x, y) of the pixels of a mask, row by row."""
    rows, columns = np.nonzero(mask)
    return np.stack((columns, rows), axis=1).astype(np.float64)


def chosen_categories(source: AssetSource, names: list[str] | None) -> tuple[str, ...]:
    """Return the categories of a source that were asked for; all by default.

    Raises:
        ConfigError: one does not exist, or none was asked for.
    """
    there = source.categories()
    found = there if names is None else tuple(names)
    unknown = next((name for name in found if name not in there), None)
    if unknown is not None:
        raise ConfigError(f"no category named {unknown}{did_you_mean(unknown, there)}")
    if not found:
        raise ConfigError(f"expected at least one category, got none; choose from {', '.join(there)}")
    return found


def _labels(here: View, there: View, move: Move) -> OneWay:
    shown = here.shows(0)
    xy = np.full((*here.size, 2), np.nan, np.float32)
    covisible = np.zeros(here.size, np.bool_)
    places = move(lattice_of(shown), here.size)
    xy[shown] = places
    covisible[shown] = _within(places, there)
    return OneWay(xy=xy, covisible=covisible, part=shared_parts(here, np.zeros(1, np.int32)))


def _moved(marks: Landmarks, lens: PlaneMap, view: View) -> Landmarks:
    xy = lens.moved(marks.xy.astype(np.float64), view.size)
    return Landmarks(xy=xy.astype(np.float32), visible=marks.visible & _within(xy, view))


def _within(xy: np.ndarray, view: View) -> Bool[np.ndarray, " N"]:
    # A place that does not exist is within nothing.
    return inside(torch.from_numpy(np.nan_to_num(xy, nan=-np.inf)), view.size).numpy()
