"""Ask for a dense correspondence, on a lattice of the pixels whose truth is known."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from homolog.core.coords import normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField, Transfer
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image
from homolog.core.protocols import Correspondence, Matcher
from homolog.core.samples import PairSample, VideoSample
from homolog.core.sampling import sample_points
from homolog.evaluators.dense_accuracy import warp_error
from homolog.evaluators.record import Record

KNOWN = 1 - 1e-3
"""A truth is known where its confidence is 1; reading it between cells rounds a little."""


class AskDense:
    """Asks where the pixels of image 0 are in image 1, and keeps what dense protocols need.

    Only pixels whose truth is known and that lie on the foreground are asked for, so that their
    number decides the cost. Records have the arrays of asked points, and `warp_error` [N]: how far the
    colour that image 1 has at the found place is from the one at the true place (see `warp_error`).
    """

    def __init__(self, *, stride: int, chunk: int = 4096) -> None:
        """Choose the lattice.

        Args:
            stride: every so many pixels of a row, and of a column; 1 asks for all, as official codes do.
            chunk: points to ask for at a time.

        Raises:
            ConfigError: a value below 1.
        """
        if stride < 1 or chunk < 1:
            raise ConfigError(f"expected a stride and a chunk of at least 1, got {stride} and {chunk}")
        self.stride = stride
        self.chunk = chunk

    def __call__(self, matcher: Matcher, sample: PairSample | VideoSample, /) -> Record:
        """Return the record of a pair.

        Raises:
            CapabilityError: the matcher cannot transfer points.
            ConfigError: a sample without a dense truth.
        """
        if not isinstance(sample, PairSample) or sample.dense0 is None:
            raise ConfigError(
                f"{sample.name}: expected a pair with a dense truth, got none; choose a dense task"
            )
        image0, image1 = sample.image0, sample.image1
        at, truth = self._known(sample, sample.dense0)
        xy0 = image0.xy_to_original(at)
        found = self._transfer(matcher.match(image0, image1), xy0)
        colours = [_colours(image1, place) for place in (image1.xy_from_original(found.xy), truth)]
        return Record(
            name=sample.name,
            category=sample.category or "",
            arrays={
                "size0": np.array(image0.size),
                "size1": np.array(image1.size),
                "xy0": xy0.numpy(),
                "xy1": image1.xy_to_original(truth).numpy(),
                "visible": np.ones(len(xy0), dtype=np.bool_),
                "predicted": found.xy.numpy(),
                "confidence": found.confidence.numpy(),
                "warp_error": warp_error(*colours).astype(np.float32),
            },
            facts={**sample.facts, "lattice": f"every {self.stride} px"},
        )

    def _known(self, sample: PairSample, dense: DenseField) -> tuple[Tensor, Tensor]:
        size = sample.image0.size
        if len(dense.grid) != 1 or (sample.mask0 is not None and tuple(sample.mask0.shape) != size):
            raise ShapeError(
                f"{sample.name}: expected one dense truth and a mask of the size of image 0, {size}; check the data set"
            )
        # Read at its own resolution a field is exact, even beside cells where nothing is known.
        field = dense if dense.size == size else dense.resized(size)
        rows, columns = (torch.arange((self.stride - 1) // 2, side, self.stride) for side in size)
        y, x = (part.reshape(-1) for part in torch.meshgrid(rows, columns, indexing="ij"))
        known = field.confidence[0].cpu()[y, x] >= KNOWN
        if sample.mask0 is not None:
            known &= sample.mask0.cpu()[y, x]
        known &= field.grid[0].cpu()[:, y, x].isfinite().all(dim=0)
        y, x = y[known], x[known]
        truth = normalised_to_pixel(field.grid[0].cpu()[:, y, x].T.double(), sample.image1.size)
        return torch.stack((x, y), dim=1).float(), truth.float()

    def _transfer(self, correspondence: Correspondence, xy0: Tensor) -> Transfer:
        answers = [correspondence.transfer(part) for part in self._chunks(xy0)]
        return Transfer(
            torch.cat([answer.xy.detach().cpu().float() for answer in answers]),
            torch.cat([answer.confidence.detach().cpu().float() for answer in answers]),
        )

    def _chunks(self, xy0: Tensor) -> Iterator[Tensor]:
        # At least one, so that a matcher that cannot transfer says so even of a pair without truth.
        yield from xy0.split(self.chunk) if len(xy0) else (xy0,)


def _colours(image: Image, xy: Tensor) -> np.ndarray:
    at = pixel_to_normalised(xy, image.size)
    return sample_points(image.pixels.cpu()[None], at[None], padding="zeros")[0].numpy()
