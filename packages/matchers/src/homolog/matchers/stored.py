"""Extractions kept in the feature cache on disk, so that they outlive the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from homolog.core.feature_cache import FeatureCache, content_key
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.matchers.extraction import Extraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A feature cache, and what decides the features that one matcher finds in it.

    Attributes:
        cache: where extractions are kept.
        recipe: hash of networks, settings and weights, see `homolog.zoo.recipe`.
    """

    cache: FeatureCache
    recipe: str

    def get(
        self, digests: Sequence[str], make: Callable[[], list[Extraction]], *, device: torch.device
    ) -> list[Extraction]:
        """Return what is kept for images of these digests, extracted and kept now if nothing is.

        In both cases what comes back has been through the cache's precision, so that a second run
        gives what the first gave.
        """
        key = content_key(self.recipe, str(self.cache.dtype), *digests)
        kept = self.cache.load(key)
        if kept is None:
            kept = to_tensors(make(), dtype=self.cache.dtype)
            self.cache.save(key, kept)
        return from_tensors(kept, device=device)


def to_tensors(extractions: list[Extraction], *, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Lay extractions out as tensors.

    Args:
        extractions: of the views of one image or one pair.
        dtype: what maps and descriptors are kept in (bfloat16 halves them); None keeps theirs.
            Coordinates, scores, scales and angles always keep theirs.
    """
    # In one layout, as they come back: sums over another would round otherwise.
    tensors: dict[str, Tensor] = {}
    for index, seen in enumerate(extractions):
        keypoints = seen.keypoints
        tensors[f"{index}.image_size"] = torch.tensor(seen.features.image_size)
        tensors[f"{index}.xy"] = keypoints.xy
        tensors[f"{index}.score"] = keypoints.score
        if keypoints.descriptor is not None:
            tensors[f"{index}.descriptor"] = keypoints.descriptor.to(dtype).contiguous()
        for name, part in (("scale", keypoints.scale), ("angle", keypoints.angle)):
            if part is not None:
                tensors[f"{index}.{name}"] = part
        for name, map_ in seen.features.maps.items():
            tensors[f"{index}.map.{name}"] = map_.to(dtype).contiguous()
    return tensors


def from_tensors(tensors: Mapping[str, Tensor], *, device: torch.device) -> list[Extraction]:
    """Undo `to_tensors`, on a device; what was kept in half precision comes back as float32."""
    count = sum(name.endswith(".image_size") for name in tensors)
    return [_extraction(tensors, str(index), device) for index in range(count)]


def _extraction(tensors: Mapping[str, Tensor], index: str, device: torch.device) -> Extraction:
    descriptor, scale, angle = (tensors.get(f"{index}.{part}") for part in ("descriptor", "scale", "angle"))
    start = f"{index}.map."
    maps = {
        name.removeprefix(start): _wide(kept, device)
        for name, kept in tensors.items()
        if name.startswith(start)
    }
    height, width = (int(side) for side in tensors[f"{index}.image_size"])
    return Extraction(
        features=Features(maps=maps, image_size=(height, width)),
        keypoints=Keypoints(
            xy=tensors[f"{index}.xy"].to(device),
            score=tensors[f"{index}.score"].to(device),
            descriptor=None if descriptor is None else _wide(descriptor, device),
            scale=None if scale is None else scale.to(device),
            angle=None if angle is None else angle.to(device),
        ),
    )


def _wide(kept: Tensor, device: torch.device) -> Tensor:
    return kept.to(device, torch.promote_types(kept.dtype, torch.float32))
