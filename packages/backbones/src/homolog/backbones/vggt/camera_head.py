"""VGGT's camera head, and the geometry that VGGT predicts: depth, points and cameras."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.geometry.conversions import quaternion_to_rotation_matrix
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from homolog.backbones.vggt.layers import Block
from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size
from homolog.core.errors import CapabilityError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Geometry:
    """Depth, points and cameras of B scenes of V views; None where the head was not asked for.

    All lengths of a scene share one unknown scale. The world is the frame of the first camera
    (x right, y down, z forward).

    Attributes:
        image_size: (height, width) of the images, in pixels.
        depth: [B V H W] along the camera's z axis.
        depth_score: [B V H W] from 1 (no trust) upwards.
        points: [B V H W 3] of every pixel, in the world.
        points_score: [B V H W] from 1 (no trust) upwards.
        pose: [B V 9] as `CameraHead` returns it.
    """

    image_size: Size
    depth: Float[Tensor, "B V H W"] | None = None
    depth_score: Float[Tensor, "B V H W"] | None = None
    points: Float[Tensor, "B V H W 3"] | None = None
    points_score: Float[Tensor, "B V H W"] | None = None
    pose: Float[Tensor, "B V 9"] | None = None

    def camera(self, scene: int, view: int) -> Camera:
        """Return the intrinsics of a view, for pixels of the images that the network was given.

        Raises:
            CapabilityError: the camera head was not asked for.
        """
        height, width = self.image_size
        vertical, horizontal = self._pose()[scene, view, 7:].cpu().double().unbind()
        K = torch.eye(3, dtype=torch.float64)
        K[0, 0] = width / 2 / torch.tan(horizontal / 2)
        K[1, 1] = height / 2 / torch.tan(vertical / 2)
        # The optical axis meets the middle of the image: (W - 1) / 2 where integers are pixel centres.
        K[0, 2], K[1, 2] = (width - 1) / 2, (height - 1) / 2
        return Camera(K=K)

    def pose_of(self, scene: int, view: int) -> RelativePose:
        """Return the motion from the world to the camera of a view.

        Raises:
            CapabilityError: the camera head was not asked for.
        """
        pose = self._pose()[scene, view].cpu().double()
        # kornia reads (w, x, y, z), and normalises.
        return RelativePose(R=quaternion_to_rotation_matrix(pose[[6, 3, 4, 5]]), t=pose[:3])

    def relative_pose(self, scene: int, view0: int, view1: int) -> RelativePose:
        """Return the motion from the camera of one view to that of another.

        Raises:
            CapabilityError: the camera head was not asked for.
        """
        return self.pose_of(scene, view1).compose(self.pose_of(scene, view0).inverse())

    def _pose(self) -> Tensor:
        if self.pose is None:
            raise CapabilityError("this geometry has no cameras; build the backbone with heads=[camera]")
        return self.pose


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
