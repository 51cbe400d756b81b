"""What frozen parts saw in pairs, computed once and kept: keypoints, what guides them, and the truth.

A glue reads a few hundred numbers of an image, and detector and backbone do not change while it learns:
to run them in every step, and to make the images for them, costs more than the step itself.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from homolog.core.atomic import atomic, write_json
from homolog.core.coords import Size
from homolog.core.errors import ConfigError, DataError, ShapeError
from homolog.core.features import Features
from homolog.core.image import Image
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import Backbone, Detector
from homolog.core.samples import PairSample
from homolog.training.batch import collate
from homolog.training.glue_truth import GlueTruth
from homolog.training.mixture import Source

RECORD = "seen.json"
"""What made the files of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenPair(PairSample):
    """A pair of which only what a glue reads was kept; its images are black.

    All of it is about the images as they were seen, and stays as it is when the images of the sample
    change places: a glue treats both alike.

    Attributes:
        keypoints0: of image 0, with descriptors, best first.
        keypoints1: of image 1.
        guidance0: [N G] the backbone's map at the keypoints of image 0, or None without a backbone.
        guidance1: [M G] the same of image 1.
        matches0: [N] as `GroundTruthMatches` has them.
        matches1: [M].
        seen_size: (height, width) of the images that the networks saw.
    """

    keypoints0: Keypoints
    keypoints1: Keypoints
    guidance0: Float[Tensor, "N G"] | None
    guidance1: Float[Tensor, "M G"] | None
    matches0: Int[Tensor, " N"]
    matches1: Int[Tensor, " M"]
    seen_size: Size


