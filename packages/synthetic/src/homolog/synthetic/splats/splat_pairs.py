"""Geometric pairs of views of Gaussian scenes, with labels from the depth that the scene itself renders (MatchGS)."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.synthetic.correspondence import DenseTruth, truth_from_depth
from homolog.synthetic.rendering.photometry import Photometry
from homolog.synthetic.rendering.scene import Scene
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.seeds import Factor, Seeds, Split
from homolog.synthetic.splats.depth_edges import without_edges
from homolog.synthetic.splats.gates import (
    Consistent,
    Covered,
    NearFitted,
    Overlapping,
    Rejection,
    Sharp,
    axis_angle,
)
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.novel_views import drawn_pair, nearest, reframed
from homolog.synthetic.splats.rendering import Rendering
from homolog.synthetic.splats.scene_source import SceneSource
from homolog.synthetic.splats.shown import shown_gaussians
from homolog.synthetic.splats.splat import splat
from homolog.synthetic.splats.splat_scene import SplatScene

_log = logging.getLogger(__name__)

Views = tuple[Viewpoint, Viewpoint]
Renderings = tuple[Rendering, Rendering]
Depths = tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What two views have to pass, in this order."""

    near_fitted: NearFitted = field(default_factory=NearFitted)
    covered: Covered = field(default_factory=Covered)
    sharp: Sharp = field(default_factory=Sharp)
    consistent: Consistent = field(default_factory=Consistent)
    overlapping: Overlapping = field(default_factory=Overlapping)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplatPair:
    """Everything that is known of a pair; `sample` is what a matcher learns from.

    Attributes:
        gaussians: the scene; `gaussian_id` of the renderings counts them.
        mesh: the surfaces that they were sampled from, or None for a scene from a file.
        viewpoints: both cameras.
        renderings: what Gaussians show of both, `gaussian_id` included.
        depths: the depth of both that labels were made of, NaN at its edges.
        pictures: pixels of both images.
        truths: dense truth that lives on image 0, and that which lives on image 1.
        rejected: pairs of views that were drawn before this one and did not pass a gate.
        name: unique within its data set.
    """

    gaussians: Gaussians
    mesh: Scene | None
    viewpoints: Views
    renderings: Renderings
    depths: Depths
    pictures: tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W 3"]]
    truths: tuple[DenseTruth, DenseTruth]
    rejected: tuple[Rejection, ...]
    name: str

    def sample(self) -> PairSample:
        """Return the pair with dense truth, depth, cameras, pose and the Gaussians that its pixels show.

        What was rejected is among its facts.
        """
        image0, image1 = (
            Image(
                pixels=torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32))
                / 255,
                name=f"{self.name}/{side}",
            )
            for side, picture in enumerate(self.pictures)
        )
        camera0, camera1 = self.viewpoints
        return PairSample(
            image0=image0,
            image1=image1,
            camera0=camera0.camera(),
            camera1=camera1.camera(),
            pose=camera0.pose_to(camera1),
            dense0=self.truths[0].field(),
            dense1=self.truths[1].field(),
            depth0=torch.from_numpy(self.depths[0]),
            depth1=torch.from_numpy(self.depths[1]),
            gaussians=shown_gaussians(self.gaussians, *(each.gaussian_id for each in self.renderings)),
            name=self.name,
            facts={
                "overlap": f"{min(_share(truth) for truth in self.truths):.4f}",
                "angle": f"{axis_angle(camera0, camera1):.1f}",
                "baseline": f"{np.linalg.norm(camera0.centre - camera1.centre):.3f}",
                "rejected": _tally(self.rejected),
            },
        )


