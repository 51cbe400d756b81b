"""The camera head: pose and field of view of every view, refined step by step."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from homolog.backbones.vggt.block import Block

# Translation (3), quaternion (4), vertical and horizontal field of view (2).
POSE = 9


class CameraHead(nn.Module):
    """Reads the camera tokens of the last pair (VGGT, section 3.3; official `CameraHead`).

    Modules carry the names of the published weights.
    """

    def __init__(
        self, width: int, *, depth: int, heads: int, iterations: int, mlp_ratio: float | int = 4
    ) -> None:
        """Build the head.

        Args:
            width: channels of a camera token, twice those of the stream.
            depth: blocks; the views of a scene are their sequence.
            heads: attention heads of a block.
            iterations: how often the estimate is refined.
            mlp_ratio: hidden width of a block's MLP.
        """
        super().__init__()
        self.iterations = iterations
        self.token_norm = nn.LayerNorm(width)
        self.trunk_norm = nn.LayerNorm(width)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, POSE))
        self.embed_pose = nn.Linear(POSE, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.ModuleList(
            [Block(width, heads, mlp_ratio=mlp_ratio, normalise=False) for _ in range(depth)]
        )
        self.pose_branch = Mlp(width, width // 2, POSE)

    def forward(self, tokens: Float[Tensor, "B V C"]) -> list[Float[Tensor, "B V 9"]]:
        """Return the estimate of every iteration, the last being the best; in float32, also under autocast.

        Args:
            tokens: the camera token of every view.

        Returns:
            Per view: translation, quaternion (x, y, z, w; not normalised), vertical and horizontal
            field of view in radians; of the motion from the first camera's frame to this camera's.
        """
        # As upstream, which switches autocast off for its heads: four steps that add up deserve more than
        # three digits, and a few tokens cost nothing.
        with torch.autocast(tokens.device.type, enabled=False):
            return self._poses(self.token_norm(tokens.to(self.token_norm.weight.dtype)))

    def _poses(self, start: Tensor) -> list[Tensor]:
        raw: Tensor | None = None
        poses: list[Tensor] = []
        for _ in range(self.iterations):
            before = self.empty_pose_tokens.expand(*start.shape[:2], -1) if raw is None else raw.detach()
            change = self._refine(start, before)
            # Steps add up before the field of view is clipped at zero.
            raw = change if raw is None else raw + change
            poses.append(torch.cat((raw[..., :7], raw[..., 7:].relu()), dim=-1))
        return poses

    def _refine(self, start: Tensor, before: Tensor) -> Tensor:
        shift, scale, gate = self.poseLN_modulation(self.embed_pose(before)).chunk(3, dim=-1)
        # The only norm of VGGT's own heads that has 1e-6, and no weights.
        plain = F.layer_norm(start, start.shape[-1:], eps=1e-6)
        x = gate * (plain * (1 + scale) + shift) + start
        for block in self.trunk:
            x = cast(Tensor, block(x))
        return self.pose_branch(self.trunk_norm(x))
