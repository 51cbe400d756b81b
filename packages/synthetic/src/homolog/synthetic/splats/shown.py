"""What a sample says of the Gaussians that its images show, for the 2D-3D alignment of MatchGS."""

import numpy as np
import torch
from jaxtyping import Int32

from homolog.core.samples import ShownGaussians
from homolog.synthetic.splats.gaussians import Gaussians
from homolog.synthetic.splats.harmonics import shade

ATTRIBUTES = 14
"""Numbers of a Gaussian: place, logarithms of the scales, quaternion, opacity, colour."""


def shown_gaussians(
    gaussians: Gaussians, id0: Int32[np.ndarray, "H W"], id1: Int32[np.ndarray, "h w"]
) -> ShownGaussians:
    """Count the Gaussians that two images show, and say what they are like.

    Which numbers an encoder should see is not said in detail by the paper; these are all that a Gaussian has,
    made independent of the origin and the unit of its scene, since neither can be seen:

    - 0 to 2: its centre from the mean of the centres, in spreads (root of the mean squared distance from it);
    - 3 to 5: natural logarithm of its standard deviations along its axes, in spreads;
    - 6 to 9: its rotation as a unit quaternion (w, x, y, z) with w >= 0;
    - 10: its opacity;
    - 11 to 13: RGB of its harmonics of degree 0, which look the same from all sides.

    Args:
        gaussians: the scene.
        id0: which of them each pixel of image 0 shows, -1 for none.
        id1: the same of image 1.

    Returns:
        The Gaussians that either image shows, in the order of the scene.
    """
    used = np.unique(np.concatenate((id0.ravel(), id1.ravel())))
    used = used[used >= 0]
    row = np.full(len(gaussians) + 1, -1, np.int32)  # its last entry is that of -1
    row[used] = np.arange(len(used))
    return ShownGaussians(
        id0=torch.from_numpy(row[id0]),
        id1=torch.from_numpy(row[id1]),
        attributes=torch.from_numpy(_attributes(gaussians.take(used))),
    )


def _attributes(gaussians: Gaussians) -> np.ndarray:
    if not len(gaussians):
        return np.zeros((0, ATTRIBUTES), np.float32)
    means = gaussians.means.astype(np.float64)
    apart = means - means.mean(0)
    spread = max(float(np.sqrt((apart**2).sum(1).mean())), 1e-12)
    turn = np.where(gaussians.rotations[:, :1] < 0, -gaussians.rotations, gaussians.rotations)
    colour = shade(gaussians.harmonics[:, :1], np.zeros_like(gaussians.means))
    columns = (apart / spread, np.log(gaussians.scales / spread), turn, gaussians.opacity[:, None], colour)
    return np.concatenate(columns, axis=1).astype(np.float32)