class SplatPairs:
    """Pairs of views of Gaussian scenes, made when asked for; the same whatever the order or the worker."""

    def __init__(
        self,
        *,
        count: int,
        size: int = 256,
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
            size: height and width of the images in pixels.
            seed: of everything.
            split: equal indices of different splits have nothing in common, other than the scenes of a folder.
            scenes: folder of PLY files of 3D Gaussian Splatting, each with `cameras.json` beside or above it;
                made-up rooms by default.
            names: categories of the objects in made-up rooms, all by default; of no use with a folder.
            gaussians: how many cover a made-up room.
            jitter: by how much they miss its surfaces, as a multiple of the distance between them.
            tilt: by how much their normals miss, degrees.
            depth: which depth labels are made of; `expected` is biased and here to be compared with.
            pairs_per_scene: so many pairs with indices in a row show one scene.
            turn: how far apart the axes of the fitted cameras may be that both views are near to, degrees.
            stray: how far views move away from fitted cameras, as a multiple of the distance between those.
            edge: pixels around steps of the depth that get no label.
            gates: what views have to pass; the defaults of `Gates` by default.
            tries: pairs of views of a scene that are drawn before it is given up.
            redraws: so many other scenes are drawn for a pair, one after the other, where its own has no views
                that pass: rooms that nothing else shows, or any of a folder's files.
            kept: scenes that are held in memory. Indices in order, and shards, need no more than the default;
                in random order it saves work if it is as many as there are.
            photometry: whether images are exposed, blurred, noisy and compressed, each in its own way.

        Raises:
            ConfigError: a category that does not exist, or a number out of its range.
            DataError: no PLY files in the folder.
        """
        ones = (gaussians, pairs_per_scene, tries, kept)
        if min(count, edge, redraws) < 0 or size < 16 or min(ones) < 1:
            raise ConfigError(
                "expected count, edge and redraws >= 0, size >= 16, and at least one of gaussians, pairs_per_scene, "
                f"tries and kept, got {count}, {edge}, {redraws}, {size}, {', '.join(map(str, ones))}"
            )
        if min(jitter, tilt, stray) < 0 or not 0 < turn <= 180 or depth not in ("plane", "expected"):
            raise ConfigError(
                "expected jitter, tilt and stray >= 0, turn in (0, 180] and the depth plane or expected, "
                f"got {jitter}, {tilt}, {stray}, {turn}, {depth}"
            )
        self._count, self._size, self._seed, self._split = count, (size, size), seed, Split[split]
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

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count

    def __getitem__(self, index: int) -> PairSample:
        """Make one pair.

        Raises:
            IndexError: there is no such pair.
            DataError: no pair of views passed the gates, or the scene cannot be read.
        """
        return self.pair(index).sample()

    def pair(self, index: int) -> SplatPair:
        """Make one pair with everything that is known of it.

        Raises:
            IndexError: there is no such pair.
            DataError: no pair of views passed the gates, or the scene cannot be read.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected the index of a pair in [0, {self._count}), got {index}")
        seeds = Seeds(seed=self._seed, split=self._split, index=index)
        rejected: list[Rejection] = []
        for turn in range(1 + self._redraws):
            number = index // self._pairs_per_scene if turn == 0 else self._scenes.spare(seeds, turn - 1)
            found = self._of_scene(self._scenes[number], seeds, turn, rejected)
            if found is not None:
                return found
        others = f" and {self._redraws} scenes in its place" if self._redraws else ""
        raise DataError(
            f"{self._scenes[index // self._pairs_per_scene].name}{others}: none of {len(rejected)} pairs of views "
            f"passed the gates ({_tally(rejected)}); loosen the gates, or let views stray less"
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
            _log.info("%s, pair %d: %s: %s", scene.name, seeds.index, found.cause, found.letter)
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
            rendering = splat(scene.gaussians, view)
            found = gates.covered(rendering) or self._sharp(scene, view, rendering)
            if found is not None:
                return found
            renderings.append(rendering)
        depths = self._clean(renderings[0]), self._clean(renderings[1])
        found = gates.consistent(depths[0], views[0], depths[1], views[1])
        if found is not None:
            return found
        truths = truth_from_depth(depths[0], views[0], depths[1], views[1], two_way=gates.consistent.pixels)
        found = gates.overlapping(_share(truths[0]), _share(truths[1]))
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
            name=f"splat-{self._split.name}-{self._seed}-{seeds.index}",
        )

    def _sharp(self, scene: SplatScene, view: Viewpoint, rendering: Rendering) -> Rejection | None:
        # A file does not bring the photos; what its Gaussians show from a fitted camera is the best they can do.
        reference = splat(scene.gaussians, reframed(nearest(view, scene.fitted), view.size))
        return self._gates.sharp(rendering.rgb, reference.rgb)

    def _clean(self, rendering: Rendering) -> Float32[np.ndarray, "H W"]:
        depth = rendering.plane_depth if self._depth == "plane" else rendering.expected_depth
        return without_edges(depth, radius=self._edge)

    def _picture(self, rendering: Rendering, seeds: Seeds, side: int) -> UInt8[np.ndarray, "H W 3"]:
        if not self._photometry:
            return np.rint(rendering.rgb * np.float32(255)).astype(np.uint8)
        return Photometry.drawn(seeds.generator(Factor.photometry, side)).develop(rendering.rgb)


def _share(truth: DenseTruth) -> float:
    return float(truth.valid.mean())


def _tally(rejected: tuple[Rejection, ...] | list[Rejection]) -> str:
    counts = Counter(rejection.cause.value for rejection in rejected)
    return ", ".join(f"{cause}: {number}" for cause, number in sorted(counts.items())) or "none"