class SeenPairs:
    """The pairs of another source as a detector and a backbone see them; each is seen once and kept as a file.

    Detector, backbone and source are made when a pair is missing, so that nothing but the folder is
    needed once all were seen. Several processes may read and fill a folder at the same time.
    """

    def __init__(
        self,
        *,
        source: Callable[[], Source],
        detector: Callable[[], Detector],
        backbone: Callable[[], Backbone] | None = None,
        map: str | None = None,
        folder: str | Path,
        count: int,
        size: Sequence[int],
        keypoints: int = 512,
        positive: float | int = 3.0,
        negative_homography: float | int = 3.0,
        negative_depth: float | int = 5.0,
    ) -> None:
        """Choose what is seen, by what, and where it is kept.

        Args:
            source: makes the pairs' source.
            detector: makes what finds and describes keypoints.
            backbone: makes what guides the glue; None for a glue without guidance.
            map: the backbone's map that guides; None takes the only one. It is read as `lookup: centre`
                of the glue does.
            folder: where the files are; a folder that others have made is refused.
            count: the first so many pairs of the source.
            size: (height, width) that images are brought to.
            keypoints: of each image at most, the best ones.
            positive: of `GlueTruth`.
            negative_homography: of `GlueTruth`.
            negative_depth: of `GlueTruth`.

        Raises:
            ConfigError: a folder of other pairs or parts, or numbers out of range.
        """
        if count < 1 or keypoints < 1 or len(size) != 2:
            raise ConfigError(
                "seen pairs: expected at least one pair and one keypoint and a size [height, width], got "
                f"{count}, {keypoints} and {list(size)}"
            )
        self._source, self._detector, self._backbone, self._map = source, detector, backbone, map
        self._folder, self._count, self._keypoints = Path(folder).expanduser(), count, keypoints
        self._size: Size = (int(size[0]), int(size[1]))
        self._truth = GlueTruth(
            positive=positive, negative_homography=negative_homography, negative_depth=negative_depth
        )
        self._parts: tuple[Source, Detector, Backbone | None] | None = None
        self._made_by = self._described()
        self._check_folder()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count

    def __getitem__(self, index: int, /) -> SeenPair:
        """Return what was seen of a pair; see it now if nobody has yet.

        Raises:
            IndexError: there is no such pair.
            DataError: a pair without truth, or a damaged file.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected the index of a pair in [0, {self._count}), got {index}")
        path = self._folder / f"{index:06d}.safetensors"
        if not path.is_file():
            if not (self._folder / RECORD).is_file():
                write_json(self._folder / RECORD, self._made_by)
            with atomic(path) as temporary:
                save_file(self._see(index), temporary)
        try:
            return _pair(load_file(path), f"{self._folder.name}-{index}", self._size)
        except (SafetensorError, OSError, KeyError, ShapeError) as error:
            raise DataError(f"{path}: expected a seen pair ({error}); remove it") from error

    def _see(self, index: int) -> dict[str, Tensor]:
        if self._parts is None:
            self._parts = (
                self._source(),
                self._detector(),
                None if self._backbone is None else self._backbone(),
            )
        source, detector, backbone = self._parts
        with torch.inference_mode():
            batch = collate([source[index]], size=self._size)
            views = batch.images[0]
            features = None if backbone is None else backbone(views[:, None])
            found = [each.best(self._keypoints) for each in detector(views, features)]
            truth = self._truth.of(batch.samples[0], found[0].xy, found[1].xy)
            kept: dict[str, Tensor] = {"matches0": truth.matches0, "matches1": truth.matches1}
            for side, keypoints in enumerate(found):
                kept |= _kept(keypoints, None if features is None else self._guidance(features, side), side)
        return {name: value.contiguous().clone() for name, value in kept.items()}

    def _guidance(self, features: Features, side: int) -> Callable[[Tensor], Tensor]:
        name = self._map
        if name is None:
            if len(features.maps) > 1:
                raise ConfigError(f"seen pairs: expected one of the maps {', '.join(features.maps)}; set map")
            name = next(iter(features.maps))
        one = Features(maps={name: features[name][side : side + 1]}, image_size=features.image_size)
        return partial(one.at, name)

    def _described(self) -> dict[str, Any]:
        made_by = {
            "source": _described(self._source),
            "detector": _described(self._detector),
            "backbone": None if self._backbone is None else _described(self._backbone),
            "map": self._map,
            "size": list(self._size),
            "keypoints": self._keypoints,
            "truth": vars(self._truth),
        }
        return json.loads(json.dumps(made_by, default=str))

    def _check_folder(self) -> None:
        record = self._folder / RECORD
        if not record.is_file():
            return
        there = json.loads(record.read_text(encoding="utf-8"))
        different = [name for name, value in self._made_by.items() if there.get(name) != value]
        if different:
            raise ConfigError(
                f"{self._folder}: what was seen there has another {', '.join(different)}; choose another folder"
            )


def _kept(keypoints: Keypoints, guidance: Callable[[Tensor], Tensor] | None, side: int) -> dict[str, Tensor]:
    if keypoints.descriptor is None:
        raise ConfigError(
            "seen pairs: expected a detector that describes its keypoints, got one that does not"
        )
    kept = {
        f"xy{side}": keypoints.xy,
        f"score{side}": keypoints.score,
        f"descriptor{side}": keypoints.descriptor,
    }
    if guidance is not None:
        # Only their order of resemblance is read: half precision is enough.
        kept[f"guidance{side}"] = guidance(keypoints.xy).half()
    return kept


def _pair(kept: Mapping[str, Tensor], name: str, size: Size) -> SeenPair:
    keypoints0, keypoints1 = (
        Keypoints(xy=kept[f"xy{side}"], score=kept[f"score{side}"], descriptor=kept[f"descriptor{side}"])
        for side in (0, 1)
    )
    guidance0, guidance1 = (
        kept[f"guidance{side}"].float() if f"guidance{side}" in kept else None for side in (0, 1)
    )
    # Costs no memory: all pixels are one number.
    black = Image(pixels=torch.zeros(1, 1, 1).expand(3, *size), name=name)
    return SeenPair(
        image0=black,
        image1=black,
        name=name,
        keypoints0=keypoints0,
        keypoints1=keypoints1,
        guidance0=guidance0,
        guidance1=guidance1,
        matches0=kept["matches0"],
        matches1=kept["matches1"],
        seen_size=size,
    )


def _described(make: Callable[[], Any]) -> Any:
    """Say what makes something: its name, and the settings that a recipe has given it."""
    if isinstance(make, partial):
        bound: partial[Any] = make
        return {"is": _described(bound.func), **{key: _value(value) for key, value in bound.keywords.items()}}
    return f"{make.__module__}.{getattr(make, '__qualname__', type(make).__name__)}"


def _value(value: Any) -> Any:
    if isinstance(value, Path) and value.is_file():
        # The same weights lie elsewhere on another machine, and other ones may come to lie here.
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return _described(value) if callable(value) else value
