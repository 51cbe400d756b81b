"""A cache of the feature maps of frozen backbones, computed once per image."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from homolog.core.cache import FeatureCache, content_key
from homolog.core.errors import ConfigError, did_you_mean
from homolog.core.features import Features
from homolog.core.protocols import Backbone

Maps = dict[str, Tensor]
MapDtype = Literal["float16", "bfloat16"]

PROBE = 64
"""Smallest side, in pixels, of the test image whose maps identify a backbone."""


class MapCache:
    """Caches the maps of frozen backbones for each image, in memory and optionally in a folder.

    The key is a hash of the pixels, so a sample is found again in another batch, order or run. Maps are stored
    in half precision, and every image is computed alone: a map depends on its image only, whether it was
    cached, evicted in between, or computed after a training was resumed.
    """

    def __init__(
        self,
        *,
        parts: Sequence[str],
        memory: int = 2_000_000_000,
        folder: str | Path | None = None,
        disk_limit: int = 20_000_000_000,
        dtype: MapDtype = "float16",
    ) -> None:
        """Set up an empty cache.

        Args:
            parts: paths of frozen backbones in the matcher (`backbone.backbone`).
            memory: maximum bytes in memory; the least recently used maps are evicted first.
            folder: folder that later runs with the same weights share; None stores nothing on disk.
            disk_limit: maximum bytes in the folder.
            dtype: of the stored maps. bfloat16 suits values beyond 65504, but has fewer digits.

        Raises:
            ConfigError: no parts, or a number out of range.
        """
        if not parts or memory < 0 or dtype not in get_args(MapDtype):
            raise ConfigError(
                "map cache: expected parts, a memory of 0 or more bytes and float16 or bfloat16, got "
                f"{list(parts)}, {memory} and {dtype}"
            )
        self._parts, self._memory = list(parts), memory
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._folder = None if folder is None else FeatureCache(Path(folder).expanduser(), limit=disk_limit)
        self._memory_maps: OrderedDict[str, Maps] = OrderedDict()
        self.weight = 0
        self.computed = 0

    @contextmanager
    def serving(self, matcher: nn.Module) -> Generator[None]:
        """Answer calls of the parts from the cache while the context is open.

        Args:
            matcher: the matcher, already frozen.

        Raises:
            ConfigError: an unknown part, a trainable one, or one whose maps depend on other views.
        """
        with ExitStack() as stack:
            for path in self._parts:
                stack.enter_context(self._serving_part(path, _part(matcher, path)))
            yield

    @contextmanager
    def _serving_part(self, path: str, part: nn.Module) -> Generator[None]:
        compute: Callable[[Tensor], Features] = part.forward
        # Without a folder the cache serves this run only, and frozen weights do not change.
        identity = path if self._folder is None else self._identity(part, compute)

        def forward(images: Tensor) -> Features:
            found = [self._maps(identity, compute, image[None, None]) for image in images.flatten(0, 1)]
            maps = {
                # Converted one by one: under bfloat16 autocast on a CPU, float16 tensors cannot be concatenated.
                name: torch.cat([each[name].to(images) for each in found]).unflatten(0, images.shape[:2])
                for name in found[0]
            }
            return Features(maps=maps, image_size=(images.shape[-2], images.shape[-1]))

        # Only `forward` is replaced, so that parameters keep their names in checkpoints.
        part.forward = forward
        try:
            yield
        finally:
            del part.forward
            if self._folder is None:
                self._memory_maps.clear()
                self.weight = 0

    def _maps(self, identity: str, compute: Callable[[Tensor], Features], image: Tensor) -> Maps:
        pixels = image.detach().cpu().contiguous()
        digest = hashlib.blake2b(pixels.view(torch.uint8).numpy().data, digest_size=20).hexdigest()
        key = content_key(identity, digest, str(list(pixels.shape)), str(pixels.dtype), str(self._dtype))
        if key in self._memory_maps:
            self._memory_maps.move_to_end(key)
            return self._memory_maps[key]
        maps = None if self._folder is None else self._folder.load(key)
        if maps is None:
            maps = self._computed(compute, image)
            if self._folder is not None:
                self._folder.save(key, maps)
        self._hold(key, maps)
        return maps

    def _computed(self, compute: Callable[[Tensor], Features], image: Tensor) -> Maps:
        self.computed += 1
        with torch.no_grad():
            found = compute(image).maps
        return {name: map_[0].to("cpu", self._dtype) for name, map_ in found.items()}

    def _hold(self, key: str, maps: Maps) -> None:
        self._memory_maps[key] = maps
        self.weight += _weight(maps)
        while self.weight > self._memory:
            _, oldest = self._memory_maps.popitem(last=False)
            self.weight -= _weight(oldest)

    def _identity(self, part: nn.Module, compute: Callable[[Tensor], Features]) -> str:
        """Identify a part by its maps of a test image, which depend on weights, settings and code."""
        multiple = part.multiple if isinstance(part, Backbone) else 1
        side = -(-PROBE // multiple) * multiple
        probe = torch.rand(1, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
        device_of = next(part.parameters(), probe)
        maps = self._computed(compute, probe.to(device_of))
        self.computed -= 1
        described = [
            (
                name,
                list(map_.shape),
                hashlib.blake2b(map_.contiguous().view(torch.uint8).numpy().data).hexdigest(),
            )
            for name, map_ in sorted(maps.items())
        ]
        return content_key(type(part).__qualname__, str(described))


def _part(matcher: nn.Module, path: str) -> nn.Module:
    parts = dict(matcher.named_modules())
    if path not in parts:
        raise ConfigError(f"map cache: the matcher has no part {path}{did_you_mean(path, parts)}")
    part = parts[path]
    if not isinstance(part, Backbone) or part.joint:
        raise ConfigError(
            f"map cache: expected {path} to be a backbone that sees one image at a time, got "
            f"{type(part).__name__}"
        )
    if any(parameter.requires_grad for parameter in part.parameters()):
        raise ConfigError(
            f"map cache: expected {path} to be frozen, but it is trainable; remove it from cache.parts"
        )
    return part


def _weight(maps: Maps) -> int:
    return sum(map_.nbytes for map_ in maps.values())
