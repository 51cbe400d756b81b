"""What a matcher extracts from images before it compares them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import Backbone, Detector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extraction:
    """What is known of one image: its maps and its keypoints.

    Attributes:
        features: B = V = 1.
        keypoints: in pixels of the image as the network saw it.
    """

    features: Features
    keypoints: Keypoints

    def weight(self) -> int:
        """Return the bytes that it takes in memory."""
        keypoints = self.keypoints
        known = (keypoints.xy, keypoints.score, keypoints.descriptor, keypoints.scale, keypoints.angle)
        parts = [*self.features.maps.values(), *(part for part in known if part is not None)]
        # Views of a larger tensor keep all of it alive.
        return sum(
            {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in parts}.values()
        )


def extract(
    views: Float[Tensor, "V 3 H W"],
    *,
    backbone: Backbone | None,
    detector: Detector | None = None,
    descriptor_map: str | None = None,
) -> list[Extraction]:
    """Extract features and keypoints of images of one size.

    Args:
        views: RGB in [0, 1]; several views of one scene for a joint backbone.
        backbone: runs once for all views; None leaves the pixels as the only map.
        detector: sees each view with its features; None finds no keypoints.
        descriptor_map: the map that describes the keypoints, and the only one kept afterwards; None keeps
            the detector's descriptors and all maps.

    Returns:
        One extraction for each view.
    """
    whole = None if backbone is None else backbone(views[None])
    size = (views.shape[-2], views.shape[-1])
    extractions: list[Extraction] = []
    for index, view in enumerate(views):
        features = None if whole is None else whole.view(index)
        keypoints = _none_on(view) if detector is None else detector(view[None], features)[0]
        kept = Features(maps={PIXELS: view[None, None]}, image_size=size) if features is None else features
        if descriptor_map is not None:
            keypoints = keypoints.described_by(kept.at(descriptor_map, keypoints.xy))
            kept = kept.select([descriptor_map])
        extractions.append(Extraction(features=_compact(kept), keypoints=keypoints))
    return extractions


def _none_on(view: Tensor) -> Keypoints:
    return Keypoints(xy=view.new_zeros(0, 2), score=view.new_zeros(0))


def _compact(features: Features) -> Features:
    """Let go of the other views that a map shares its memory with."""
    maps = {
        name: map_.clone() if map_.untyped_storage().nbytes() > map_.nbytes else map_
        for name, map_ in features.maps.items()
    }
    return Features(maps=maps, image_size=features.image_size)
