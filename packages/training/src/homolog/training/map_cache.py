"""Maps of frozen backbones, computed once for each image: shards repeat, and what is frozen answers the same again."""

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
Kept = Literal["float16", "bfloat16"]

PROBE = 64
"""Side of the picture by whose maps a part is told from another, in pixels, at least."""


class MapCache:
    """Remembers what frozen backbones say of each image, in memory and, if wanted, in a folder.

    Images are known by their pixels, so that samples which come again, in another batch, order or run, are
    found, whatever they are called. Maps are kept in half precision, and an image is always computed alone:
    a map is then a function of its image only, the same whether it was remembered, forgotten in between
    or computed after a training was resumed.
    """

    def __init__(
        self,
        *,
        parts: Sequence[str],
        memory: int = 2_000_000_000,
        folder: str | Path | None = None,
        limit: int = 20_000_000_000,
        kept: Kept = "float16",
    ) -> None:
        """Choose what is remembered, and how much.

        Args:
            parts: paths of backbones in the matcher (`backbone.backbone`) that do not learn.
            memory: bytes of maps to hold; the least recently used go first.
            folder: where maps outlive the run, for other runs with the same weights; None keeps none.
            limit: bytes that the folder may take.
            kept: bfloat16 is for maps with values beyond 65504, at the price of three digits.

        Raises:
            ConfigError: no parts, or a number out of range.
        """
        if not parts or memory < 0 or kept not in get_args(Kept):
            raise ConfigError(
                "map cache: expected parts, a memory of 0 or more bytes and float16 or bfloat16, got "
                f"{list(parts)}, {memory} and {kept}"
            )
        self._parts, self._memory = list(parts), memory
        self._dtype: torch.dtype = getattr(torch, kept)
        self._folder = None if folder is None else FeatureCache(Path(folder).expanduser(), limit=limit)
        self._held: OrderedDict[str, Maps] = OrderedDict()
        self.weight = 0
        self.computed = 0

    @contextmanager
    def serving(self, matcher: nn.Module) -> Generator[None]:
        """Let the parts answer from here as long as the context is open.

        Args:
            matcher: what does not learn in it has to be frozen by now.

        Raises:
            ConfigError: a part that is not there, that learns, or whose maps depend on other views.
        """
        with ExitStack() as stack:
            for path in self._parts:
                stack.enter_context(self._answering(path, _part(matcher, path)))
            yield

    @contextmanager
    def _answering(self, path: str, part: nn.Module) -> Generator[None]:
        compute: Callable[[Tensor], Features] = part.forward
        # With no folder nobody else asks, and the weights do not change while it is open.
        identity = path if self._folder is None else self._identity(part, compute)

        def forward(images: Tensor) -> Features:
            found = [self._maps(identity, compute, image[None, None]) for image in images.flatten(0, 1)]
            maps = {
                # Each first: under bfloat16's autocast on a CPU, halves cannot be joined.
                name: torch.cat([each[name].to(images) for each in found]).unflatten(0, images.shape[:2])
                for name in found[0]
            }
            return Features(maps=maps, image_size=(images.shape[-2], images.shape[-1]))

        # The part itself stays where it is, so that parameters keep their names in checkpoints.
        part.forward = forward
        try:
            yield
        finally:
            del part.forward
            if self._folder is None:
                self._held.clear()
                self.weight = 0

    def _maps(self, identity: str, compute: Callable[[Tensor], Features], image: Tensor) -> Maps:
        pixels = image.detach().cpu().contiguous()
        digest = hashlib.blake2b(pixels.view(torch.uint8).numpy().data, digest_size=20).hexdigest()
        key = content_key(identity, digest, str(list(pixels.shape)), str(pixels.dtype), str(self._dtype))
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
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
        self._held[key] = maps
        self.weight += _weight(maps)
        while self.weight > self._memory:
            _, oldest = self._held.popitem(last=False)
            self.weight -= _weight(oldest)

    def _identity(self, part: nn.Module, compute: Callable[[Tensor], Features]) -> str:
        """Tell parts apart by what they say of one picture: weights, settings and code all show in it."""
        multiple = part.multiple if isinstance(part, Backbone) else 1
        side = -(-PROBE // multiple) * multiple
        picture = torch.rand(1, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
        place = next(part.parameters(), picture)
        maps = self._computed(compute, picture.to(place))
        self.computed -= 1
        said = [
            (
                name,
                list(map_.shape),
                hashlib.blake2b(map_.contiguous().view(torch.uint8).numpy().data).hexdigest(),
            )
            for name, map_ in sorted(maps.items())
        ]
        return content_key(type(part).__qualname__, str(said))


def _part(matcher: nn.Module, path: str) -> nn.Module:
    parts = dict(matcher.named_modules())
    if path not in parts:
        raise ConfigError(f"map cache: the matcher has no part {path}{did_you_mean(path, parts)}")
    part = parts[path]
    if not isinstance(part, Backbone) or part.joint:
        raise ConfigError(
            f"map cache: expected in {path} a backbone that looks at each image by itself, got "
            f"{type(part).__name__}"
        )
    if any(parameter.requires_grad for parameter in part.parameters()):
        raise ConfigError(
            f"map cache: expected {path} to be frozen, but it learns; leave it out of cache.parts"
        )
    return part


def _weight(maps: Maps) -> int:
    return sum(map_.nbytes for map_ in maps.values())
