"""Pictures that cannot be made again bit by bit, kept as files.

A generator on an accelerator may give another picture tomorrow. A file is addressed by everything that went
into the picture, so that a data set that is made twice is the same twice.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from homolog.core.atomic import write_bytes


class PictureCache:
    """A folder of PNG files, two levels deep."""

    def __init__(self, root: str | Path) -> None:
        """Name the folder; it is made when the first picture is kept."""
        self._root = Path(root).expanduser()

    def path(self, address: Mapping[str, Any]) -> Path:
        """Return where the picture of an address is kept.

        Args:
            address: everything that decides the picture, as JSON has it.
        """
        digest = hashlib.sha256(json.dumps(address, sort_keys=True).encode()).hexdigest()
        return self._root / digest[:2] / f"{digest}.png"

    def find(
        self, address: Mapping[str, Any], make: Callable[[], UInt8[np.ndarray, "H W 3"]]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture that was kept, or make and keep it; a damaged file counts as none.

        Raises:
            DataError: the folder cannot be written to.
        """
        path = self.path(address)
        kept = _read(path)
        if kept is not None:
            return kept
        picture = make()
        file = io.BytesIO()
        PILImage.fromarray(picture).save(file, "PNG")
        write_bytes(path, file.getvalue())
        return picture


def digest_of_pictures(*pictures: np.ndarray) -> str:
    """Return a hash of arrays: their values, types and shapes."""
    made = hashlib.sha256()
    for picture in pictures:
        made.update(f"{picture.dtype} {picture.shape}".encode())
        made.update(np.ascontiguousarray(picture).tobytes())
    return made.hexdigest()


def _read(path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    try:
        with PILImage.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None
