"""Scenes of Gaussians by number, from a folder or made up; those of late are kept."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from homolog.core.errors import DataError
from homolog.synthetic.category import chosen
from homolog.synthetic.seeds import Factor, Seeds, Split
from homolog.synthetic.splats.splat_scene import SplatScene, made_scene, read_scene

_SPARE = 1 << 31
"""Made-up scenes from this number on stand in for others; no data set counts so far."""


class SceneSource:
    """Scenes, the same whenever they are asked for."""

    def __init__(
        self,
        *,
        seed: int,
        split: Split,
        folder: str | Path | None,
        names: Sequence[str] | None,
        count: int,
        jitter: float | int,
        tilt: float | int,
        kept: int,
    ) -> None:
        """Find the files, if there are any.

        Args:
            seed: of made-up scenes.
            split: of made-up scenes.
            folder: of PLY files, each with `cameras.json` beside or above it; None makes rooms up.
            names: categories of the objects in made-up rooms; None takes all.
            count: Gaussians of a made-up room.
            jitter: of the Gaussians of a made-up room; see `sampled`.
            tilt: of their normals, radians.
            kept: scenes that are held in memory, those that were asked for last.

        Raises:
            ConfigError: a category that does not exist.
            DataError: no PLY files in the folder.
        """
        self._names = chosen(None if names is None else list(names)) if folder is None else ()
        self._root = None if folder is None else Path(folder)
        self._files = () if self._root is None else _scene_files(self._root)
        self._seed, self._split = seed, split
        self._count, self._jitter, self._tilt = count, float(jitter), float(tilt)
        self._kept, self._scenes = kept, OrderedDict[int, SplatScene]()

    def __getitem__(self, number: int) -> SplatScene:
        """Return a scene; with a folder, numbers beyond its files begin again with the first.

        Raises:
            DataError: it cannot be read.
        """
        number = number if self._root is None else number % len(self._files)
        if number not in self._scenes:
            # Room first: two of the largest scenes need not fit into memory where one is to be kept.
            while len(self._scenes) >= self._kept:
                self._scenes.popitem(last=False)
            self._scenes[number] = self._made_or_read(number)
        self._scenes.move_to_end(number)
        return self._scenes[number]

    def spare(self, seeds: Seeds, turn: int) -> int:
        """Draw the number of a scene that may stand in for the one of a sample.

        Args:
            seeds: of the sample.
            turn: which of the scenes that stand in for it, from 0.

        Returns:
            With a folder the number of any of its files; otherwise of a room that no sample calls its own.
        """
        stream = seeds.generator(Factor.choice, turn)
        return int(stream.integers(len(self._files)) if self._files else _SPARE + stream.integers(_SPARE))

    def _made_or_read(self, number: int) -> SplatScene:
        if self._root is not None:
            return read_scene(self._files[number], self._root)
        seeds = Seeds(seed=self._seed, split=self._split, index=number)
        return made_scene(seeds, names=self._names, count=self._count, jitter=self._jitter, tilt=self._tilt)


def _scene_files(root: Path) -> tuple[Path, ...]:
    files = tuple(sorted(root.rglob("*.ply")))
    if not files:
        raise DataError(f"expected PLY files of Gaussians below {root}, found none; give another folder")
    return files
