"""Extractions found again by the content of the images: in memory, and on disk if there is a cache."""

from collections.abc import Callable, Sequence

import torch

from homolog.core.feature_cache import FeatureCache
from homolog.core.image import Image
from homolog.matchers.extraction import Extraction
from homolog.matchers.recall import Recall
from homolog.matchers.stored import Stored


class Remembered:
    """What a matcher extracted, by the images' content."""

    def __init__(self, memory: int) -> None:
        """Start empty.

        Args:
            memory: bytes to keep in memory.

        Raises:
            ConfigError: a negative number.
        """
        self._recall: Recall[list[Extraction]] = Recall(memory)
        self._stored: Stored | None = None

    def get(
        self, images: Sequence[Image], make: Callable[[], list[Extraction]], *, device: torch.device
    ) -> list[Extraction]:
        """Return what was extracted from these images together, in this order, made now if nothing was.

        Args:
            images: as the networks see them.
            make: extracts.
            device: where the extractions are needed.
        """
        digests = [image.digest() for image in images]

        def find() -> list[Extraction]:
            return make() if self._stored is None else self._stored.get(digests, make, device=device)

        return self._recall.get(
            (str(device), *digests), find, lambda seen: sum(each.weight() for each in seen)
        )

    def use_cache(self, cache: FeatureCache, recipe: str) -> None:
        """Keep extractions on disk too; arguments as in `Stored`."""
        self._stored = Stored(cache=cache, recipe=recipe)
        self.forget()

    def forget(self) -> None:
        """Drop everything that is held in memory."""
        self._recall.clear()
