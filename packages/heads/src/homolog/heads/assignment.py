"""From descriptors of two images to the log of an assignment, and from there to matches."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from homolog.core.errors import ConfigError
from homolog.heads.optimal_transport import log_optimal_transport, optimal_transport

Method = Literal["sinkhorn", "double_softmax"]
"""How scores become an assignment: optimal transport with a dustbin, or LightGlue's double softmax."""


class MutualMatches(NamedTuple):
    """For each point of image 0 of B pairs, its partner.

    Attributes:
        partner: [B N] the place of the point of image 1, or -1 for none.
        probability: [B N] of that pair; 0 where the best pair of the row is not that of its column.
            It can be above 0 without a partner: the pair is then mutual, but not above the minimum.
    """

    partner: Int[Tensor, "B N"]
    probability: Float[Tensor, "B N"]


def mutual_matches(
    log_assignment: Float[Tensor, "B rows columns"], *, match_threshold: float
) -> MutualMatches:
    """Read off the pairs that are most probable both in their row and in their column.

    Args:
        log_assignment: [B N+1 M+1] with the dustbins as its last row and column, which take no part.
        match_threshold: keep pairs of a probability above this.

    Returns:
        The partners; of equal probabilities the one of lowest index is taken, both ways.
    """
    inner = log_assignment[:, :-1, :-1]
    batch, rows, columns = inner.shape
    if not rows or not columns:
        return MutualMatches(torch.full((batch, rows), -1, device=inner.device), inner.new_zeros(batch, rows))
    best, partner = inner.max(dim=2)
    back = inner.argmax(dim=1)
    mutual = back.gather(1, partner) == torch.arange(rows, device=inner.device)
    probability = torch.where(mutual, best.exp(), 0)
    return MutualMatches(torch.where(mutual & (probability > match_threshold), partner, -1), probability)


def double_softmax(
    scores: Float[Tensor, "B N M"],
    matchability0: Float[Tensor, "B N"],
    matchability1: Float[Tensor, "B M"],
    *,
    valid0: Bool[Tensor, "B N"] | None = None,
    valid1: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B N+1 M+1"]:
    """Assign without iterating: softmax over rows times softmax over columns times both matchabilities.

    Source: Lindenberger et al., "LightGlue" (ICCV 2023), section 3.2, equations 8 and 9.

    Args:
        scores: how well each pair fits, unbounded.
        matchability0: logit that a point of image 0 has a partner.
        matchability1: logit that a point of image 1 has a partner.
        valid0: False where a row is padding; None when there is none.
        valid1: False where a column is padding; None when there is none.

    Returns:
        The log of the assignment; the last row and column say how surely a point has no partner. The
        corner is 0, as in LightGlue's own code, and padding is -inf.
    """
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        real = _pairs(valid0, valid1)
        # Finite, so that a row of padding has a softmax, and one without columns has a gradient.
        scores = scores if real is None else scores.masked_fill(~real, -1e9)
        z0, z1 = matchability0.to(scores), matchability1.to(scores)
        pairs = scores.log_softmax(dim=2) + scores.log_softmax(dim=1)
        pairs = pairs + F.logsigmoid(z0)[..., None] + F.logsigmoid(z1)[:, None]
        whole = F.pad(pairs, (0, 1, 0, 1))
        whole[:, :-1, -1] = F.logsigmoid(-z0)
        whole[:, -1, :-1] = F.logsigmoid(-z1)
        if valid0 is not None:
            whole = whole.masked_fill(~F.pad(valid0, (0, 1), value=True)[..., None], -torch.inf)
        if valid1 is not None:
            whole = whole.masked_fill(~F.pad(valid1, (0, 1), value=True)[:, None], -torch.inf)
        return whole


def _pairs(valid0: Tensor | None, valid1: Tensor | None) -> Tensor | None:
    if valid0 is None and valid1 is None:
        return None
    if valid0 is None or valid1 is None:
        only = valid0[..., None] if valid0 is not None else valid1
        assert only is not None
        return only if valid0 is not None else only[:, None]
    return valid0[..., None] & valid1[:, None]


class Assignment(nn.Module):
    """The last part of a glue: from descriptors that know both images to the log of an assignment.

    The projection of the descriptors before their products is SuperGlue's (equation 7); OmniGlue's paper
    speaks of the similarity of the descriptors alone. The same holds for the division by the root of
    their length. Both are on by default, as in SuperGlue's code, and can be switched off.
    """

    def __init__(
        self,
        width: int,
        *,
        method: Method = "sinkhorn",
        iterations: int = 100,
        projection: bool = True,
        scaled: bool = True,
    ) -> None:
        """Build the parameters.

        Args:
            width: length of the descriptors.
            method: how scores become an assignment.
            iterations: of Sinkhorn.
            projection: pass the descriptors through one more linear layer.
            scaled: divide the products by the root of the length.

        Raises:
            ConfigError: an unknown method, or a negative number of iterations.
        """
        super().__init__()
        if method not in ("sinkhorn", "double_softmax"):
            raise ConfigError(f"expected the assignment sinkhorn or double_softmax, got {method}")
        if iterations < 0:
            raise ConfigError(f"expected 0 iterations or more, got {iterations}")
        self.method = method
        self.iterations = iterations
        self.scaled = scaled
        self.projection = nn.Linear(width, width) if projection else None
        # What a pair with a dustbin scores; SuperGlue starts at 1.
        self.dustbin = nn.Parameter(torch.tensor(1.0)) if method == "sinkhorn" else None
        self.matchability = nn.Linear(width, 1) if method == "double_softmax" else None

    def forward(
        self,
        descriptor0: Float[Tensor, "B N C"],
        descriptor1: Float[Tensor, "B M C"],
        *,
        valid0: Bool[Tensor, "B N"] | None = None,
        valid1: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B N+1 M+1"]:
        """Return the log of the assignment of all pairs; padding is -inf.

        With gradients to compute, the transport runs in the log domain, else in the faster one.
        """
        scores = self._scores(descriptor0, descriptor1)
        if self.matchability is not None:
            z0, z1 = (self.matchability(each)[..., 0] for each in (descriptor0, descriptor1))
            return double_softmax(scores, z0, z1, valid0=valid0, valid1=valid1)
        assert self.dustbin is not None
        learns = torch.is_grad_enabled() and (scores.requires_grad or self.dustbin.requires_grad)
        transport = log_optimal_transport if learns else optimal_transport
        return transport(scores, self.dustbin, iterations=self.iterations, valid0=valid0, valid1=valid1)

    def _scores(self, descriptor0: Tensor, descriptor1: Tensor) -> Tensor:
        if self.projection is not None:
            descriptor0, descriptor1 = self.projection(descriptor0), self.projection(descriptor1)
        with torch.autocast(descriptor0.device.type, enabled=False):
            wide = torch.promote_types(descriptor0.dtype, torch.float32)
            if self.scaled:
                descriptor0 = descriptor0 * descriptor0.shape[-1] ** -0.5
            return descriptor0.to(wide) @ descriptor1.to(wide).transpose(1, 2)
