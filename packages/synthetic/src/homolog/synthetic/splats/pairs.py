"""Pairs of views of Gaussian scenes, with labels from the depth that the scene itself renders (MatchGS)."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8

from homolog.core.errors import ConfigError, DataError, one_of
from homolog.core.samples import PairSample, ShownGaussians
from homolog.synthetic.correspondence import overlap, truth_from_depth
from homolog.synthetic.on_demand import KnownPair, PairsOnDemand, check_at_least
from homolog.synthetic.rendering.photometry import Photometry, taken
from homolog.synthetic.rendering.scene import Scene
from homolog.synthetic.rendering.viewpoint import Viewpoint, axis_angle
from homolog.synthetic.seeds import Factor, Seeds
from homolog.synthetic.splats.gaussians import Gaussians, shade
from homolog.synthetic.splats.rendering import Rendering, render
from homolog.synthetic.splats.scenes import SceneSource, SplatScene
from homolog.synthetic.splats.views import (
    Consistent,
    Covered,
    NearFitted,
    Overlapping,
    Rejection,
    Sharp,
    drawn_pair,
    nearest,
    reframed,
    without_edges,
)

logger = logging.getLogger(__name__)

Views = tuple[Viewpoint, Viewpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The checks that two views have to pass, in this order."""

    near_fitted: NearFitted = field(default_factory=NearFitted)
    covered: Covered = field(default_factory=Covered)
    sharp: Sharp = field(default_factory=Sharp)
    consistent: Consistent = field(default_factory=Consistent)
    overlapping: Overlapping = field(default_factory=Overlapping)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplatPair(KnownPair):
    """A pair with everything that is known about it; `sample` returns the part that a matcher learns from.

    Attributes:
        gaussians: the scene; `gaussian_id` of the renderings are indices into it.
        mesh: the surfaces that they were sampled from, or None for a scene from a file.
        viewpoints: both cameras.
        renderings: of both views.
        depths: of both views, which the labels were made of; NaN at depth edges.
        rejected: pairs of views that were drawn before this one and did not pass a gate.
    """

    gaussians: Gaussians
    mesh: Scene | None
    viewpoints: Views
    renderings: tuple[Rendering, Rendering]
    depths: tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]
    rejected: tuple[Rejection, ...]

    def sample(self) -> PairSample:
        """Return the pair with dense truth, depth, cameras, pose and the Gaussians that its pixels show.

        The number of rejected pairs by cause is among its facts.
        """
        camera0, camera1 = self.viewpoints
        return self._sample(
            camera0=camera0.camera(),
            camera1=camera1.camera(),
            pose=camera0.pose_to(camera1),
            depth0=torch.from_numpy(self.depths[0]),
            depth1=torch.from_numpy(self.depths[1]),
            gaussians=shown_gaussians(self.gaussians, *(each.gaussian_id for each in self.renderings)),
            facts={
                "overlap": f"{min(overlap(self.truths)):.4f}",
                "angle": f"{axis_angle(camera0, camera1):.1f}",
                "baseline": f"{np.linalg.norm(camera0.centre - camera1.centre):.3f}",
                "rejected": _tally(self.rejected),
            },
        )


