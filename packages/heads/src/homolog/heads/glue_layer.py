"""One layer of a glue: keypoints listen to one another, and update their descriptors."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError
from homolog.heads.keypoint_position import Norm, TokenNorm


class Listening(NamedTuple):
    """Who may listen to whom, for one direction of one layer.

    Attributes:
        bias: [B 1 T S] or [B 1 1 S], 0 where a target may listen to a source and -inf elsewhere, or None
            where all may. No row is -inf throughout.
        hears: [B] False for samples without any source: their targets hear nothing, or None where all
            have one.
    """

    bias: Tensor | None
    hears: Tensor | None


EVERYONE = Listening(None, None)


def listening(
    edges: Bool[Tensor, "B T S"] | None, valid: Bool[Tensor, "B S"] | None, dtype: torch.dtype
) -> Listening:
    """Prepare a mask for attention, once for all layers that use it.

    Args:
        edges: True where a target listens to a source; None for all.
        valid: False where a source is padding; None when there is none. Edges never lead there.
        dtype: of the network.
    """
    if edges is None and valid is None:
        return EVERYONE
    if edges is None:
        assert valid is not None
        allowed = valid[:, None, None]
    else:
        allowed = edges[:, None]
    some = None if valid is None else valid.any(dim=1)
    # A row without any source has no softmax: it listens to padding, and what it hears is dropped.
    deaf = ~allowed.any(dim=-1, keepdim=True)
    # Added numbers are what the fused kernels take; a boolean mask would be converted in each layer.
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return Listening(bias.masked_fill_(~(allowed | deaf), -torch.inf), some)


class GlueLayer(nn.Module):
    """Attention whose queries and keys know where keypoints are, and whose values do not.

    OmniGlue, section 3.4, equations 1 to 5, for a target keypoint with descriptor d and position p and
    its sources: q = Wq (d + p) + bq, k = Wk (d + p) + bk, v = Wv d + bv;
    delta = softmax(q k / sqrt(C)) v; d <- d + MLP([d | delta]). Equation 2 writes one head; SuperGlue,
    from which the layers come, has four, their results joined by one more linear layer. `heads=1` is
    the equation as written.

    Args:
        width: C.
        heads: of the attention.
        norm: in the MLP.

    Raises:
        ConfigError: a width that the heads cannot share, or an unknown norm.
    """

    def __init__(self, width: int, *, heads: int = 4, norm: Norm = "layer") -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ConfigError(f"expected a width that {heads} heads can share, got {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.widen = nn.Linear(2 * width, 2 * width)
        self.norm = TokenNorm(2 * width, norm)
        self.activation = nn.ReLU() if norm == "batch" else nn.GELU()
        self.narrow = nn.Linear(2 * width, width)
        # SuperGlue's start.
        nn.init.zeros_(self.narrow.bias)

    def forward(
        self,
        target: Float[Tensor, "B T C"],
        source: Float[Tensor, "B S C"],
        position: tuple[Float[Tensor, "B T C"], Float[Tensor, "B S C"]] | None,
        who: Listening,
        valid: Bool[Tensor, "B T"] | None,
    ) -> Float[Tensor, "B T C"]:
        """Return the updated descriptors of the targets.

        Args:
            target: descriptors that listen.
            source: descriptors that are listened to.
            position: of targets and sources; None leaves positions out.
            who: which of them.
            valid: False where a target is padding; None when there is none.
        """
        asking, asked = (target, source) if position is None else (target + position[0], source + position[1])
        query, key, value = (
            self._split(each) for each in (self.query(asking), self.key(asked), self.value(source))
        )
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=who.bias)
        if who.hears is not None:
            heard = heard * who.hears[:, None, None, None]
        delta = self.join(heard.transpose(1, 2).flatten(2))
        hidden = self.norm(self.widen(torch.cat((target, delta), dim=2)), valid)
        return target + self.narrow(self.activation(hidden))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
