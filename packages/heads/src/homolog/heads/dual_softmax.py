"""Dual softmax: an assignment that is confident where a pair stands out in its row and in its column."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.core.errors import CapabilityError, ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints, Matches


def dual_softmax(similarity: Float[Tensor, "N M"], temperature: float) -> Float[Tensor, "N M"]:
    """Multiply the softmax over rows with the softmax over columns (LoFTR, Sun et al. 2021, equation 2).

    Args:
        similarity: of all pairs.
        temperature: divides the similarity.

    Returns:
        The probability of each pair, in [0, 1].
    """
    scaled = similarity / temperature
    return scaled.softmax(dim=0) * scaled.softmax(dim=1)


def peaks_both_ways(probability: Float[Tensor, "N M"], *, match_threshold: float) -> Bool[Tensor, "N M"]:
    """Mark pairs above a minimum that equal the maxima of both their row and their column.

    Under exact ties a row or a column can hold several; `DualSoftmax` takes the lowest index of a row.
    """
    if 0 in probability.shape:
        return probability > match_threshold
    highest_row = probability.amax(dim=1, keepdim=True)
    highest_column = probability.amax(dim=0, keepdim=True)
    return (probability > match_threshold) & (probability == highest_row) & (probability == highest_column)


class DualSoftmax(nn.Module):
    """Pairs keypoints by the dual softmax of their cosines. It holds all N x M similarities at once."""

    def __init__(self, *, temperature: float = 0.1, match_threshold: float = 0.2) -> None:
        """Choose how strict to be.

        Args:
            temperature: divides the cosines; smaller is surer of itself.
            match_threshold: keep matches of a probability above this.

        Raises:
            ConfigError: a temperature that is not above 0.
        """
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"dual_softmax: expected a temperature above 0, got {temperature}")
        self.temperature = temperature
        self.match_threshold = match_threshold

    def forward(
        self, keypoints0: Keypoints, keypoints1: Keypoints, features0: Features, features1: Features
    ) -> Matches:
        """Return matches; the score is their probability.

        Raises:
            CapabilityError: keypoints without descriptors.
        """
        similarity = _unit(keypoints0) @ _unit(keypoints1).T
        probability = dual_softmax(similarity, self.temperature)
        index0, index1 = first_of_each_row(peaks_both_ways(probability, match_threshold=self.match_threshold))
        return Matches(
            xy0=keypoints0.xy[index0],
            xy1=keypoints1.xy[index1],
            score=probability[index0, index1],
            index0=index0,
            index1=index1,
        )


def first_of_each_row(mask: Bool[Tensor, "N M"]) -> tuple[Tensor, Tensor]:
    """Return row and column of the first true entry of each row that has one."""
    if not mask.shape[1]:
        none = torch.zeros(0, dtype=torch.long, device=mask.device)
        return none, none
    rows = mask.any(dim=1).nonzero()[:, 0]
    return rows, mask[rows].int().argmax(dim=1)


def _unit(keypoints: Keypoints) -> Tensor:
    if keypoints.descriptor is None:
        raise CapabilityError(
            "dual_softmax: expected keypoints with descriptors, got none; name a map of the backbone as descriptor_map"
        )
    return F.normalize(keypoints.descriptor.float(), dim=1)
