"""A pair of pictures of surfaces, with everything that is known of it."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import UInt8

from homolog.core.samples import PairSample
from homolog.synthetic.assets import Asset
from homolog.synthetic.category import Numbers
from homolog.synthetic.correspondence import DenseTruth
from homolog.synthetic.landmarks import Landmarks
from homolog.synthetic.picture import as_sample_image, mask_box
from homolog.synthetic.view import View
from homolog.synthetic.warped_view import WarpedViewpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfacePair:
    """Two pictures of body 0 of two scenes; `sample` is what a matcher learns from.

    Attributes:
        category: what both images show.
        assets: the instances; one and the same for an aligned pair.
        poses: the numbers of both poses.
        views: geometry of both images; body 0 is the instance.
        pictures: pixels of both images.
        truths: dense truth that lives on image 0, and that which lives on image 1.
        landmarks: keypoints of both images, in the order of the topology's names.
        prompts: what a texturer was asked for.
        name: unique within its data set.
        facts: whatever else a protocol may report by.
    """

    category: str
    assets: tuple[Asset, Asset]
    poses: tuple[Numbers, Numbers]
    views: tuple[View, View]
    pictures: tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W 3"]]
    truths: tuple[DenseTruth, DenseTruth]
    landmarks: tuple[Landmarks, Landmarks]
    prompts: tuple[str, str]
    name: str
    facts: dict[str, str] = field(default_factory=dict[str, str])

    def sample(self) -> PairSample:
        """Return the pair with image 0 as the query: dense truth, keypoints in sight in both, boxes, masks, depth.

        A warped view has no intrinsics, so its camera is None.
        """
        both = self.landmarks[0].visible & self.landmarks[1].visible
        xy0, xy1 = (torch.from_numpy(marks.xy[both]) for marks in self.landmarks)
        mask0, mask1 = (view.shows(0) for view in self.views)
        depth0, depth1 = (torch.from_numpy(view.depth) for view in self.views)
        image0, image1 = (
            as_sample_image(picture, f"{self.name}/{side}") for side, picture in enumerate(self.pictures)
        )
        camera0, camera1 = (
            None if isinstance(view.viewpoint, WarpedViewpoint) else view.viewpoint.camera()
            for view in self.views
        )
        names = self.assets[0].topology.landmark_names
        return PairSample(
            image0=image0,
            image1=image1,
            xy0=xy0,
            xy1=xy1,
            box0=mask_box(mask0),
            box1=mask_box(mask1),
            category=self.category,
            camera0=camera0,
            camera1=camera1,
            dense0=self.truths[0].field(),
            dense1=self.truths[1].field(),
            depth0=depth0,
            depth1=depth1,
            mask0=torch.from_numpy(mask0),
            mask1=torch.from_numpy(mask1),
            name=self.name,
            facts={
                "keypoints": ", ".join(name for name, seen in zip(names, both, strict=True) if seen),
                "licence": self.assets[0].licence,
                "prompt0": self.prompts[0],
                "prompt1": self.prompts[1],
                **self.facts,
            },
        )