class SplatPairs(PairsOnDemand):
    """Pairs of views of Gaussian scenes, rendered on demand; each depends on its index only."""

    def __init__(
        self,
        *,
        count: int,
        size: int | Sequence[int] = 256,
        seed: int = 0,
        split: Literal["trn", "val", "test"] = "trn",
        scenes: str | Path | None = None,
        names: list[str] | None = None,
        gaussians: int = 100_000,
        jitter: float | int = 0.0,
        tilt: float | int = 0.0,
        depth: Literal["plane", "expected"] = "plane",
        pairs_per_scene: int = 8,
        turn: float | int = 60.0,
        stray: float | int = 0.5,
        edge: int = 2,
        gates: Gates | None = None,
        tries: int = 24,
        redraws: int = 3,
        kept: int = 2,
        photometry: bool = True,
    ) -> None:
        """Choose what to make.

        Args:
            count: number of pairs.
            size: of the images in pixels, one number or [height, width].
            seed: of everything.
            split: equal indices of different splits have nothing in common, other than the scenes of a folder.
            scenes: folder of PLY files of 3D Gaussian Splatting, each with `cameras.json` beside or above it;
                synthetic rooms by default.
            names: categories of the objects in synthetic rooms, all by default; unused with a folder.
            gaussians: number of Gaussians of a synthetic room.
            jitter: standard deviation of their distance from its surfaces, as a multiple of their spacing.
            tilt: standard deviation of their normals, degrees.
            depth: which depth labels are made of; `expected` is biased, for comparisons.
            pairs_per_scene: number of consecutive pairs that show one scene.
            turn: largest angle between the axes of the two fitted cameras that the views are near to, degrees.
            stray: how far views move away from fitted cameras, as a multiple of the distance between those.
            edge: pixels around steps of the depth that get no label.
            gates: what views have to pass; the defaults of `Gates` by default.
            tries: pairs of views of a scene that are drawn before it is given up.
            redraws: number of other scenes that are tried for a pair if its own has no views that pass: rooms
                of their own, or any of a folder's files.
            kept: scenes that are held in memory. Indices in order, and shards, need no more than the default;
                random order is faster if all scenes are held.
            photometry: whether each image gets an exposure, blur, noise and compression of its own.

        Raises:
            ConfigError: a category that does not exist, or a number out of its range.
            DataError: no PLY files in the folder.
        """
        super().__init__(count=count, size=size, seed=seed, split=split)
        check_at_least(0, jitter=jitter, tilt=tilt, stray=stray, edge=edge, redraws=redraws)
        check_at_least(1, gaussians=gaussians, pairs_per_scene=pairs_per_scene, tries=tries, kept=kept)
        if not 0 < turn <= 180:
            raise ConfigError(f"expected turn in (0, 180], got {turn}")
        one_of("depth", depth, ("plane", "expected"))
        self._scenes = SceneSource(
            seed=seed,
            split=self._split,
            folder=scenes,
            names=names,
            count=gaussians,
            jitter=jitter,
            tilt=float(np.radians(tilt)),
            kept=kept,
        )
        self._depth, self._pairs_per_scene, self._edge = depth, pairs_per_scene, edge
        self._turn, self._stray = float(turn), float(stray)
        self._tries, self._redraws = tries, redraws
        self._gates = gates or Gates()
        self._photometry = photometry

    def pair(self, index: int) -> SplatPair:
        """Make one pair with everything that is known about it.

        Raises:
            DataError: no pair of views passed the gates, or the scene cannot be read.
        """
        seeds = self._seeds(index)
        rejected: list[Rejection] = []
        for turn in range(1 + self._redraws):
            number = index // self._pairs_per_scene if turn == 0 else self._scenes.spare(seeds, turn - 1)
            found = self._of_scene(self._scenes[number], seeds, turn, rejected)
            if found is not None:
                return found
        others = f" and {self._redraws} scenes instead of it" if self._redraws else ""
        raise DataError(
            f"{self._scenes[index // self._pairs_per_scene].name}{others}: none of {len(rejected)} pairs of views "
            f"passed the gates ({_tally(rejected)}); loosen the gates, or lower stray"
        )

    def _of_scene(
        self, scene: SplatScene, seeds: Seeds, turn: int, rejected: list[Rejection]
    ) -> SplatPair | None:
        for attempt in range(turn * self._tries, (turn + 1) * self._tries):
            views = drawn_pair(
                scene.fitted,
                seeds.generator(Factor.camera, attempt),
                turn=self._turn,
                stray=self._stray,
                size=self._size,
            )
            found = self._tried(scene, views, seeds, tuple(rejected))
            if isinstance(found, SplatPair):
                return found
            logger.info("%s, pair %d: %s: %s", scene.name, seeds.index, found.cause, found.reason)
            rejected.append(found)
        return None

    def _tried(
        self, scene: SplatScene, views: Views, seeds: Seeds, rejected: tuple[Rejection, ...]
    ) -> SplatPair | Rejection:
        gates = self._gates
        found = next(filter(None, (gates.near_fitted(view, scene.fitted) for view in views)), None)
        if found is not None:
            return found
        renderings: list[Rendering] = []
        for view in views:
            rendering = render(scene.gaussians, view)
            found = gates.covered(rendering) or self._sharp(scene, view, rendering)
            if found is not None:
                return found
            renderings.append(rendering)
        depths = self._clean(renderings[0]), self._clean(renderings[1])
        found = gates.consistent(depths[0], views[0], depths[1], views[1])
        if found is not None:
            return found
        truths = truth_from_depth(depths[0], views[0], depths[1], views[1], two_way=gates.consistent.pixels)
        found = gates.overlapping(*overlap(truths))
        if found is not None:
            return found
        return SplatPair(
            gaussians=scene.gaussians,
            mesh=scene.mesh,
            viewpoints=views,
            renderings=(renderings[0], renderings[1]),
            depths=depths,
            pictures=(self._picture(renderings[0], seeds, 0), self._picture(renderings[1], seeds, 1)),
            truths=truths,
            rejected=rejected,
            name=self._name("splat", seeds.index),
        )

    def _sharp(self, scene: SplatScene, view: Viewpoint, rendering: Rendering) -> Rejection | None:
        # A file has no photos; what its Gaussians show from a fitted camera is the best they can do.
        reference = render(scene.gaussians, reframed(nearest(view, scene.fitted), view.size))
        return self._gates.sharp(rendering.rgb, reference.rgb)

    def _clean(self, rendering: Rendering) -> Float32[np.ndarray, "H W"]:
        depth = rendering.plane_depth if self._depth == "plane" else rendering.expected_depth
        return without_edges(depth, radius=self._edge)

    def _picture(self, rendering: Rendering, seeds: Seeds, side: int) -> UInt8[np.ndarray, "H W 3"]:
        camera = Photometry.drawn(seeds.generator(Factor.photometry, side)) if self._photometry else None
        return taken(rendering.rgb, camera)


