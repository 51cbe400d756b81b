"""Checks that a generated picture still shows its geometry: each gate returns a reason to reject it, or None.

`GatedTexturer` asks a texturer again, with other seeds, until all gates accept.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.stats import rankdata

from homolog.core.errors import ConfigError, ShapeError
from homolog.synthetic.correspondence import distance_to
from homolog.synthetic.on_demand import check_at_least, check_within
from homolog.synthetic.texturing.texturers import Conditioning, ProceduralTexturer, Texturer, canny

Segmenter = Callable[[UInt8[np.ndarray, "H W 3"]], Bool[np.ndarray, "H W"]]
"""Finds the foreground of a picture."""

DepthEstimator = Callable[[UInt8[np.ndarray, "H W 3"]], Float[np.ndarray, "H W"]]
"""Estimates depth from one picture, up to any increasing function."""


@runtime_checkable
class Gate(Protocol):
    """Accepts or rejects generated pictures."""

    def reason(self, picture: UInt8[np.ndarray, "H W 3"], conditioning: Conditioning) -> str | None:
        """Return why a picture must not be used with the labels of its geometry, or None if it may."""
        ...


class EdgeGate:
    """Checks that edges stay in place: F1 of Canny edges on the object, within a few pixels."""

    def __init__(
        self, *, least: float = 0.5, reach: float | int = 2.0, low: float = 0.1, high: float = 0.2
    ) -> None:
        """Set the threshold.

        Args:
            least: smallest F1 to accept. New patterns add edges, so 1 is out of reach.
            reach: largest offset of an edge, pixels.
            low: threshold of Canny's method.
            high: threshold of Canny's method.

        Raises:
            ConfigError: a number out of range.
        """
        check_within(0, 1, least=least)
        check_at_least(0, reach=reach)
        self._least, self._reach, self._low, self._high = least, reach, low, high

    def reason(self, picture: UInt8[np.ndarray, "H W 3"], conditioning: Conditioning) -> str | None:
        """Return why the edges do not fit, or None. Edges of the background do not count."""
        wanted = conditioning.edges(low=self._low, high=self._high)
        found = canny(picture, low=self._low, high=self._high)
        near = distance_to(conditioning.mask) <= self._reach
        score = edge_f1(found & near, wanted & near, reach=self._reach)
        return None if score >= self._least else f"edges: F1 {score:.2f} is below {self._least}"


class MaskGate:
    """Checks that the object covers the same pixels: intersection over union."""

    def __init__(self, *, segment: Segmenter, least: float = 0.85) -> None:
        """Set how to find the foreground, and the smallest intersection over union to accept, in [0, 1]."""
        check_within(0, 1, least=least)
        self._segment, self._least = segment, least

    def reason(self, picture: UInt8[np.ndarray, "H W 3"], conditioning: Conditioning) -> str | None:
        """Return why the foreground does not fit, or None."""
        score = iou(self._segment(picture), conditioning.mask)
        return None if score >= self._least else f"foreground: IoU {score:.2f} is below {self._least}"


class DepthGate:
    """Checks the order of depths on the object: rank correlation."""

    def __init__(self, *, estimate: DepthEstimator, least: float = 0.8) -> None:
        """Set how to estimate depth (not its inverse), and the smallest Spearman correlation, in [0, 1]."""
        check_within(0, 1, least=least)
        self._estimate, self._least = estimate, least

    def reason(self, picture: UInt8[np.ndarray, "H W 3"], conditioning: Conditioning) -> str | None:
        """Return why the depth does not fit, or None."""
        mask = conditioning.mask
        score = rank_correlation(self._estimate(picture)[mask], conditioning.view.depth[mask])
        return None if score >= self._least else f"depth: rank correlation {score:.2f} is below {self._least}"


def edge_f1(found: Bool[np.ndarray, "H W"], wanted: Bool[np.ndarray, "H W"], *, reach: float | int) -> float:
    """Return F1: precision of found edges near a wanted one, recall of wanted edges near a found one.

    Two pictures without edges score 1; edges in only one of them score 0.
    """
    if not found.any() and not wanted.any():
        return 1.0
    if not found.any() or not wanted.any():
        return 0.0
    precision = float((distance_to(wanted)[found] <= reach).mean())
    recall = float((distance_to(found)[wanted] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def iou(one: Bool[np.ndarray, "H W"], other: Bool[np.ndarray, "H W"]) -> float:
    """Return intersection over union; 1 if both are empty.

    Raises:
        ShapeError: masks of different sizes.
    """
    if one.shape != other.shape:
        raise ShapeError(f"expected a foreground {list(other.shape)}, got {list(one.shape)}")
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def rank_correlation(one: Float[np.ndarray, " N"], other: Float[np.ndarray, " N"]) -> float:
    """Return Spearman's correlation; 0 if one side is constant or there are fewer than two values."""
    ranks = [rankdata(values) for values in (one, other)]
    if len(one) < 2 or any(rank.std() == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


logger = logging.getLogger(__name__)


class GatedTexturer:
    """A `Texturer` that retries another one with other seeds until all gates accept, and has a fallback.

    Attributes:
        refused: number of rejections per gate, by the part of its reason before the colon.
        replaced: number of pictures that the fallback made.
    """

    def __init__(
        self, *, texturer: Texturer, gates: Sequence[Gate], tries: int = 3, last: Texturer | None = None
    ) -> None:
        """Choose the texturer and its gates.

        Args:
            texturer: makes pictures.
            gates: all of them have to accept.
            tries: number of seeds to try.
            last: the fallback after the last try, whose picture is not checked; procedural by default.

        Raises:
            ConfigError: no gate, or no try.
        """
        if tries < 1 or not gates:
            raise ConfigError(
                f"GatedTexturer: expected at least one gate and one try, got {len(gates)}, {tries}"
            )
        self._texturer, self._gates, self._tries = texturer, tuple(gates), tries
        self._last: Texturer = last or ProceduralTexturer()
        self.refused: Counter[str] = Counter()
        self.replaced = 0

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the first picture that all gates accept; the seed of try k is derived from `seed` and k."""
        for member in range(self._tries):
            picture = self._texturer.retexture(conditioning, prompt=prompt, seed=derived_seed(seed, member))
            reasons = (gate.reason(picture, conditioning) for gate in self._gates)
            reason = next((reason for reason in reasons if reason is not None), None)
            if reason is None:
                return picture
            self.refused[reason.split(":")[0]] += 1
            logger.info("rejected a picture of %s (seed %d, try %d): %s", prompt, seed, member + 1, reason)
        self.replaced += 1
        return self._last.retexture(conditioning, prompt=prompt, seed=seed)


def derived_seed(seed: int, member: int) -> int:
    """Return the seed of try `member`; that of try 0 is `seed` itself."""
    if member == 0:
        return seed
    state = np.random.SeedSequence(seed, spawn_key=(member,)).generate_state(1, np.uint64)
    return int(state[0]) >> 2
