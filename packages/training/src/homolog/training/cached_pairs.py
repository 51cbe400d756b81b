"""Pairs whose keypoints, guidance features and true matches are computed once and cached on disk.

A graph matcher reads keypoints, not images, and its detector and backbone are frozen: running them in every step,
and making the images for them, would cost more than the step itself.
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
from homolog.training.data import Source
from homolog.training.ground_truth import MatchLabeller

RECORD = "pairs.json"
"""The settings with which the files of a folder were made."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CachedPair(PairSample):
    """A pair with the inputs of a graph matcher; its images are black.

    The cached values stay as they are when the images of the sample are swapped: a graph matcher treats both
    images alike.

    Attributes:
        keypoints0: keypoints of image 0 with descriptors, best first.
        keypoints1: the same for image 1.
        guidance0: [N G] the backbone's features at the keypoints of image 0; None without a backbone.
        guidance1: [M G] the same for image 1.
        matches0: [N] labels, see `GroundTruthMatches`.
        matches1: [M] the same for image 1.
        image_size: (height, width) of the images in which the keypoints were detected.
    """

    keypoints0: Keypoints
    keypoints1: Keypoints
    guidance0: Float[Tensor, "N G"] | None
    guidance1: Float[Tensor, "M G"] | None
    matches0: Int[Tensor, " N"]
    matches1: Int[Tensor, " M"]
    image_size: Size


class CachedPairs:
    """The keypoints, guidance features and true matches of another source's pairs, one file per pair.

    Detector, backbone and source are created only when a file is missing: a complete folder needs nothing
    else. Several processes may read and fill a folder at the same time.
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
        """Set up the cache.

        Args:
            source: makes the source of the pairs.
            detector: makes the detector of keypoints and descriptors.
            backbone: makes the backbone of the guidance features; None for no guidance.
            map: the backbone's map to use; None takes its only map. It is sampled like the head's
                `lookup: centre`.
            folder: folder of the files; a folder made with other settings is rejected.
            count: number of pairs, the first ones of the source.
            size: (height, width) to which images are resized.
            keypoints: maximum number of keypoints per image, the best ones.
            positive: see `MatchLabeller`.
            negative_homography: see `MatchLabeller`.
            negative_depth: see `MatchLabeller`.

        Raises:
            ConfigError: a folder made with other settings, or numbers out of range.
        """
        if count < 1 or keypoints < 1 or len(size) != 2:
            raise ConfigError(
                "cached pairs: expected at least one pair and one keypoint and a size [height, width], got "
                f"{count}, {keypoints} and {list(size)}"
            )
        self._source, self._detector, self._backbone, self._map = source, detector, backbone, map
        self._folder, self._count, self._keypoints = Path(folder).expanduser(), count, keypoints
        self._size: Size = (int(size[0]), int(size[1]))
        self._labeller = MatchLabeller(
            positive=positive, negative_homography=negative_homography, negative_depth=negative_depth
        )
        self._parts: tuple[Source, Detector, Backbone | None] | None = None
        self._made_by = self._described()
        self._check_folder()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count

    def __getitem__(self, index: int, /) -> CachedPair:
        """Return a pair; compute it if its file is missing.

        Raises:
            IndexError: the index is out of range.
            DataError: a pair without labels, or a damaged file.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"expected the index of a pair in [0, {self._count}), got {index}")
        path = self._folder / f"{index:06d}.safetensors"
        if not path.is_file():
            if not (self._folder / RECORD).is_file():
                write_json(self._folder / RECORD, self._made_by)
            with atomic(path) as temporary:
                save_file(self._compute(index), temporary)
        try:
            return _pair(load_file(path), f"{self._folder.name}-{index}", self._size)
        except (SafetensorError, OSError, KeyError, ShapeError) as error:
            raise DataError(f"{path}: expected a cached pair ({error}); remove it") from error

    def _compute(self, index: int) -> dict[str, Tensor]:
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
            truth = self._labeller.label(batch.samples[0], found[0].xy, found[1].xy)
            tensors: dict[str, Tensor] = {"matches0": truth.matches0, "matches1": truth.matches1}
            for side, keypoints in enumerate(found):
                if keypoints.descriptor is None:
                    raise ConfigError(
                        "cached pairs: expected a detector that describes its keypoints, got one that does not"
                    )
                tensors |= {f"{name}{side}": getattr(keypoints, name) for name in _PARTS}
                if features is not None:
                    # Only the order of their similarities is read: half precision is enough.
                    tensors[f"guidance{side}"] = self._guidance(features, side, keypoints.xy).half()
        return {name: value.contiguous().clone() for name, value in tensors.items()}

    def _guidance(self, features: Features, side: int, xy: Tensor) -> Tensor:
        name = self._map
        if name is None:
            if len(features.maps) > 1:
                raise ConfigError(
                    f"cached pairs: expected one of the maps {', '.join(features.maps)}; set map"
                )
            name = next(iter(features.maps))
        return features.select([name]).item(side).at(name, xy)

    def _described(self) -> dict[str, Any]:
        made_by = {
            "source": _described(self._source),
            "detector": _described(self._detector),
            "backbone": None if self._backbone is None else _described(self._backbone),
            "map": self._map,
            "size": list(self._size),
            "keypoints": self._keypoints,
            "truth": vars(self._labeller),
        }
        return json.loads(json.dumps(made_by, default=str))

    def _check_folder(self) -> None:
        record = self._folder / RECORD
        if not record.is_file() and not any(self._folder.glob("*.safetensors")):
            return
        # Files without a record are of an earlier version.
        recorded = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        different = [name for name, value in self._made_by.items() if recorded.get(name) != value]
        if different:
            raise ConfigError(
                f"{self._folder}: its pairs were made with another {', '.join(different)}; choose another folder"
            )


_PARTS = ("xy", "score", "descriptor")


def _pair(tensors: Mapping[str, Tensor], name: str, size: Size) -> CachedPair:
    keypoints0, keypoints1 = (
        Keypoints(**{part: tensors[f"{part}{side}"] for part in _PARTS}) for side in (0, 1)
    )
    guidance0, guidance1 = (
        tensors[f"guidance{side}"].float() if f"guidance{side}" in tensors else None for side in (0, 1)
    )
    # Expanded from one number, so it takes no memory.
    black = Image(pixels=torch.zeros(1, 1, 1).expand(3, *size), name=name)
    return CachedPair(
        image0=black,
        image1=black,
        name=name,
        keypoints0=keypoints0,
        keypoints1=keypoints1,
        guidance0=guidance0,
        guidance1=guidance1,
        matches0=tensors["matches0"],
        matches1=tensors["matches1"],
        image_size=size,
    )


def _described(make: Callable[[], Any]) -> Any:
    """Describe a factory: its name, and its settings from the recipe."""
    if isinstance(make, partial):
        bound: partial[Any] = make
        return {"is": _described(bound.func), **{key: _value(value) for key, value in bound.keywords.items()}}
    return f"{make.__module__}.{getattr(make, '__qualname__', type(make).__name__)}"


def _value(value: Any) -> Any:
    if isinstance(value, Path) and value.is_file():
        # By content: the path of the same weights differs between machines, and a file may be replaced.
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return _described(value) if callable(value) else value