def _tally(rejected: tuple[Rejection, ...] | list[Rejection]) -> str:
    counts = Counter(rejection.cause.value for rejection in rejected)
    return ", ".join(f"{cause}: {number}" for cause, number in sorted(counts.items())) or "none"


ATTRIBUTES = 14
"""Numbers of a Gaussian: position, logarithms of the scales, quaternion, opacity, colour."""


def shown_gaussians(
    gaussians: Gaussians, id0: Int32[np.ndarray, "H W"], id1: Int32[np.ndarray, "h w"]
) -> ShownGaussians:
    """Return the Gaussians that two images show and their attributes, for the 2D-3D alignment of MatchGS.

    The paper does not define in detail which attributes an encoder gets; these are all that a Gaussian has, made
    independent of the origin and the unit of its scene, since neither is visible in an image:

    - 0 to 2: its centre from the mean of the centres, in spreads (root of the mean squared distance from it);
    - 3 to 5: natural logarithm of its standard deviations along its axes, in spreads;
    - 6 to 9: its rotation as a unit quaternion (w, x, y, z) with w >= 0;
    - 10: its opacity;
    - 11 to 13: RGB of its harmonics of degree 0, the same from all sides.

    `id0` and `id1` have the Gaussian of each pixel, -1 for none. Those that either image shows are returned, in the
    order of the scene.
    """
    used = np.unique(np.concatenate((id0.ravel(), id1.ravel())))
    used = used[used >= 0]
    row = np.full(len(gaussians) + 1, -1, np.int32)  # its last entry is that of -1
    row[used] = np.arange(len(used))
    return ShownGaussians(
        id0=torch.from_numpy(row[id0]),
        id1=torch.from_numpy(row[id1]),
        attributes=torch.from_numpy(_attributes(gaussians.take(used))),
    )


def _attributes(gaussians: Gaussians) -> np.ndarray:
    if not len(gaussians):
        return np.zeros((0, ATTRIBUTES), np.float32)
    means = gaussians.means.astype(np.float64)
    apart = means - means.mean(0)
    spread = max(float(np.sqrt((apart**2).sum(1).mean())), 1e-12)
    turn = np.where(gaussians.rotations[:, :1] < 0, -gaussians.rotations, gaussians.rotations)
    colour = shade(gaussians.harmonics[:, :1], np.zeros_like(gaussians.means))
    columns = (apart / spread, np.log(gaussians.scales / spread), turn, gaussians.opacity[:, None], colour)
    return np.concatenate(columns, axis=1).astype(np.float32)
