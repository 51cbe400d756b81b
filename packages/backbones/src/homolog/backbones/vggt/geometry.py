"""What VGGT says about the shape of a scene: depth, points, cameras."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from kornia.geometry.conversions import quaternion_to_rotation_matrix
from torch import Tensor

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
